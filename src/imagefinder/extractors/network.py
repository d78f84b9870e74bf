"""Features from a neural network of the catalogue."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import (
    FeatureMap,
    Features,
    FeatureSpec,
    GlobalFeatures,
    LocalFeatures,
    RgbImage,
    concatenate,
)
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.images.resize import center_crop_box, normalise, resize_center_crop, resize_exact
from imagefinder.models import loads
from imagefinder.models.catalogue import ModelSpec, Preprocessing
from imagefinder.models.providers import Backend, load, require

if TYPE_CHECKING:
    from imagefinder.models.providers import Network

_AHEAD = 4  # batches of inputs made before they are needed, 0.6 MB a picture


class NetworkExtractor:
    """One vector, or one descriptor per token, from a network."""

    def __init__(
        self,
        model: ModelSpec,
        locate: Callable[[], Path],
        sha256: Callable[[], str],
        *,
        threads: int,
        run: Backend | None = None,
        tokens: Literal["float32", "int8"] = "float32",
    ) -> None:
        """Only stores; the network is loaded at the first picture.

        Args:
            model: Row of the catalogue.
            locate: Gives the verified weight file; raises ``ModelMissingError`` where there is none.
            sha256: Gives the hash of that file; raises the same.
            threads: Processor cores used.
            run: Who runs the network, in which arithmetic; by default the processor, in float32.
            tokens: Type of the numbers of tokens; vectors are always float32.
        """
        self._model = model
        self._locate = locate
        self._sha256 = sha256
        self._threads = threads
        self._how = run or Backend()
        is_local = model.features.kind == "local"
        self._spec = replace(model.features, dtype=tokens) if is_local else model.features
        self._session: Network | None = None
        self._digest = ""
        self._map_session: Network | None = None
        self._lock = threading.Lock()

    @property
    def spec(self) -> FeatureSpec:
        """See ``core.contracts.Extractor``."""
        return self._spec

    def fingerprint(self) -> Fingerprint:
        """See ``core.contracts.Extractor``.

        Raises:
            ModelMissingError: the weights are not here.
            ProviderMissingError: what shall run the network is not on this machine.
        """
        require(self._how.provider)
        p = self._model.preprocessing
        parameters: dict[str, Any] = {
            "architecture": self._model.architecture,
            "resize": p.resize,
            "resize_to": p.resize_to,
            "size": p.size,
            "interpolation": p.interpolation,
            "mean": list(p.mean),
            "std": list(p.std),
        }
        if self._how.precision != "f32":
            parameters["precision"] = self._how.precision
        if self._spec.dtype == "int8":
            parameters["tokens"] = self._spec.dtype
        # A network that runs is made of what was read then, whatever has become of the file.
        if self._session is None or not self._digest:
            self._digest = self._sha256()
        return Fingerprint(self._model.name, 1, parameters, self._digest)

    def load(self) -> None:
        """Load the network, if it is not loaded yet.

        Raises:
            ModelMissingError, ModelCorruptError, ProviderMissingError, ModelError: as ``extract``.
        """
        self._ready()

    def extract(self, images: Sequence[RgbImage]) -> Features:
        """See ``core.contracts.Extractor``.

        Raises:
            ModelMissingError: the weights are not here.
            ModelCorruptError: the weights are not the published ones.
            ProviderMissingError: what shall run the network is not on this machine.
            ModelError: the network does not run.
        """
        session = self._ready()
        with ThreadPoolExecutor(self._threads) as pool:
            batches = [images[at : at + session.batch] for at in range(0, len(images), session.batch)]
            parts = [
                self._features(session.run(inputs), batch)
                for batch, inputs in zip(batches, self._inputs(batches, pool), strict=True)
            ]
        return concatenate(self.spec, parts)

    def map(self, image: RgbImage) -> FeatureMap:
        """See ``core.contracts.Mapper``; the network is loaded a second time for it.

        Raises:
            KeyError: the network does not pool.
            ModelMissingError, ModelCorruptError, ModelError: as ``extract``.
        """
        with self._lock:
            if self._map_session is None:
                self._map_session = self._load(pooled=False)
            session = self._map_session
        how = self._model.preprocessing
        (output,) = session.run(preprocess(image, how)[None])
        return FeatureMap(
            np.ascontiguousarray(output.transpose(1, 2, 0)), seen(image.shape[0], image.shape[1], how)
        )

    def _ready(self) -> Network:
        with self._lock:
            if self._session is None:
                self._session = self._load()
            return self._session

    def _load(self, *, pooled: bool = True) -> Network:
        # Half a second of imports, for those who use a network.
        from imagefinder.models import graphs, weights  # noqa: PLC0415

        with loads.counted(self._model.name):
            path = self._locate()
            is_safetensors = self._model.source.filename.endswith(".safetensors")
            read = weights.read_safetensors if is_safetensors else weights.read_legacy_pickle
            architecture, run = self._model.architecture, self._how
            if pooled:
                graph = graphs.build(architecture, read(path), precision=run.precision)
            else:
                graph = graphs.build_map(architecture, read(path))
            return load(graph, run, threads=self._threads)

    def _inputs(
        self, batches: Sequence[Sequence[RgbImage]], pool: ThreadPoolExecutor
    ) -> Iterator[NDArray[np.float32]]:
        """What the network is given for each batch; the next ones are made while it runs."""
        how = self._model.preprocessing
        begun: deque[tuple[NDArray[np.float32], list[Future[NDArray[np.float32]]]]] = deque()
        for number, batch in enumerate(batches):
            inputs = np.empty((len(batch), 3, how.size, how.size), dtype=np.float32)
            parts = [pool.submit(preprocess, image, how, out) for image, out in zip(batch, inputs, strict=True)]
            begun.append((inputs, parts))
            if number >= _AHEAD:
                yield _when_made(*begun.popleft())
        while begun:
            yield _when_made(*begun.popleft())

    def _features(self, output: NDArray[np.float32], images: Sequence[RgbImage]) -> Features:
        if self.spec.kind == "global":
            return GlobalFeatures(output)
        tokens = output.shape[1]
        described = as_int8(output) if self.spec.dtype == "int8" else output
        return LocalFeatures(
            described.reshape(-1, output.shape[2]),
            np.concatenate([token_keypoints(image.shape[0], image.shape[1], tokens) for image in images]),
            np.arange(len(images) + 1, dtype=np.int64) * tokens,
        )


def _when_made(inputs: NDArray[np.float32], parts: Sequence[Future[NDArray[np.float32]]]) -> NDArray[np.float32]:
    for part in parts:
        part.result()
    return inputs


def preprocess(image: RgbImage, how: Preprocessing, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """A picture as input of a network: ``(3, size, size)`` float32, written to ``out`` where that is given."""
    if how.resize == "exact":
        resized = resize_exact(image, how.size, how.interpolation)
    else:
        resized = resize_center_crop(image, how.resize_to, how.size, how.interpolation)
    return normalise(resized, how.mean, how.std, out)


def as_int8(tokens: NDArray[np.float32]) -> NDArray[np.int8]:
    """Tokens in whole numbers, on a scale of each picture's own, on which its largest element is 127.

    Which tokens of two pictures are each other's nearest does not depend on the scale of either.

    Args:
        tokens: ``(B, T, D)`` float32, of B pictures.

    Returns:
        ``(B, T, D)`` int8 from -127 to 127.
    """
    largest = np.abs(tokens).max(axis=(1, 2), keepdims=True, initial=1e-30)
    whole: NDArray[np.int8] = np.rint(tokens * (127 / largest)).astype(np.int8)
    return whole


def seen(height: int, width: int, how: Preprocessing) -> tuple[float, float, float, float]:
    """The part of a picture that the network sees: x, y, width and height in pixels of the picture."""
    if how.resize == "exact":
        return 0.0, 0.0, float(width), float(height)
    return center_crop_box(height, width, how.resize_to, how.size)


def token_keypoints(height: int, width: int, tokens: int) -> NDArray[np.float32]:
    """Where the tokens of a vision transformer lie in a picture that it saw whole.

    Args:
        height: Of the picture, pixels.
        width: Likewise.
        tokens: One class token and a square grid of patches, row by row.

    Returns:
        ``(tokens, 4)`` float32: x, y, size, angle; the centre of pixel (0, 0) is (0, 0). The class token stands
        for the whole picture, a patch for its cell; there are no angles (-1).
    """
    grid = math.isqrt(tokens - 1)
    row, column = np.divmod(np.arange(grid * grid), grid)
    keypoints = np.full((tokens, 4), -1, dtype=np.float32)
    keypoints[0, :3] = (width - 1) / 2, (height - 1) / 2, max(height, width)
    keypoints[1:, 0] = (column + 0.5) * width / grid - 0.5
    keypoints[1:, 1] = (row + 0.5) * height / grid - 0.5
    keypoints[1:, 2] = (width + height) / (2 * grid)
    return keypoints

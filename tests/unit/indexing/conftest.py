"""Fixtures: a store to index into, images, and an image server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from indexing_world import Web, World, png, serve, write


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    folder = tmp_path / "pics"
    for n in range(10):
        write(folder / f"{n}.png", png(n))
    return folder


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serve() as web:
        yield web

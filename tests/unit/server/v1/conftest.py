"""A real collection of a few images in memory, and a test client of ``/v1``."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from imagefinder.collection import Collection
from imagefinder.core.jobs import Job, JobKind
from imagefinder.core.settings import Settings
from imagefinder.server.app import create_app
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import open_collection


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(textured_image(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@dataclass
class FakeJobs:
    """Records the requested jobs without running them."""

    jobs: list[Job] = field(default_factory=list)
    put: list[tuple[Any, ...]] = field(default_factory=list)

    def start(self, kind: JobKind, collection: str, **spec: Any) -> Job:
        assert not spec
        self.jobs.append(Job(f"job{len(self.jobs)}", kind, collection, "queued", "2026-01-01T00:00:00.000Z"))
        return self.jobs[-1]

    def start_put(
        self,
        collection: str,
        image_id: str,
        data: bytes,
        metadata: Mapping[str, Any] | None = None,
        *,
        uri: str = "",
    ) -> Job:
        self.put.append((collection, image_id, data, metadata, uri))
        return self.start("put", collection)

    def find(self, kind: str, collection: str) -> Job | None:
        return next((job for job in self.jobs if (job.kind, job.collection) == (kind, collection)), None)


def make_settings(folder: Path) -> Settings:
    return Settings(
        store="memory",
        threads=2,
        collections=folder / "collections",
        models=folder / "no-models",
        scratch=folder / "scratch",
        max_image_bytes=200_000,
        fetch_private=True,
    )


def make_image_folder(folder: Path) -> Path:
    (folder / "photos").mkdir()
    for seed in range(4):
        (folder / "photos" / f"{seed}.png").write_bytes(png(seed))
    return folder / "photos"


def make_collection(settings: Settings, image_folder: Path) -> Collection:
    collection = open_collection(settings, create=True)
    collection.add(image_folder, methods=["sift"])
    for number, shop in enumerate(["north", "south", "north"]):
        metadata = {"shop": shop, "price": number}
        collection.put(f"put/{number}", jpeg(textured_image(10 + number)), metadata=metadata)
    return collection


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    return make_image_folder(tmp_path)


@pytest.fixture
def collection(settings: Settings, image_folder: Path) -> Collection:
    return make_collection(settings, image_folder)


@pytest.fixture
def jobs() -> FakeJobs:
    return FakeJobs()


@pytest.fixture
def client(collection: Collection, jobs: FakeJobs) -> Iterator[TestClient]:
    app = create_app(collection)
    service = app.state.service
    with TestClient(app, raise_server_exceptions=False) as client:
        real, service.jobs = service.jobs, jobs
        yield client
        service.jobs = real


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client for tests that change nothing, shared by the tests of a file."""
    folder = tmp_path_factory.mktemp("shared")
    collection = make_collection(make_settings(folder), make_image_folder(folder))
    with TestClient(create_app(collection), raise_server_exceptions=False) as client:
        yield client

"""A fake collection, and a test client of the application."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute
from starlette.testclient import TestClient

from imagefinder.collection import Collection
from imagefinder.core.errors import UnknownMethodError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import MethodState
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.records import AnnIndexState, CalibrationInfo, MethodInfo, StoreInfo
from imagefinder.core.results import Box, Hit, SearchResult
from imagefinder.core.settings import Settings
from imagefinder.server import access, app, origins
from imagefinder.server.app import create_app


@pytest.fixture(autouse=True)
def allow_the_host_name_of_the_test_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starlette's client sends requests to http://testserver."""
    local = access.is_local
    monkeypatch.setattr(origins, "is_local", lambda host: host == "testserver" or local(host))


class _AppOfSharedRoutes(FastAPI):
    """Shares the routers that every app has with the first app: resolving their types takes 0.3 CPU-seconds.

    Settings, service, middleware and error handlers belong to each app.
    """

    _included: ClassVar[list[tuple[APIRouter, BaseRoute]]] = []

    def include_router(self, router: APIRouter, **options: Any) -> None:
        for existing, included in self._included:
            if existing is router:
                self.router.routes.append(included)
                return
        super().include_router(router, **options)
        self._included.append((router, self.routes[-1]))


@pytest.fixture(scope="session", autouse=True)
def _routes_are_resolved_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "FastAPI", _AppOfSharedRoutes)
        yield


SPEC = FeatureSpec("local", 128, "uint8")


@dataclass
class FakeCollection:
    """Answers each search with ``ids``, or fails with ``error``; searches wait for ``gate``."""

    settings: Settings = field(default_factory=lambda: Settings(threads=2, concurrent=2, max_image_bytes=100_000))
    names: Sequence[str] = ("beit", "sift")
    ids: Sequence[str] = ("17", "b", "c", "d")
    error: Exception | None = None
    info_error: Exception | None = None
    warm_error: Exception | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    queries: list[tuple[bytes, str, int]] = field(default_factory=list)
    warmed: list[str] = field(default_factory=list)
    closed: bool = False
    calibrating: bool = False
    boxes: Sequence[Box] = ()
    engine_error: Exception | None = None
    engine_measures: dict[str, float] = field(default_factory=dict)
    states: list[AnnIndexState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def is_in_place(self) -> bool:
        return True

    def search(self, query: Query, options: SearchOptions) -> SearchResult:
        assert not options.stacks, "the original endpoints return every image"
        method, k = options.method, options.k
        self.boxes = list(query.boxes)
        assert (options.ranking, options.evalues) == ("matches", False), "the original endpoints rank by score"
        assert options.mode == "exact", "and score every image by default"
        data = query.image
        assert isinstance(data, bytes)
        if method not in self.names:
            raise UnknownMethodError(method, self.names)
        self.queries.append((data, method, k))
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        hits = tuple(Hit(n, i, 1.0 / n) for n, i in enumerate(self.ids[:k], 1))
        return SearchResult(hits, method, "exact", {method: "f"}, len(self.ids), {"total": 0.0})

    def methods(self) -> list[MethodState]:
        state = [("sift", "", ""), ("beit", "no weights", "pull them")]
        return [
            MethodState(name, f"finds by {name}", "matches", SPEC, not why, why, hint, None)
            for name, why, hint in sorted(state)
            if name in self.names
        ] + [
            MethodState(name, "plug-in", "cosine", SPEC, True, "", "", None)
            for name in self.names
            if name not in ("sift", "beit")
        ]

    def probe(self, seconds: float) -> None:
        if self.engine_error is not None:
            raise self.engine_error

    def measures(self) -> dict[str, float]:
        return self.engine_measures

    def index_states(self) -> list[AnnIndexState]:
        return self.states

    def info(self) -> StoreInfo:
        if self.info_error:
            raise self.info_error
        stored = MethodInfo(Fingerprint("sift", 1), SPEC, images=len(self.ids), bytes=10)
        return StoreInfo("here", 1, len(self.ids), 2, {"sift": stored}, 100)

    def calibration(self) -> CalibrationInfo:
        return CalibrationInfo("none", "prior", 0, len(self.ids))

    def start_calibration(self) -> None:
        self.calibrating = True

    def warm(self, method: str) -> None:
        assert self.gate.wait(10)
        self.warmed.append(method)
        if self.warm_error:
            raise self.warm_error

    def close(self) -> None:
        self.closed = True

    def as_collection(self) -> Collection:
        return cast(Collection, self)


@pytest.fixture(autouse=True)
def _own_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the default state folder of servers out of the home folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def fake(tmp_path: Path) -> FakeCollection:
    return FakeCollection(Settings(threads=2, max_image_bytes=100_000, state=tmp_path / "state"))


@pytest.fixture
def client(fake: FakeCollection) -> Iterator[TestClient]:
    with TestClient(create_app(fake.as_collection()), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def ask(client: TestClient) -> Callable[..., Any]:
    """Search with some bytes: ``ask(data, method="sift", **query)`` returns the response."""

    def post(data: bytes = b"an image", method: str = "sift", **query: object) -> Any:
        return client.post(
            f"/{method}-similar-images",
            params={k: str(v) for k, v in query.items()},
            files={"image": ("image.jpg", data, "image/jpeg")},
        )

    return post

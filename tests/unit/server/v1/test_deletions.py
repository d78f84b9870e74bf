"""An image that is deleted at any moment of a request is missing from the answer; no internal error occurs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.server.app import create_app
from imagefinder.stores.memory import MemoryStore

from .conftest import make_collection, make_image_folder, make_settings, png

BASE = "/v1/collections/default"

READS = [
    name
    for name, function in inspect.getmembers(MemoryStore, inspect.isfunction)
    if not name.startswith("_") and name not in {"put", "delete", "close", "register", "put_derived"}
]


@contextmanager
def deleting(image_id: str, call: int) -> Iterator[list[str]]:
    """Delete an image at a numbered read of the store, first or afterwards; yields the names of the reads."""
    reads: list[str] = []

    def watched(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def read(self: MemoryStore, *arguments: Any, **options: Any) -> Any:
            reads.append(name)
            number = len(reads)
            if number == call:
                self.delete([image_id])
            return function(self, *arguments, **options)

        return read

    with pytest.MonkeyPatch.context() as patch:
        for name in READS:
            patch.setattr(MemoryStore, name, watched(getattr(MemoryStore, name), name))
        yield reads


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("deletions")
    collection = make_collection(make_settings(folder), make_image_folder(folder))
    collection.calibrate()
    with TestClient(create_app(collection), raise_server_exceptions=False) as client:
        yield collection, client


REQUESTS: dict[str, Callable[[TestClient, str], Any]] = {
    "search": lambda client, _: client.post(f"{BASE}/search", files={"image": png(20)}, data={"method": "sift"}),
    "search by id": lambda client, _: client.post(f"{BASE}/search", json={"id": "x", "method": "sift"}),
    "explain": lambda client, handle: client.get(f"/v1/explanations/{handle}/images/x"),
    "draw": lambda client, handle: client.get(f"/v1/explanations/{handle}/drawings/x"),
    "query": lambda client, handle: client.get(f"/v1/explanations/{handle}/query"),
    "compare": lambda client, _: client.post(
        "/v1/compare",
        json={"a": {"collection": "default", "id": "x"}, "b": {"collection": "default", "id": "0.png"}},
    ),
    "image": lambda client, _: client.get(f"{BASE}/images/x"),
    "list": lambda client, _: client.get(f"{BASE}/images", params={"contains": "x"}),
    "thumbnail": lambda client, _: client.get(f"{BASE}/thumbnails/x"),
    "content": lambda client, _: client.get(f"{BASE}/contents/x"),
    "put": lambda client, _: client.put(
        f"{BASE}/images/x", content=png(20), headers={"Content-Type": "image/png"}
    ),
    "delete": lambda client, _: client.delete(f"{BASE}/images/x"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_deletion_at_any_moment(service: Any, name: str) -> None:
    collection, client = service
    collection.put("x", png(20))
    found = client.post(f"{BASE}/search", json={"id": "x", "method": "sift"}).json()
    reads, call = ["first"], 0
    while call < min(len(reads), 20):
        call += 1
        collection.put("x", png(20), metadata={"shop": "north"})
        with deleting("x", call) as reads:
            response = REQUESTS[name](client, found["explanations"]["handle"])
        assert response.status_code in {200, 201, 204, 404}, (call, reads, response.text)
        if response.status_code == 404:
            assert response.json()["code"] in {"unknown_image", "no_thumbnail", "content_gone"}, response.text

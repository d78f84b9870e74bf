"""Spare files in the answers of the service, which looks at the disk for every answer."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from imagefinder.server.jobs.work import collection_state
from imagefinder.testing.extractors import textured_image

BASE = "/v1/collections/default"


def encoded(form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(textured_image(30)).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def doubled(collection: Any, image_folder: Path) -> Path:
    """The folder with three copies of an image, after the report was computed."""
    folder = image_folder.parent / "copies"
    folder.mkdir()
    for name in ("a.png", "bb.png", "ccc.png"):
        (folder / name).write_bytes(encoded())
    collection.add(folder)
    report = collection.duplicates(kinds=["identical"])
    collection.keep_duplicates(report, state=collection_state(collection), computed_at="2026-01-01T00:00:00Z")
    return folder


def group(client: TestClient) -> tuple[list[str], dict[str, str]]:
    (only,) = client.get(f"{BASE}/duplicates").json()["groups"]
    assert only["ids"] == ["a.png", "bb.png", "ccc.png"]
    return only["spare"], only["reasons"]


def test_files_are_looked_at_again(client: TestClient, doubled: Path) -> None:
    assert group(client) == (["bb.png", "ccc.png"], {})
    (doubled / "bb.png").write_bytes(encoded())
    changed = "its file has changed since the comparison; find duplicates again"
    assert group(client) == (["ccc.png"], {"bb.png": changed})
    (doubled / "a.png").unlink()
    spare, reasons = group(client)
    assert (spare, reasons["a.png"]) == ([], "its file no longer exists")
    assert str(doubled) not in client.get(f"{BASE}/duplicates").text


def test_identical_in_a_comparison(client: TestClient, doubled: Path) -> None:
    def compared(data: bytes, image_id: str = "a.png") -> tuple[str, str]:
        a, b = {"base64": base64.b64encode(data).decode()}, {"collection": "default", "id": image_id}
        answer = client.post("/v1/compare", json={"a": a, "b": b}).json()
        return answer["relation"], answer["note"]

    assert compared(encoded()) == ("identical", "")
    assert compared(encoded("BMP")) == ("identical", "")
    (doubled / "a.png").unlink()
    assert compared(encoded()) == ("identical", "")
    assert compared(encoded("BMP"))[0] != "identical"


def test_identical_in_a_search(client: TestClient, doubled: Path) -> None:
    def hits(data: bytes) -> dict[str, tuple[str, str]]:
        found = client.post(f"{BASE}/search", files={"image": data}, data={"k": "9"}).json()["hits"]
        return {hit["id"]: (hit["relation"], hit["note"]) for hit in found}

    assert hits(encoded("BMP"))["bb.png"] == ("identical", "")
    (doubled / "bb.png").unlink()
    assert hits(encoded("TIFF"))["bb.png"] == ("edited copy", "looks the same at this resolution")

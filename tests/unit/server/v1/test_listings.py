from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.core.results import Size

BASE = "/v1/collections/library"
SIZE: Size = (1, 1)


def put(client: TestClient, image_id: str, **values: Any) -> None:
    record = ImageRecord(image_id, "", "", 10, *SIZE, values.pop("format", "JPEG"), **values)
    client.app.state.service.collections.get("library").store.put([Entry(record, {})])  # type: ignore[attr-defined]


def said(taken: str, **rest: str) -> FileMetadata:
    return FileMetadata({"exif": {"taken": taken, **rest}}, "made")


@pytest.fixture
def library(client: TestClient) -> TestClient:
    client.put(BASE)
    put(client, "b/IMG_10.jpg", file_metadata=said("2024-05-02T10:00:00", camera="X"), metadata={"tags": ["sea"]})
    put(client, "b/IMG_9.jpg", file_metadata=said("2024-05-01T10:00:00"))
    put(client, "b/c/x.png", format="PNG", file_metadata=said("2023-01-01"), metadata={"tags": ["sea", "=1+1"]})
    put(client, "a/z.jpg", file_metadata=said("2024-05-02T09:00:00", camera="Y"))
    return client


def ids(client: TestClient, **query: Any) -> list[str]:
    answer = client.get(f"{BASE}/images", params=query)
    assert answer.status_code == 200, answer.text
    return [image["id"] for image in answer.json()["images"]]


def test_sorted_pages(library: TestClient) -> None:
    newest = ["b/IMG_10.jpg", "a/z.jpg", "b/IMG_9.jpg", "b/c/x.png"]
    assert ids(library, sort="taken", descending=True) == newest
    assert ids(library, sort="name") == ["b/IMG_9.jpg", "b/IMG_10.jpg", "b/c/x.png", "a/z.jpg"]
    assert ids(library, sort="taken", descending=True, offset=2) == newest[2:]
    found, cursor = [], ""
    while cursor is not None:
        query = {"sort": "taken", "descending": True, "limit": 1, "cursor": cursor}
        page = library.get(f"{BASE}/images", params=query).json()
        found += [image["id"] for image in page["images"]]
        cursor = page["next_cursor"]
        if len(found) == 1:  # the cursor stays valid while images come and go
            library.delete(f"{BASE}/image", params={"id": newest[0]})
            put(library, "new.jpg", file_metadata=said("2025-01-01"))
    assert found == newest


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"folder": "b"}, ["b/IMG_10.jpg", "b/IMG_9.jpg", "b/c/x.png"]),
        ({"folder": "b/c/"}, ["b/c/x.png"]),
        ({"taken": "2024-05-02"}, ["a/z.jpg", "b/IMG_10.jpg"]),
        ({"camera": ["X", "Y"], "folder": "b"}, ["b/IMG_10.jpg"]),
        ({"format": "PNG"}, ["b/c/x.png"]),
        ({"tag": ["sea", "=1+1"]}, ["b/c/x.png"]),
        ({"rating": 0, "contains": "img"}, ["b/IMG_10.jpg", "b/IMG_9.jpg"]),
        ({"filter": '{"exif.camera": "Y"}', "taken": "2024"}, ["a/z.jpg"]),
    ],
    ids=str,
)
def test_selections(library: TestClient, query: dict[str, Any], expected: list[str]) -> None:
    assert ids(library, **query) == expected
    groups = library.get(f"{BASE}/groups", params={"by": "folder", **query}).json()["groups"]
    assert sum(group["images"] for group in groups) == len(expected)


def test_groups_in_pages(library: TestClient) -> None:
    first = library.get(f"{BASE}/groups", params={"by": "month", "limit": 1}).json()
    assert first["groups"] == [{"value": "2023-01", "images": 1}]
    rest = library.get(f"{BASE}/groups", params={"by": "month", "cursor": first["next_cursor"]}).json()
    assert rest == {"groups": [{"value": "2024-05", "images": 3}], "next_cursor": None}
    tags = library.get(f"{BASE}/groups", params={"by": "tag"}).json()["groups"]
    assert tags == [{"value": "=1+1", "images": 1}, {"value": "sea", "images": 2}]


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("images", {"sort": "colour"}, "sort"),
        ("images", {"taken": "2024-5"}, "taken"),
        ("images", {"rating": "6"}, "rating"),
        ("images", {"offset": "-1"}, "offset"),
        ("images", {"cursor": "WzEsImEiXQ"}, "cursor"),
        ("images", {"cursor": "WyJhIiwiYSJd", "sort": "size"}, "cursor"),
        ("images", {"cursor": "bm8"}, "cursor"),
        ("groups", {"by": "colour"}, "by"),
        ("groups", {}, "by"),
        ("groups", {"by": "day", "cursor": "WzFd"}, "cursor"),
        ("groups", {"by": "day", "limit": "10001"}, "limit"),
    ],
    ids=str,
)
def test_wrong_parameters(library: TestClient, path: str, query: dict[str, str], field: str) -> None:
    answer = library.get(f"{BASE}/{path}", params=query)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid_parameter", field)


def test_many_images_are_removed_and_tagged(library: TestClient) -> None:
    body = {"ids": ["a/z.jpg", "b/IMG_9.jpg", "unknown"], "add": [" sea ", "x"], "remove": ["none"]}
    assert library.post(f"{BASE}/tags", json=body).json() == {"images": 2}
    assert library.post(f"{BASE}/tags", json=body).json() == {"images": 0}
    assert library.get(f"{BASE}/image", params={"id": "a/z.jpg"}).json()["metadata"]["tags"] == ["sea", "x"]
    assert ids(library, tag="x") == ["a/z.jpg", "b/IMG_9.jpg"]
    assert library.post(f"{BASE}/tags", json={"ids": ["a/z.jpg"], "remove": ["sea", "x"]}).json() == {"images": 1}
    assert "tags" not in library.get(f"{BASE}/image", params={"id": "a/z.jpg"}).json()["metadata"]
    assert library.post(f"{BASE}/removals", json={"ids": ["a/z.jpg", "no"]}).json() == {"images": 1}
    assert "a/z.jpg" not in ids(library)
    for wrong in ({"add": [""]}, {"add": ["x" * 201]}):
        answer = library.post(f"{BASE}/tags", json={"ids": ["b/IMG_9.jpg"], **wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert library.post(f"{BASE}/removals", json={"ids": ["a"] * 10_001}).json()["field"] == "ids"
    assert library.post(f"{BASE}/removals", content=b"x").status_code == 415


def test_lists_are_exported(library: TestClient) -> None:
    body = {"ids": ["b/c/x.png", "no", "b/IMG_9.jpg"]}
    answer = library.post(f"{BASE}/exports", json=body)
    assert answer.headers["content-disposition"] == 'attachment; filename="images.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["id"] for row in rows] == ["b/c/x.png", "b/IMG_9.jpg"]
    assert json.loads(rows[0]["metadata"])["tags"] == ["sea", "=1+1"]
    exported = library.post(f"{BASE}/exports", json={**body, "format": "json"}).json()
    assert [one["id"] for one in exported["images"]] == ["b/c/x.png", "b/IMG_9.jpg"]
    put(library, "=cmd()")
    text = library.post(f"{BASE}/exports", json={"ids": ["=cmd()"]}).text
    assert "'=cmd()" in text

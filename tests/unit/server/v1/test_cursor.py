from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from imagefinder.core.metadata import MAX_ID_BYTES
from imagefinder.core.records import Entry
from imagefinder.server.app import create_app
from imagefinder.server.errors import Problem
from imagefinder.server.v1 import cursor
from imagefinder.wiring import open_collection

from .conftest import make_settings

BASE = "/v1/collections/default"

IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30) | st.sampled_from(
    ["a+b", "a/b", "a=b", "a%2Fb", "..", "é", "e\u0301", "\U0001f600", "\0", "\uffff", " ", "x" * MAX_ID_BYTES]
)


@given(IDS | st.just("\U0001f600" * 8000))  # earlier versions stored longer ids
def test_a_cursor_marks_its_position(position: str) -> None:
    made = cursor.make(position)
    assert cursor.read(made) == position
    assert len(made) <= cursor.MAX_CURSOR


@pytest.mark.parametrize("text", ["a", "_w", "=", "%", "a+b", "YQ==a", "é"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        cursor.read(text)
    assert caught.value.code == "invalid_parameter"


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A collection with one image, and a client."""
    folder: Path = tmp_path_factory.mktemp("cursor")
    collection = open_collection(make_settings(folder), create=True)
    with TestClient(create_app(collection), raise_server_exceptions=False) as client:
        yield collection, client


def pages(client: TestClient, path: str, *, limit: int = 2, **query: Any) -> list[list[str]]:
    """The ids of each page, each requested with the cursor of the page before."""
    found, after = [], ""
    while after is not None:
        response = client.get(path, params={"limit": limit, "cursor": after, **query})
        assert response.status_code == 200, response.text
        page = response.json()
        found.append([item["id"] for item in page["images"]])
        after = page["next_cursor"]
    return found


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sets(IDS, min_size=1, max_size=7))
def test_the_server_accepts_each_of_its_cursors(lists: Any, ids: set[str]) -> None:
    from imagefinder.core.records import ImageRecord

    collection, client = lists
    for record in collection.images():
        collection.remove(record.id)
    records = [ImageRecord(image_id, "", "0" * 64, 1, 1, 1, "PNG", metadata={"a": 1}) for image_id in ids]
    collection.store.put([Entry(record, {}, b"") for record in records])
    for query in ({}, {"filter": '{"a": 1}'}):
        found = pages(client, f"{BASE}/images", **query)
        assert [image_id for page in found for image_id in page] == sorted(ids)


def test_an_image_deleted_at_the_end_of_a_page_does_not_matter(lists: Any) -> None:
    from imagefinder.core.records import ImageRecord

    collection, client = lists
    for record in collection.images():
        collection.remove(record.id)
    one = ImageRecord("", "", "0" * 64, 1, 1, 1, "PNG")
    collection.store.put([Entry(replace(one, id=image_id), {}, b"") for image_id in "abcd"])
    first = client.get(f"{BASE}/images", params={"limit": 2}).json()
    collection.remove("b")
    rest = client.get(f"{BASE}/images", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["id"] for item in rest["images"]] == ["c", "d"]

"""Images in the order of similarity, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.server.v1 import cursor

from .conftest import png

BASE = "/v1/collections/default"


def ids(page: dict[str, Any]) -> list[str]:
    return [each["image"]["id"] for each in page["images"]]


def test_the_pages_are_one_list(client: TestClient) -> None:
    whole = client.get(f"{BASE}/similar", params={"id": "0.png"}).json()
    stored = {image["id"] for image in client.get(f"{BASE}/images").json()["images"]}
    assert set(ids(whole)) == stored - {"0.png"}
    assert whole["next_cursor"] is None
    scores = [each["score"] for each in whole["images"]]
    assert scores == sorted(scores, reverse=True)
    found, after = [], ""
    while after is not None:
        page = client.get(f"{BASE}/similar", params={"id": "0.png", "limit": 2, "cursor": after}).json()
        found += page["images"]
        after = page["next_cursor"]
    assert found == whole["images"]


def test_the_order_is_that_of_a_search_by_score(client: TestClient, collection: Any) -> None:
    page = client.get(f"{BASE}/similar", params={"id": "0.png"}).json()
    result = collection.search(id="0.png", method=page["method"], ranking="matches", k=10)
    assert ids(page) == list(result.ids)
    assert page["searched"] == result.searched


def test_the_query_of_a_recent_search(client: TestClient) -> None:
    answer = client.post(f"{BASE}/search", files={"image": ("0.png", png(0))}).json()
    page = client.get(f"/v1/explanations/{answer['explanations']['handle']}/similar").json()
    assert ids(page)[0] == "0.png"
    assert client.get("/v1/explanations/unknown/similar").json()["code"] == "unknown_handle"


@pytest.mark.parametrize("position", ["-1", "1000", "x", "1" * 5000, "²"])
def test_an_invalid_cursor_is_refused(client: TestClient, position: str) -> None:
    answer = client.get(f"{BASE}/similar", params={"id": "0.png", "cursor": cursor.make(position)})
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


def test_unknown_images_and_methods(client: TestClient) -> None:
    assert client.get(f"{BASE}/similar", params={"id": "nothing"}).json()["code"] == "unknown_image"
    known = {"id": "0.png", "method": "nothing"}
    assert client.get(f"{BASE}/similar", params=known).json()["code"] == "unknown_method"

"""Where images were taken is in no answer, and in no filter, unless the setting allows it; stacks are one hit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.settings import Settings
from imagefinder.server.app import create_app
from imagefinder.wiring import open_collection

BASE = "/v1/collections/default"
FOUND = FileMetadata(
    {"exif": {"taken": "2024-07-01", "latitude": 48.858, "longitude": 2.294}, "iptc": {"city": "Paris"}}, "1", "s"
)
SECRETS = ("48.858", "2.294", "Paris")


@pytest.fixture(params=[False, True], ids=["hidden", "shown"])
def client(request: Any, settings: Settings, image_folder: Path) -> Iterator[tuple[TestClient, bool]]:
    with open_collection(replace(settings, places=request.param), create=True) as collection:
        collection.add(image_folder, methods=["sift"])
        collection.store.put_file_metadata({"0.png": FOUND, "1.png": replace(FOUND, properties={})})
        with TestClient(create_app(collection)) as client:
            yield client, request.param


def test_no_answer_names_a_place_unless_the_setting_allows_it(client: tuple[TestClient, bool]) -> None:
    http, shown = client
    answers = [
        http.get(f"{BASE}/images"),
        http.get(f"{BASE}/image", params={"id": "0.png"}),
        http.get(f"{BASE}/images", params={"contains": "paris"}),
        http.post(f"{BASE}/search", json={"id": "2.png", "k": 10}),
    ]
    answers.append(http.get(f"/v1/explanations/{answers[-1].json()['explanations']['handle']}"))
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert any(secret in answer.text for secret in SECRETS) == (shown and "0.png" in answer.text)
    assert answers[0].json()["images"][0]["file_metadata"]["exif"]["taken"] == "2024-07-01"
    assert answers[2].json()["images"] == []


def test_filters_do_not_reveal_places(client: tuple[TestClient, bool]) -> None:
    http, shown = client
    for condition in ({"exif.latitude": {"gt": 48}}, {"not": {"iptc.city": "Paris"}}, {"exif": {"exists": True}}):
        listed = http.get(f"{BASE}/images", params={"filter": json.dumps(condition)})
        searched = http.post(f"{BASE}/search", json={"id": "2.png", "filter": condition})
        for answer in (listed, searched):
            assert answer.status_code == (200 if shown else 422), answer.text
            assert shown or answer.json()["code"] == "invalid_filter"
    for path, query in (("images", {"place": "Paris"}), ("groups", {"by": "place"})):
        answer = http.get(f"{BASE}/{path}", params=query)
        assert answer.status_code == (200 if shown else 422), (path, answer.text)
    taken = http.get(f"{BASE}/images", params={"filter": '{"exif.taken": {"gte": "2024"}}'}).json()
    assert [image["id"] for image in taken["images"]] == ["0.png"]


def test_a_stack_is_one_hit(client: tuple[TestClient, bool]) -> None:
    http, _ = client

    def hits(**options: Any) -> list[tuple[str, list[str]]]:
        answer = http.post(f"{BASE}/search", json={"id": "2.png", "k": 10, **options}).json()
        assert answer["searched"] == (4 if options else 3)
        return [(hit["id"], hit["stack"]) for hit in answer["hits"]]

    assert sorted(len(stack) for _, stack in hits()) == [0, 1]
    assert len(hits(stacks=False)) == 3


def test_metadata_under_reserved_keys_are_rejected(client: tuple[TestClient, bool]) -> None:
    http, _ = client
    answer = http.put(
        f"{BASE}/image",
        params={"id": "x", "metadata": '{"exif": {"taken": "mine"}}'},
        content=b"x",
        headers={"Content-Type": "image/jpeg"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    assert "reserved" in answer.json()["detail"]

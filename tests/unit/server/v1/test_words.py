"""Searches with words over HTTP, and labels of images, with the network that is installed as a package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from example_pictures import PICTURES
from starlette.testclient import TestClient

from imagefinder.server.app import create_app
from imagefinder.wiring import open_collection

from .conftest import make_settings

BASE = "/v1/collections/default"
NAMES = ("cat.jpg", "coffee.jpg", "dogs.jpg", "sunset.jpg")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    collection = open_collection(make_settings(tmp_path_factory.mktemp("words")), create=True)
    collection.add(*(PICTURES / name for name in NAMES), methods=["efficientnet-lite0"])
    collection.put("again", (PICTURES / "cat.jpg").read_bytes(), metadata={"shop": "north"})
    with TestClient(create_app(collection), raise_server_exceptions=False) as client:
        yield client


def search(client: TestClient, **body: Any) -> Any:
    response = client.post(f"{BASE}/search", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def ids(answer: Any) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def test_words_find_images_without_a_decision(client: TestClient) -> None:
    answer = search(client, text="cats")
    assert ids(answer) == ["again", "cat.jpg"]
    assert (answer["decision"], answer["explanations"], answer["null_model"]) == (None, None, None)
    assert answer["query"] == {"width": 0, "height": 0, "sha256": "", "id": None, "text": "cats"}
    assert answer["words"]["words"] == ["cat"]
    assert answer["words"]["method"] == answer["method"] == "efficientnet-lite0"
    assert "tabby" in answer["words"]["classes"]
    assert answer["hits"][0]["image"]["id"] == "again"
    assert answer["hits"][0]["explanation"] is None


def test_a_form_gives_the_same_answer(client: TestClient) -> None:
    form = client.post(f"{BASE}/search", files={"text": (None, "cats"), "k": (None, "1")})
    assert form.status_code == 200, form.text
    assert ids(form.json()) == ["again"]


def test_no_image_shows_the_words(client: TestClient) -> None:
    answer = search(client, text="volcano")
    assert answer["hits"] == []
    assert answer["words"]["shown"] == 0
    assert answer["words"]["best"] < answer["words"]["threshold"]
    assert answer["searched"] == 5


def test_words_with_an_image(client: TestClient) -> None:
    data = (PICTURES / "coffee.jpg").read_bytes()
    form = client.post(f"{BASE}/search", files={"image": data}, data={"text": "cat", "k": "3"}).json()
    by_id = search(client, id="coffee.jpg", text="cat", k=3)
    assert set(ids(form)) == {"again", "cat.jpg", "coffee.jpg"}
    assert ids(by_id)[:2] == ["again", "cat.jpg"]
    assert "coffee.jpg" not in ids(by_id)
    assert (form["decision"], form["query"]["text"], form["query"]["width"]) == (None, "cat", 600)
    explained = client.get(form["hits"][0]["explanation"])  # of the image alone
    assert explained.status_code == 200, explained.text
    handle = form["explanations"]["handle"]
    assert client.get(f"/v1/explanations/{handle}").json()["query"]["text"] == "cat"
    similar = client.get(f"/v1/explanations/{handle}/similar").json()  # to the image alone
    assert similar["images"][0]["image"]["id"] == "coffee.jpg"


def test_a_filter_and_several_queries(client: TestClient) -> None:
    assert ids(search(client, text="cat", filter={"shop": "north"})) == ["again"]
    answers = search(client, queries=[{"text": "cat"}, {"text": "xyzzy"}, {"id": "dogs.jpg", "text": "dog"}])[
        "results"
    ]
    assert ids(answers[0]) == ["again", "cat.jpg"]
    assert answers[1]["problem"]["code"] == "unknown_words"
    assert answers[2]["words"]["words"] == ["dog"]


def test_the_ranking_does_not_matter(client: TestClient) -> None:
    assert ids(search(client, text="cat", verify=False)) == ["again", "cat.jpg"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"text": "xyzzy"}, 422, "unknown_words"),
        ({"text": "bananna"}, 422, "unknown_words"),
        ({"text": " "}, 422, "invalid_parameter"),
        ({"text": "x" * 301}, 422, "invalid_parameter"),
        ({"text": 3}, 422, "invalid_parameter"),
        ({"text": "cat", "boxes": [[0, 0, 9, 9]]}, 422, "invalid_parameter"),
        ({"text": "cat", "id": "a", "url": "http://x/y"}, 422, "invalid_parameter"),
        ({"text": "cat", "max_evalue": 1}, 422, "invalid_input"),
        ({"text": "cat", "method": "sift"}, 422, "invalid_input"),
    ],
)
def test_refused_texts(client: TestClient, body: Any, status: int, code: str) -> None:
    response = client.post(f"{BASE}/search", json=body)
    assert (response.status_code, response.json()["code"]) == (status, code), response.text


def test_a_text_that_is_not_valid_unicode(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    response = client.post(f"{BASE}/search", content=b'{"text": "cat \\ud800"}', headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter"), response.text


def test_a_form_without_image_and_text(client: TestClient) -> None:
    response = client.post(f"{BASE}/search", files={"k": (None, "1")})
    assert (response.status_code, response.json()["code"]) == (400, "missing_image")
    empty = client.post(f"{BASE}/search", files={"text": (None, " ")})
    assert (empty.status_code, empty.json()["code"]) == (422, "invalid_parameter")


def test_labels_only_if_requested(client: TestClient) -> None:
    plain = client.get(f"{BASE}/image", params={"id": "coffee.jpg"}).json()
    assert plain["labels"] == []
    labelled = client.get(f"{BASE}/image", params={"id": "coffee.jpg", "labels": "true"}).json()
    assert labelled["labels"][0]["name"] == "espresso"
    assert 0.5 < labelled["labels"][0]["probability"] <= 1
    unknown = client.get(f"{BASE}/image", params={"id": "no", "labels": "true"})
    assert unknown.json()["code"] == "unknown_image"


def test_a_collection_without_such_features(shared: TestClient) -> None:
    response = shared.post(f"{BASE}/search", json={"text": "cat"})
    assert (response.status_code, response.json()["code"]) == (409, "method_not_indexed"), response.text
    assert "efficientnet-lite0" in response.json()["detail"]
    assert shared.get(f"{BASE}/image", params={"id": "0.png", "labels": "true"}).json()["labels"] == []


def test_the_library_answers_as_the_service(tmp_path: Path) -> None:
    with open_collection(make_settings(tmp_path), create=True) as collection:
        assert collection.search(text="cat").hits == ()  # an empty collection
        collection.add(PICTURES / "cat.jpg", PICTURES / "coffee.jpg", methods=["efficientnet-lite0"])
        assert collection.search(text="cat").ids == ["cat.jpg"]
        assert collection.search(text="coffee cup").ids == ["coffee.jpg"]
        assert [label.name for label in collection.labels("coffee.jpg")] == ["espresso"]

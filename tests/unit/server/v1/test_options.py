"""Each field of ``SearchOptions`` is an option of the REST service and its client, with the same name."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from imagefinder.client import Client
from imagefinder.core.answers import OPTION_NAMES
from imagefinder.core.errors import InputError
from imagefinder.core.query import SearchOptions
from imagefinder.server.v1 import requests

CHANGED: dict[str, Any] = {
    "method": "sift",
    "k": 5,
    "ranking": "matches",
    "mode": "exact",
    "mirror": False,
    "where": {"shop": "north"},
    "evalues": False,
    "stacks": False,
    "min_score": 2.5,
    "max_evalue": 0.01,
    "rerank_depth": 7,
}
"""Field -> a value other than its default."""

NAMES = [field.name for field in fields(SearchOptions)]


def public(name: str) -> str:
    return OPTION_NAMES.get(name, name)


def sent(value: Any) -> Any:
    return False if value == "matches" else value


def test_the_values_cover_all_fields() -> None:
    assert set(CHANGED) == set(NAMES)
    assert all(CHANGED[field.name] != field.default for field in fields(SearchOptions))


def test_each_field_is_described_in_json_and_in_the_form(shared: TestClient) -> None:
    description = shared.get("/openapi.json").json()
    content = description["paths"]["/v1/collections/{collection}/search"]["post"]["requestBody"]["content"]
    schemas = description["components"]["schemas"]
    form = content["multipart/form-data"]["schema"]["properties"]
    for name in NAMES:
        for properties in (
            schemas["SearchRequest"]["properties"],
            schemas["MultiSearchRequest"]["properties"],
            form,
        ):
            assert properties[public(name)]["description"]
    assert form["k"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 3} | {
        "description": form["k"]["description"]
    }
    assert form["filter"]["contentMediaType"] == "application/json"
    assert form["mode"]["enum"] == ["auto", "exact", "fast"]


@pytest.mark.parametrize("name", NAMES)
def test_each_field_is_read_from_json_and_from_a_form(name: str) -> None:
    value = sent(CHANGED[name])
    expected = SearchOptions(**{name: CHANGED[name]})
    for model, more in (
        (requests.SearchRequest, {"id": "x"}),
        (requests.MultiSearchRequest, {"queries": [{"id": "x"}]}),
    ):
        assert requests.search_options(requests.read(model, {public(name): value, **more})) == expected
    text = value if isinstance(value, str) else json.dumps(value)
    from imagefinder.server.v1.request_images import parse_text_fields

    values = parse_text_fields([(public(name), text)], requests.field_types(requests.OptionFields))
    assert requests.search_options(requests.read(requests.OptionFields, values)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_client_sends_each_changed_field(name: str) -> None:
    bodies = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        return httpx2.Response(200, json={"results": []})

    with Client("http://server", transport=httpx2.MockTransport(answer)) as client:
        client.search([b"x"], SearchOptions(**{name: CHANGED[name]}))
        client.search([b"x"], **{name: CHANGED[name]})
        client.search([b"x"], **{public(name): sent(CHANGED[name])})
        client.search([b"x"], SearchOptions(), **{name: None})
    assert [{key: body[key] for key in body if key != "queries"} for body in bodies] == [
        {public(name): sent(CHANGED[name])}
    ] * 3 + [{}]


def test_the_client_refuses_invalid_options() -> None:
    with Client("http://server", transport=httpx2.MockTransport(lambda _: httpx2.Response(500))) as client:
        with pytest.raises(TypeError, match="colour"):
            client.search([b"x"], colour="red")
        with pytest.raises(InputError, match="k must be at least 1"):
            client.search([b"x"], k=0)

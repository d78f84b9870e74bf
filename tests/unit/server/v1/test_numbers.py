"""No number in a request causes an internal error; an unusable one is answered with the name of its field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from .conftest import png

SEARCH = "/v1/collections/default/search"

NOT_NUMBERS = [
    "nan",
    "NaN",
    "inf",
    "-Infinity",
    "1e400",
    "-1e400",
    "0x10",
    "٣",
    "\uff11\uff12",
    "1__0",
    "",
    "1,5",
    "1" + "0" * 400,
]
"""Texts that are neither an integer nor a finite number."""

NOT_INTEGERS = [*NOT_NUMBERS, "1.5", "true", "1e3", "-" + "9" * 30]


def integers(description: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(HTTP method, path, name) of each integer in the queries of an OpenAPI description."""
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query" and parameter["schema"].get("type") in {"integer", "number"}:
                    yield method, path, parameter["name"]


def check(response: Any, field: str) -> None:
    document = response.json()
    assert (response.status_code, document["code"]) == (422, "invalid_parameter"), document
    assert document["field"].split(".")[0] == field, document


def test_each_number_in_a_query_is_checked(shared: TestClient) -> None:
    description = shared.get("/openapi.json").json()
    found = list(integers(description))
    assert {name for *_, name in found} == {"k", "limit", "offset", "size", "width"}
    assert len(found) >= 6
    for method, template, name in found:
        path = template.replace("{collection}", "default").replace("{handle}", "x").replace("{image_id}", "1.png")
        files = {"files": {"image": png(1)}} if method == "post" else {}
        parameters = description["paths"][template][method]["parameters"]
        required = {
            one["name"]: "day" if one["name"] == "by" else "1.png"
            for one in parameters
            if one["in"] == "query" and one.get("required")
        }
        for text in NOT_INTEGERS:
            check(shared.request(method, path, params={name: text, **required}, **files), name)


@pytest.mark.parametrize("name", ["k", "rerank_depth", "min_score", "max_evalue"])
def test_each_number_in_a_form_or_json_is_checked(shared: TestClient, name: str) -> None:
    texts = NOT_INTEGERS if name in {"k", "rerank_depth"} else NOT_NUMBERS
    for text in texts:
        check(shared.post(SEARCH, files={"image": png(1)}, data={name: text, "method": "sift"}), name)
        check(shared.post(SEARCH, json={"id": "1.png", name: text}), name)
    for literal in ("1e400", "-1e400", "1" + "0" * 400, "true", "[1]", "{}"):
        body = f'{{"id": "1.png", "method": "sift", "{name}": {literal}}}'
        check(shared.post(SEARCH, content=body, headers={"Content-Type": "application/json"}), name)


COORDINATES = st.sampled_from(
    [0, -0.0, 1, -1, 9.5, 1e-300, 1e9, -1e9, 1e10, 1e308, -1e308, 10**30, 10**400, 2**63, True]
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(COORDINATES, max_size=5))
def test_boxes_of_any_numbers(shared: TestClient, box: list[Any]) -> None:
    texts = ",".join(map(repr, box))
    for response in (
        shared.post(SEARCH, json={"id": "1.png", "method": "sift", "k": 1, "boxes": [box]}),
        shared.post(SEARCH, files={"image": png(1)}, data={"box": json.dumps(box), "method": "sift", "k": "1"}),
        shared.post(SEARCH, files={"image": png(1)}, data={"box": texts, "method": "sift", "k": "1"}),
        shared.post("/sift-similar-images", params={"box": texts, "k": 1}, files={"image": png(1)}),
    ):
        assert response.status_code in {200, 422}, response.text
        if response.status_code == 422:
            document = response.json()
            assert document["code"] in {"invalid_parameter", "invalid_input"}, document
            assert document["field"].split(".")[0] in {"box", "boxes"}, document

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core import answers, group_answers, jobs, results, similarity
from imagefinder.core.serialization import from_json, to_json
from imagefinder.server.examples import ANSWERS


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_each_example_is_a_complete_response(name: str) -> None:
    kinds = {**vars(results), **vars(jobs), **vars(answers), **vars(group_answers), **vars(similarity)}
    assert to_json(from_json(kinds[name], ANSWERS[name])) == ANSWERS[name]


def named(schema: Any) -> Iterator[str]:
    """Names of the schemas to which a schema refers directly."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    for choice in schema.get("anyOf", ()):
        yield from named(choice)


def test_each_endpoint_has_examples_of_its_responses(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    forms_with = {name for name, schema in description["components"]["schemas"].items() if "examples" in schema}
    without = []
    for path, operations in description["paths"].items():
        for verb, operation in operations.items():
            for status, answer in operation["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    if kind == "application/problem+json":
                        assert all(status == str(one["value"]["status"]) for one in content["examples"].values())
                    elif (
                        kind == "application/json"
                        and path.startswith("/v1/")
                        and not forms_with & set(named(content["schema"]))
                    ):
                        without.append((verb, path, status))
    assert without == []

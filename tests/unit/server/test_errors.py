from __future__ import annotations

import inspect
import re

import pytest
from starlette.testclient import TestClient

from imagefinder.core import errors as core
from imagefinder.server.errors import KINDS, problem_of


def test_an_unknown_path_is_a_problem(client: TestClient) -> None:
    response = client.get("/nothing/here")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "not_found"
    assert "/nothing/here" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/sift-similar-images", "/surf-similar-images"])
def test_a_wrong_http_method_is_reported_with_the_allowed_one(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["code"] == "method_not_allowed"
    assert "POST" in response.json()["hint"]


def test_each_problem_has_all_members(client: TestClient) -> None:
    problem = client.get("/nothing").json()
    assert set(problem) == {"type", "title", "status", "detail", "code", "retryable", "hint", "request_id"}


def test_retryable_is_the_same_in_table_and_library() -> None:
    tree = [c for _, c in inspect.getmembers(core, inspect.isclass) if issubclass(c, core.ImagefinderError)]
    shared = [error for error in tree if error.code in KINDS]
    assert len(shared) >= 8
    for error in shared:
        assert KINDS[error.code].retryable == error.retryable, error


def test_an_error_class_of_a_plug_in_is_reported_as_its_base_class() -> None:
    class StrangeImageError(core.NotAnImageError):
        code = "strange"

    assert problem_of(StrangeImageError("odd")).code == "not_an_image"


def test_each_code_is_used() -> None:
    package = inspect.getfile(problem_of).rsplit("/", 1)[0]
    from pathlib import Path

    source = "".join(file.read_text() for file in Path(package).rglob("*.py"))
    sent = set(re.findall(r'\bProblem\(\s*"(\w+)"', source))
    library = {c.code for _, c in inspect.getmembers(core, inspect.isclass) if hasattr(c, "code")}
    assert sent <= set(KINDS)
    assert set(KINDS) - sent <= library

"""HEAD requests: status and headers of GET, without the body."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.server.app import create_app


@pytest.fixture
def app(fake: Any) -> Any:
    return create_app(fake)


PATHS = (
    *(
        "/",
        "/web/app.js",
        "/docs",
        "/docs.css",
        "/openapi.json",
        "/health",
        "/health/live",
        "/v1/info",
        "/v1/limits",
    ),
    *("/nothing", "/web/none", "/sift-similar-images", "/v1/collections/none", "/v1/jobs/none"),
)


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_like_get_without_the_body(app: Any, path: str) -> None:
    with TestClient(app) as client:
        got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    changing = {"x-request-id"}
    if got.is_success:
        assert {k: v for k, v in head.headers.items() if k not in changing} == {
            k: v for k, v in got.headers.items() if k not in changing
        }


def test_every_get_operation_accepts_head(app: Any) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        paths = client.get("/openapi.json").json()["paths"]
        for path, operations in paths.items():
            status = client.head(path.replace("{", "").replace("}", "")).status_code
            assert (status == 405) is ("get" not in operations), path


def test_a_refused_method_names_all_allowed_ones(app: Any) -> None:
    with TestClient(app) as client:
        for path, allowed in {
            "/v1/collections/c/image?id=a": "GET, HEAD, PUT, DELETE",
            "/v1/collections/c/images/a": "GET, HEAD, PUT, DELETE",
            "/v1/jobs": "GET, HEAD, POST",
            "/v1/collections/c/search": "POST",
            "/": "GET, HEAD",
        }.items():
            answer = client.patch(path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
            assert answer.json()["hint"] == f"use {allowed}"


def test_the_log_says_head(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "imagefinder")
    with TestClient(app) as client:
        client.head("/v1/info")
    [fields] = [record.fields for record in caplog.records if record.name == "imagefinder.access"]
    assert (fields["method"], fields["route"], fields["status"]) == ("HEAD", "/v1/info", 200)

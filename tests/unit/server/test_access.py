from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings
from imagefinder.server.access import check_before_start, is_local, keys_required, required_access
from imagefinder.server.app import create_app
from imagefinder.server.keys import Keys
from imagefinder.server.state import FILE_NAME

PUBLIC = {"/", "/docs", "/docs.css", "/openapi.json", "/health", "/health/live", "/health/ready"}
ASKING = {"/v1/collections/{c}/search", "/v1/compare", "/{method}-similar-images"}


def routes(items: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """(HTTP method, path) of each route of an application."""
    for item in items:
        if hasattr(item, "effective_route_contexts"):
            yield from routes(item.effective_route_contexts())
        elif path := getattr(item, "path", None):
            yield from ((method, path) for method in item.methods or ("GET",))


@pytest.fixture
def guarded(fake: Any, tmp_path: Path) -> Any:
    fake.settings = Settings(auth="on", state=tmp_path / "state", max_image_bytes=100_000)
    return create_app(fake)


@pytest.fixture
def keys(guarded: Any, fake: Any) -> dict[str, str]:
    with Keys(fake.settings.state) as keys:
        return {access: keys.create(access, access) for access in ("read", "write")}


def test_each_route_requires_its_access_level(guarded: Any, keys: dict[str, str]) -> None:
    found = set(routes(guarded.routes))
    assert len(found) > 10
    with TestClient(guarded, raise_server_exceptions=False) as client:
        for method, template in found:
            # One path segment per parameter.
            path = "/".join(
                "x" if part.startswith("{") and part.endswith("}") else part for part in template.split("/")
            )
            path = path.replace("{method}", "x")
            if template in PUBLIC or template.startswith("/web"):
                assert method in {"GET", "HEAD"}, template
                assert client.request(method, path).status_code not in {401, 403}, (method, template)
                continue
            response = client.request(method, path)
            assert response.status_code == 401, (method, template)
            reading = method in {"GET", "HEAD"} or path.endswith(("-similar-images", "/search", "/compare"))
            response = client.request(method, path, headers={"x-api-key": keys["read"]})
            assert (response.status_code == 403) is not reading, (method, template)


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/", "none"),
        ("GET", "/web/app.js", "none"),
        ("HEAD", "/health/ready", "none"),
        ("GET", "/healthy", "read"),
        ("GET", "/docs/x", "read"),
        ("GET", "/metrics", "read"),
        ("GET", "/nothing", "read"),
        ("GET", "//", "read"),
        ("GET", "/v1/collections/default/images/a/b\nc", "read"),
        ("POST", "/v1/collections/default/search", "read"),
        ("POST", "/v1/compare", "read"),
        ("POST", "/sift-similar-images", "read"),
        ("POST", "/v1/collections/a/b/search", "write"),
        ("POST", "/v1/collections/default/search/", "write"),
        ("PUT", "/v1/collections/default/search", "write"),
        ("PUT", "/v1/collections/default/images/x/search", "write"),
        ("DELETE", "/v1/collections/default", "write"),
        ("POST", "/v1/jobs", "write"),
        ("POST", "/v1/jobs/x-similar-images", "write"),
        ("POST", "/", "write"),
        ("POST", "/health", "write"),
        ("OPTIONS", "/v1/jobs", "write"),
        ("get", "/", "write"),
        ("PROPFIND", "/", "write"),
        ("GET", "x", "write"),
    ],
)
def test_required_access_of_requests(method: str, path: str, needed: str) -> None:
    assert required_access(method, path) == needed


def test_keys_grant_their_access(guarded: Any, keys: dict[str, str], fake: Any) -> None:
    client = TestClient(guarded)
    files = {"image": b"x"}

    def ask(**headers: str) -> Any:
        return client.post("/sift-similar-images", files=files, headers=headers)

    assert ask().json()["code"] == "missing_key"
    assert ask().headers["www-authenticate"] == "Bearer"
    assert not fake.queries
    for key in keys.values():
        assert ask(authorization=f"Bearer {key}").status_code == 200
        assert ask(authorization=f"bearer  {key} ").status_code == 200
        assert ask(**{"x-api-key": key}).status_code == 200
        assert ask(authorization=f"Basic {key}").json()["code"] == "missing_key"
        assert ask(authorization=f"Bearer {key}x").json()["code"] == "wrong_key"
        assert ask(authorization=f"Bearer {key.lower()}").json()["code"] == "wrong_key"
    assert ask(authorization="Bearer ").json()["code"] == "wrong_key"
    refused = client.post("/v1/jobs", headers={"x-api-key": keys["read"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "read_only_key")
    assert client.post("/v1/jobs", headers={"x-api-key": keys["write"]}).json()["code"] == "unsupported_media_type"
    Keys(fake.settings.state).revoke("read")
    assert ask(**{"x-api-key": keys["read"]}).json()["code"] == "wrong_key"


def test_a_key_in_the_url_is_ignored(guarded: Any, keys: dict[str, str]) -> None:
    client = TestClient(guarded)
    assert client.get(f"/metrics?key={keys['write']}&api_key={keys['write']}").status_code == 401


def test_damaged_keys_deny_access_without_details(guarded: Any, keys: dict[str, str], fake: Any) -> None:
    (fake.settings.state / FILE_NAME).write_bytes(b"{" * 10_000)
    response = TestClient(guarded).get("/metrics", headers={"x-api-key": keys["write"]})
    assert (response.status_code, response.json()["code"]) == (503, "store_error")
    assert str(fake.settings.state) not in response.text
    assert TestClient(guarded).get("/health/live").status_code == 200


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("x.localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.1", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_local_hosts(host: str, local: bool) -> None:
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "pictures.example"}, True),
        ({"allowed_hosts": ("pictures.example",)}, True),
        ({"allowed_hosts": ("x.localhost",)}, False),
        ({"auth": "on"}, True),
        ({"auth": "off", "host": "0.0.0.0"}, False),
    ],
)
def test_when_keys_are_required(settings: dict[str, Any], expected: bool) -> None:
    assert keys_required(Settings(**settings)) is expected


def test_a_server_that_requires_keys_does_not_start_without_any(tmp_path: Path) -> None:
    settings, file = Settings(host="0.0.0.0"), Keys(tmp_path)
    with pytest.raises(SettingsError, match="requires API keys") as caught:
        check_before_start(settings, file)
    assert "imagefinder keys create NAME --write" in caught.value.hint
    assert "--auth off" in caught.value.hint
    file.create("a", "read")
    check_before_start(settings, file)
    check_before_start(Settings(), Keys(tmp_path / "none"))


def test_any_origin_without_keys_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="every web page"):
        check_before_start(Settings(cors_origins=("*",)), Keys(tmp_path))

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings
from imagefinder.server.access import (
    WRONG_KEYS_PER_MINUTE,
    check_before_start,
    is_local,
    keys_required,
    required_access,
)
from imagefinder.server.app import create_app
from imagefinder.server.keys.folders import FolderKeys
from imagefinder.server.state import FILE_NAME

PUBLIC = {"/", "/docs", "/docs.css", "/openapi.json", "/health", "/health/live", "/health/ready"}
READING_POSTS = {f"/v1/collections/{{collection}}/{name}" for name in ("search", "exports")} | {"/v1/compare"}
"""Routes with the method POST that a read-only key may use, besides the original endpoints: nothing is stored."""

WHOLE_SERVER = {"/metrics"}
"""Routes whose answer covers all collections, so a key restricted to some may not use them."""

COLLECTION_PREFIX = "/v1/collections/{collection}"


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
    with FolderKeys(fake.settings.state) as keys:
        created = {access: keys.create(access, access) for access in ("read", "write")}
        created["other-read"] = keys.create("other-read", "read", ["shoes"])
        created["other-write"] = keys.create("other-write", "write", ["shoes"])
        return created


def expected_refusal(method: str, template: str, key: str | None) -> tuple[int, str] | None:
    """Status and code with which a request is refused for its key; ``None`` if the key allows it."""
    if template in PUBLIC or template.startswith("/web"):
        assert method in {"GET", "HEAD"}, template
        return None
    if key is None:
        return 401, "missing_key"
    original = template.endswith("-similar-images")
    reads = method in {"GET", "HEAD"} or original or template in READING_POSTS
    if key.endswith("read") and not reads:
        return 403, "read_only_key"
    if key.startswith("other") and (
        template.startswith(COLLECTION_PREFIX)
        or template in WHOLE_SERVER
        or (original and "{method}" not in template)  # of an unknown method, nothing is read
        or (method, template) == ("POST", "/v1/jobs")  # in the default collection
    ):
        return 403, "collection_not_allowed"
    return None


REFUSALS = {"missing_key", "wrong_key", "read_only_key", "collection_not_allowed"}


@pytest.mark.parametrize("key", [None, "read", "write", "other-read", "other-write"])
def test_each_route_is_open_to_the_keys_that_allow_it(guarded: Any, keys: dict[str, str], key: str | None) -> None:
    found = set(routes(guarded.routes))
    assert len(found) > 20
    headers = {"x-api-key": keys[key]} if key else {}
    with TestClient(guarded, raise_server_exceptions=False) as client:
        for method, template in sorted(found):
            path = template.replace("{collection}", "default").replace("{method}-", "surf-")
            path = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
            refusal = expected_refusal(method, template, key)
            if refusal is None and template.startswith(COLLECTION_PREFIX):
                continue  # the fake collection has no images; the tests of /v1 cover it
            content: dict[str, Any] = {"json": {"id": "x"}}
            if template == "/v1/jobs":
                content = {"json": {"kind": "duplicates"}}
            elif template.endswith("-images"):
                content = {"files": {"image": b"x"}}
            response = client.request(method, path, headers=headers, **(content if method == "POST" else {}))
            code = response.json().get("code") if response.status_code in {401, 403} and method != "HEAD" else None
            if refusal is None:
                assert code not in REFUSALS, (method, template)
            else:
                assert response.status_code == refusal[0], (method, template, response.text)
                assert method == "HEAD" or code == refusal[1], (method, template)


def test_no_read_only_request_starts_a_job(guarded: Any, keys: dict[str, str]) -> None:
    with TestClient(guarded, raise_server_exceptions=False) as client:
        for method, template in sorted(set(routes(guarded.routes))):
            path = template.replace("{collection}", "default").replace("{method}-", "surf-")
            path = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
            if method in {"GET", "HEAD"} and not path.endswith("/duplicates"):
                client.request(method, path, headers={"x-api-key": keys["read"]})
        listed = client.get("/v1/jobs", headers={"x-api-key": keys["write"]}).json()
        assert listed["jobs"] == []


def test_wrong_keys_are_limited_and_right_keys_are_not(guarded: Any, keys: dict[str, str]) -> None:
    with TestClient(guarded) as client:
        answers = [
            client.get("/v1/limits", headers={"x-api-key": f"if_{number}"})
            for number in range(WRONG_KEYS_PER_MINUTE + 5)
        ]
        codes = [answer.json()["code"] for answer in answers]
        assert codes[:WRONG_KEYS_PER_MINUTE] == ["wrong_key"] * WRONG_KEYS_PER_MINUTE
        assert codes[-1] == "too_many_wrong_keys"
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert answers[-1].json()["limit"] == WRONG_KEYS_PER_MINUTE
        # The same address: a valid key, and a request without a key.
        assert client.get("/v1/limits", headers={"x-api-key": keys["read"]}).status_code == 200
        assert client.get("/v1/limits").json()["code"] == "missing_key"
        metrics = client.get("/metrics", headers={"x-api-key": keys["read"]}).text
    assert f'imagefinder_problems_total{{code="wrong_key"}} {WRONG_KEYS_PER_MINUTE}.0' in metrics
    assert 'imagefinder_problems_total{code="too_many_wrong_keys"} 5.0' in metrics


def test_a_lower_rate_limit_applies_to_wrong_and_missing_keys(fake: Any, tmp_path: Path) -> None:
    fake.settings = Settings(auth="on", state=tmp_path / "state", requests_per_minute=3)
    key = FolderKeys(fake.settings.state).create("a", "read")
    with TestClient(create_app(fake)) as client:
        for headers, refused in (({"x-api-key": "x"}, "too_many_wrong_keys"), ({}, "rate_limited")):
            codes = [client.get("/v1/limits", headers=headers).json()["code"] for _ in range(4)]
            assert codes[-1] == refused
            assert refused not in codes[:-1]
        # Refusals for insufficient access count too.
        statuses = [client.delete("/v1/jobs", headers={"x-api-key": key}).status_code for _ in range(4)]
    assert statuses == [403, 403, 403, 429]


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
        ("POST", "/v1/collections/default/duplicates", "write"),
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
    for key in (keys["read"], keys["write"]):
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
    FolderKeys(fake.settings.state).revoke("read")
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
    settings, file = Settings(host="0.0.0.0"), FolderKeys(tmp_path)
    with pytest.raises(SettingsError, match="requires API keys") as caught:
        check_before_start(settings, file)
    assert "imagefinder keys create NAME --write" in caught.value.hint
    assert "--auth off" in caught.value.hint
    file.create("a", "read")
    check_before_start(settings, file)
    check_before_start(Settings(), FolderKeys(tmp_path / "none"))


def test_any_origin_without_keys_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="every web page"):
        check_before_start(Settings(cors_origins=("*",)), FolderKeys(tmp_path))

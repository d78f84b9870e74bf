"""Targets in absolute form, and path prefixes of reverse proxies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings
from imagefinder.server import request_context
from imagefinder.server.app import create_app
from imagefinder.server.request_context import RequestContext, link
from imagefinder.server.targets import MAX_PREFIX, TargetMiddleware, checked_root_path, path_prefix

from .test_middleware import Talk


def request(
    target: str,
    *,
    method: str = "GET",
    client: str = "127.0.0.1",
    root_path: str = "",
    trusted: tuple[str, ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
) -> tuple[dict[str, Any], int | None, dict[str, str]]:
    """What the next layer receives, with the prefix of links; status and headers of a response without it."""
    raw, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "client": (client, 1),
        "headers": [(b"host", b"inner"), *((name.encode(), value.encode("latin-1")) for name, value in headers)],
    }
    received: dict[str, Any] = {}
    sent: list[Any] = []

    async def app(scope: Any, *_: Any) -> None:
        received.update(scope, prefix=link(""))

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        request_context.current.set(RequestContext())
        layer = TargetMiddleware(app, root_path=root_path, trusted_proxies=trusted)
        await layer(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(run())
    if not sent:
        return received, None, {}
    return received, sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


PREFIX = (("x-forwarded-prefix", "/img"),)


def test_the_prefix_of_a_local_proxy_is_in_links() -> None:
    scope, _, _ = request("/v1/info", headers=PREFIX)
    assert (scope["path"], scope["prefix"]) == ("/v1/info", "/img")
    assert request("/v1/info", headers=PREFIX, client="::1")[0]["prefix"] == "/img"


def test_the_prefix_of_another_client_is_ignored() -> None:
    for value in ("/img", "//evil", "x\r\n"):
        assert request("/v1/info", headers=(("x-forwarded-prefix", value),), client="192.0.2.7")[0]["prefix"] == ""


def test_the_prefix_of_a_trusted_proxy_is_in_links() -> None:
    for trusted in ("192.0.2.7", "192.0.2.0/24", "*"):
        scope, _, _ = request("/v1/info", headers=PREFIX, client="192.0.2.7", trusted=(trusted,))
        assert scope["prefix"] == "/img"


def test_a_client_behind_a_trusted_proxy_is_not_the_proxy() -> None:
    headers = (*PREFIX, ("x-forwarded-for", "198.51.100.1"), ("x-forwarded-proto", "https"))
    scope, _, _ = request("/v1/info", headers=headers, client="192.0.2.7", trusted=("192.0.2.7",))
    assert (scope["client"][0], scope["scheme"], scope["prefix"]) == ("198.51.100.1", "https", "/img")
    scope, _, _ = request("/v1/info", headers=headers, client="127.0.0.1")
    assert (scope["client"][0], scope["scheme"], scope["prefix"]) == ("127.0.0.1", "http", "/img")


def test_prefixes_of_several_proxies_are_joined() -> None:
    assert request("/", headers=(("x-forwarded-prefix", "/a, /b/"),))[0]["prefix"] == "/a/b"
    assert (
        request("/", headers=(("x-forwarded-prefix", "/a"), ("x-forwarded-prefix", "/b")))[0]["prefix"] == "/a/b"
    )
    assert request("/", headers=(("x-forwarded-prefix", "/"),), root_path="/x")[0]["prefix"] == ""


BAD = (
    *(
        "//evil.example",
        "/a//b",
        "img",
        "http://evil.example",
        "javascript:alert(1)",
        "/a?b",
        "/a#b",
        "/a;b",
        "/a b",
    ),
    *(
        "/..",
        "/a/../b",
        "/.",
        "/%2e%2e",
        "/a\\b",
        "\\\\evil",
        "/a\r\nX: y",
        "/a\n",
        "/a\x00",
        "/é",
        "/$(id)",
        "/<b>",
    ),
    "/" + "a" * MAX_PREFIX,
)


@pytest.mark.parametrize("value", BAD)
def test_a_prefix_that_is_no_safe_path_is_refused(value: str) -> None:
    received, status, headers = request("/v1/info", headers=(("x-forwarded-prefix", value),))
    assert (received, status, headers["content-type"]) == ({}, 422, "application/problem+json")
    with pytest.raises(SettingsError, match="root_path"):
        checked_root_path(value)


@given(st.text() | st.from_regex(r"[/.\\a:%]*"))
@example("/a/")
def test_a_prefix_never_leaves_the_host(text: str) -> None:
    prefix = path_prefix(text)
    if prefix:
        assert prefix[0] == "/"
        assert prefix.isascii()
        assert not {"", ".", ".."} & set(prefix[1:].split("/"))
        assert not set(prefix) & set(" \r\n\t:?#%;&$'\"<>\\")


def test_root_path_is_the_prefix_without_a_header() -> None:
    assert checked_root_path("/img/") == "/img"
    assert checked_root_path("/") == checked_root_path("") == ""
    scope, _, _ = request("/v1/info", root_path="/img", client="192.0.2.7")
    assert (scope["path"], scope["prefix"]) == ("/v1/info", "/img")
    assert (
        request("/v1/info", root_path="/img", headers=(("x-forwarded-prefix", "/other"),))[0]["prefix"] == "/other"
    )


@pytest.mark.parametrize(
    ("target", "root_path", "path"),
    [
        ("/img/v1/info", "/img", "/v1/info"),
        ("/img/", "/img", "/"),
        ("/a/b/v1/info", "/a/b", "/v1/info"),
        ("/img/img/x", "/img", "/img/x"),
        ("/images/x", "/img", "/images/x"),
        ("/v1/info", "/v1", "/v1/info"),
    ],
)
def test_a_prefix_that_the_proxy_leaves_in_the_path_is_removed(target: str, root_path: str, path: str) -> None:
    scope, _, _ = request(target, root_path=root_path)
    assert (scope["path"], scope["raw_path"]) == (path, path.encode())


def test_the_prefix_alone_leads_to_the_page() -> None:
    assert request("/img", root_path="/img")[1:] == (307, {"content-length": "0", "location": "/img/"})
    assert request("/img?a=b%0d", root_path="/img")[2]["location"] == "/img/?a=b%0d"
    assert request("/img", root_path="/img", method="POST")[1] is None


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("http://images.example/v1/info", "/v1/info", b"images.example"),
        ("HTTPS://images.example:8443/v1/info", "/v1/info", b"images.example:8443"),
        ("http://images.example", "/", b"images.example"),
        ("http://[::1]:5000/", "/", b"[::1]:5000"),
        ("/http://x/", "/http://x/", b"inner"),
        ("ftp://x/", "ftp://x/", b"inner"),
    ],
)
def test_a_target_in_absolute_form(target: str, path: str, host: bytes) -> None:
    scope, _, _ = request(target + "?k=1")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, path.encode(), b"k=1")
    assert [value for name, value in scope["headers"] if name == b"host"] == [host]


@pytest.mark.parametrize("authority", ["", "user@x", "a b", "x:y", "x:123456", "a,b", "<b>"])
def test_a_target_without_a_valid_host_is_refused(authority: str) -> None:
    assert request(f"http://{authority}/v1/info")[1] == 422


def test_the_host_of_an_absolute_target_is_checked(fake: Any) -> None:
    async def talk(target: str) -> int:
        answer = Talk(create_app(fake), target)
        await asyncio.wait_for(answer.task, 10)
        return int(answer.messages[0]["status"])

    assert asyncio.run(talk("http://localhost/health/live")) == 200
    assert asyncio.run(talk("http://evil.example/health/live")) == 421


def test_options_of_the_whole_server() -> None:
    _, status, headers = request("*", method="OPTIONS")
    assert (status, headers["allow"]) == (204, "GET, HEAD, PUT, POST, DELETE, OPTIONS")
    assert request("*", method="GET")[1] is None


def test_a_server_with_an_invalid_root_path_does_not_start(fake: Any) -> None:
    fake.settings = Settings(root_path="images")
    with pytest.raises(SettingsError, match="root_path must be a path such as /images, not 'images'"):
        create_app(fake)

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core.settings import Settings
from imagefinder.server.app import create_app
from imagefinder.server.errors import Problem
from imagefinder.server.origins import OriginPolicy

LOCAL = OriginPolicy(("127.0.0.1",), (), any_host=False)


def code(rules: OriginPolicy, method: str = "POST", path: str = "/", **headers: str) -> str:
    """The code with which a request is refused; empty if it is accepted."""
    sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    try:
        rules.check(method, path, {b"host": b"localhost:5000", **sent})
    except Problem as problem:
        return problem.code
    return ""


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:5000",
        "LOCALHOST:1",
        "a.localhost",
        "127.0.0.1:5000",
        "[::1]:5000",
        "192.168.1.5:80",
    ],
)
def test_local_names_and_ip_addresses_are_allowed(host: str) -> None:
    assert code(LOCAL, "GET", host=host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:5000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example#localhost",
        "evil.example/localhost",
        "7f000001.rbndr.example",
        "",
        "[::1",
        "0x7f.1",
        "2130706433",
    ],
)
def test_foreign_host_names_are_refused(host: str) -> None:
    assert code(LOCAL, "GET", host=host) == "unknown_host"


def test_host_names_can_be_allowed() -> None:
    rules = OriginPolicy(("Pictures.example.",), (), any_host=False)
    assert code(rules, host="pictures.example:8443") == ""
    assert code(rules, host="pictures.example.") == ""
    assert code(rules, host="x.pictures.example") == "unknown_host"
    assert code(OriginPolicy((), (), any_host=True), host="anything.example") == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "https://localhost:5001"},
        {"origin": "null"},
        {"origin": "http://[", "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "sec_fetch_dest": "empty"},
        {"sec_fetch_site": "cross-site", "sec_fetch_dest": "document"},
    ],
)
def test_cross_site_requests_are_refused(method: str, headers: dict[str, str]) -> None:
    assert code(LOCAL, method, **headers) == "cross_site"


@pytest.mark.parametrize("dest", ["image", "empty", "script", "iframe", "object"])
def test_other_sites_cannot_embed_images(dest: str) -> None:
    assert code(LOCAL, "GET", sec_fetch_site="cross-site", sec_fetch_dest=dest) == "cross_site"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),  # a program
        ("POST", {"origin": "http://localhost:5000", "sec_fetch_site": "same-origin"}),
        ("POST", {"origin": "https://pictures.example", "host": "pictures.example"}),  # behind a TLS proxy
        ("POST", {"origin": "http://127.0.0.1", "host": "127.0.0.1:80"}),
        ("GET", {"sec_fetch_site": "none", "sec_fetch_dest": "document"}),  # typed into the address bar
        ("GET", {"sec_fetch_site": "cross-site", "sec_fetch_dest": "document"}),  # a shared link
        ("GET", {"sec_fetch_site": "same-origin", "sec_fetch_dest": "image"}),
    ],
)
def test_programs_and_the_own_page_are_allowed(method: str, headers: dict[str, str]) -> None:
    assert code(OriginPolicy(("pictures.example",), (), any_host=False), method, **headers) == ""


def test_a_link_on_another_site_cannot_start_a_job() -> None:
    link = {"sec_fetch_site": "cross-site", "sec_fetch_dest": "document"}
    assert code(LOCAL, "GET", "/v1/collections/default/duplicates", **link) == "cross_site"
    assert code(LOCAL, "GET", "/v1/collections/default/contents/duplicates", **link) == ""
    own = {"sec_fetch_site": "same-origin", "sec_fetch_dest": "empty"}
    assert code(LOCAL, "GET", "/v1/collections/default/duplicates", **own) == ""


def test_origins_can_be_allowed() -> None:
    rules = OriginPolicy((), ("https://shop.example",), any_host=False)
    assert code(rules, origin="https://shop.example", sec_fetch_site="cross-site") == ""
    assert code(rules, origin="https://shop.example.evil.example") == "cross_site"
    assert code(rules, origin="http://shop.example") == "cross_site"
    assert code(OriginPolicy((), ("*",), any_host=True), origin="null", sec_fetch_site="cross-site") == ""


PREFLIGHT = {"origin": "https://shop.example", "access-control-request-method": "POST"}


def test_cors_is_disabled_by_default(fake: Any) -> None:
    response = TestClient(create_app(fake)).options("/sift-similar-images", headers=PREFLIGHT)
    assert response.status_code >= 400
    assert not [name for name in response.headers if name.startswith("access-control")]

    fake.settings = Settings(cors_origins=("https://shop.example",), auth="on")
    client = TestClient(create_app(fake))
    response = client.options("/sift-similar-images", headers=PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert response.headers["x-request-id"]
    # The page can read the reason of the refusal.
    response = client.post("/sift-similar-images", headers={"origin": "https://shop.example"})
    assert (response.status_code, response.json()["code"]) == (401, "missing_key")
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    response = client.options("/sift-similar-images", headers={**PREFLIGHT, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in response.headers


def test_a_form_of_another_site_cannot_search(fake: Any) -> None:
    response = TestClient(create_app(fake)).post(
        "/sift-similar-images", files={"image": b"x"}, headers={"origin": "https://evil.example"}
    )
    assert (response.status_code, response.json()["code"]) == (403, "cross_site")
    response = TestClient(create_app(fake)).get("/health", headers={"host": "evil.example"})
    assert (response.status_code, response.json()["code"]) == (421, "unknown_host")
    assert not fake.queries

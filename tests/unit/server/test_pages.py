from __future__ import annotations

import json
import re
import shlex
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core.settings import Settings
from imagefinder.server import pages
from imagefinder.server.app import create_app
from imagefinder.server.errors import KINDS
from imagefinder.server.pages import WEB


class Links(HTMLParser):
    """Collects the ids and the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.addresses: set[str] = set()
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            if name in {"href", "src", "action", "formaction"}:
                self.addresses.add(value or "")


def test_the_reference_has_no_scripts_and_no_external_resources(client: TestClient) -> None:
    response = client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    page = Links(response.text)
    assert "script" not in page.tags
    assert page.addresses
    assert not [address for address in page.addresses if "//" in address]
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert "<style" not in response.text
    assert " style=" not in response.text
    assert client.get("/docs.css").headers["content-type"].startswith("text/css")
    assert "url(" not in response.text
    assert "@import" not in response.text


def test_the_page_has_a_strict_content_security_policy(client: TestClient) -> None:
    response = client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; img-src 'self' blob: data:;")
    assert "unsafe" not in policy
    assert "style=" not in response.text
    page = Links(response.text)
    assert {"web/start.js", "web/style.css"} <= page.addresses
    assert not [address for address in page.addresses if "//" in address]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("texts.en.json", "application/json"),
    ],
)
def test_page_files_have_a_media_type_and_an_etag(client: TestClient, name: str, media_type: str) -> None:
    first = client.get(f"/web/{name}")
    assert first.headers["content-type"] == media_type
    assert first.headers["x-content-type-options"] == "nosniff"
    etag = first.headers["etag"]
    for tags in (etag, f"W/{etag}", f'"other", {etag}'):
        again = client.get(f"/web/{name}", headers={"if-none-match": tags})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert client.get(f"/web/{name}", headers={"if-none-match": '"other"'}).content == first.content
    assert client.head(f"/web/{name}").headers["content-length"] == str(len(first.content))


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpy.typed", "%2e%2e", "..%5Cpy.typed", "app.js%00"])
def test_no_name_in_a_request_becomes_a_path(client: TestClient, name: str) -> None:
    response = client.get(f"/web/{name}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_all_imported_modules_are_served(client: TestClient) -> None:
    waiting, seen = ["start.js"], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            text = client.get(f"/web/{name}").text
            waiting += re.findall(r'(?:from|import\() ?"\./([\w.]+\.js)"', text)
    assert len(seen) > 10
    assert seen | {"theme.js"} == {path.name for path in WEB.glob("*.js")}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_link_is_broken(client: TestClient, path: str) -> None:
    for address in Links(client.get(path).text).addresses:
        if not address.startswith("#"):
            assert client.get(f"/{address.removeprefix('./')}").status_code in {200, 405}


def test_the_curl_examples_use_the_url_of_the_server(fake: Any) -> None:
    fake.settings = Settings(allowed_hosts=("pictures.example",), auth="off")
    client = TestClient(create_app(fake))
    text = unescape(client.get("/docs", headers={"host": "pictures.example:8080"}).text)
    line = '<pre>curl -X POST -F "image=@image.jpg" http://pictures.example:8080/sift-similar-images</pre>'
    assert line in text


@pytest.mark.parametrize("host", ["<script>", "$(reboot)", "a b", "`x`", ""])
def test_an_unsafe_host_name_is_not_repeated(fake: Any, host: str) -> None:
    fake.settings = Settings(auth="on")  # with keys, any host name is accepted
    response = TestClient(create_app(fake)).get("/docs", headers={"host": host})
    assert response.status_code == 200
    assert "http://HOST:5000/sift" in response.text


def test_each_problem_type_links_to_its_documentation(client: TestClient) -> None:
    assert set(KINDS) <= Links(client.get("/docs").text).ids
    problem = client.get("/nothing").json()
    path, anchor = problem["type"].split("#")
    assert anchor in Links(client.get(path).text).ids


def test_the_openapi_description_is_complete(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert {path for path in schema["paths"] if not path.startswith("/v1/")} == {
        "/beit-similar-images",
        "/sift-similar-images",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    operation = schema["paths"]["/sift-similar-images"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["image"]["format"] == "binary"
    assert {"200", "400", "404", "409", "413", "415", "422", "429", "503"} - set(operation["responses"]) == {"404"}
    references = set(re.findall(r'"\$ref": ?"#/components/schemas/(\w+)"', client.get("/openapi.json").text))
    assert "ProblemDetails" in references
    assert references <= set(schema["components"]["schemas"])


def test_a_problem_matches_its_schema(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()["components"]["schemas"]["ProblemDetails"]
    problem: dict[str, Any] = client.get("/nothing").json()
    assert set(schema["required"]) == set(schema["properties"]) == set(problem)


def test_method_names_are_escaped(fake: Any) -> None:
    fake.names = ('<b>"x"',)
    with TestClient(create_app(fake)) as client:
        assert "<b>" not in client.get("/docs").text


def test_the_curl_examples_are_valid_shell_commands(client: TestClient) -> None:
    text = unescape(client.get("/docs").text)
    assert "{collection}<td>" in text
    assert "?collection=" not in text
    assert "anyOf" not in text
    calls = [call for call in re.findall(r"<pre>(.+?)</pre>", text) if "--json" in call]
    bodies = [json.loads(shlex.split(call)[4]) for call in calls]
    assert any("folder" in body or "urls" in body for body in bodies), calls


def test_the_description_and_the_reference_are_made_once(client: TestClient) -> None:
    first = client.get("/docs").text, client.get("/openapi.json").content
    before = pages._reference.cache_info(), pages._description.cache_info()
    other = {"Host": "127.0.0.1:81"}
    assert client.get("/docs", headers=other).text == first[0].replace("http://testserver", "http://127.0.0.1:81")
    assert client.get("/openapi.json", headers=other).content == first[1]
    after = pages._reference.cache_info(), pages._description.cache_info()
    assert [now.misses for now in after] == [then.misses for then in before]
    assert "base-url.invalid" not in first[0]

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.server.app import create_app
from imagefinder.server.errors import KINDS


class Links(HTMLParser):
    """Collects ids and every address a page refers to."""

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


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_needs_no_other_host_and_no_script(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.headers["content-type"].startswith("text/html")
    page = Links(response.text)
    assert "script" not in page.tags
    assert page.addresses
    assert not [address for address in page.addresses if "//" in address]
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "url(" not in response.text
    assert "@import" not in response.text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_every_link_leads_somewhere(client: TestClient, path: str) -> None:
    for address in Links(client.get(path).text).addresses:
        assert client.get(f"/{address.removeprefix('./')}").status_code in {200, 405}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_curl_lines_name_this_server(client: TestClient, path: str) -> None:
    text = client.get(path, headers={"host": "pictures.example:8080"}).text
    line = "curl -X POST -F &quot;image=@picture.jpg&quot; http://pictures.example:8080/sift-similar-images"
    assert line in text


@pytest.mark.parametrize("host", ["<script>", "$(reboot)", "a b", "`x`", ""])
def test_a_strange_host_name_is_not_repeated(client: TestClient, host: str) -> None:
    response = client.get("/", headers={"host": host})
    assert response.status_code == 200
    assert "http://HOST:5000/sift" in response.text


def test_every_problem_type_is_explained_where_it_points(client: TestClient) -> None:
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
    }
    operation = schema["paths"]["/sift-similar-images"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["image"]["format"] == "binary"
    assert {"200", "400", "404", "409", "413", "415", "422", "503"} - set(operation["responses"]) == {"404"}
    references = set(re.findall(r'"\$ref": ?"#/components/schemas/(\w+)"', client.get("/openapi.json").text))
    assert "ProblemDetails" in references
    assert references <= set(schema["components"]["schemas"])


def test_a_problem_that_is_sent_has_the_described_form(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()["components"]["schemas"]["ProblemDetails"]
    problem: dict[str, Any] = client.get("/nothing").json()
    assert set(schema["required"]) == set(schema["properties"]) == set(problem)


def test_a_method_name_cannot_break_the_page(fake: Any) -> None:
    fake.names = ('<b>"x"',)
    with TestClient(create_app(fake)) as client:
        assert "<b>" not in client.get("/").text
        assert "<b>" not in client.get("/docs").text

"""A server behind a reverse proxy that adds a path prefix: every link in an answer works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
from example_pictures import PICTURES
from prefix_proxy import PrefixProxy
from service import Service

import imagefinder
from imagefinder.client import Client

LINKS = ("thumbnail", "content", "explanation", "drawing", "picture")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix")
    with imagefinder.open(folder / "default") as collection:
        collection.add(PICTURES / "cat.jpg", PICTURES / "dogs.jpg", methods=["sift"])
        # A user's own metadata is no link.
        collection.put("x/../cat.jpg", (PICTURES / "cat.jpg").read_bytes(), metadata={"thumbnail": "/mine"})
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with Service(folder) as service:
        yield service


@pytest.fixture(scope="module")
def service_with_root_path(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    state = tmp_path_factory.mktemp("state")
    with Service(folder, root_path="/deep/img", state=str(state)) as service:
        yield service


@pytest.fixture(params=["header", "setting", "setting, path unchanged"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The base URL of a proxied server."""
    header = request.param == "header"
    service = request.getfixturevalue("service" if header else "service_with_root_path")
    headers = {"X-Forwarded-Prefix": "/deep/img"} if header else {}
    strip = request.param != "setting, path unchanged"
    with PrefixProxy(service.url, "/deep/img", strip=strip, headers=headers) as proxy:
        yield proxy.url


def links(value: Any) -> Iterator[str]:
    """The links in an answer, except in metadata."""
    if isinstance(value, list):
        for one in value:
            yield from links(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name in LINKS and isinstance(one, str):
                yield one
            elif name != "metadata":
                yield from links(one)


def test_every_link_of_a_search_works(url: str) -> None:
    with httpx2.Client(timeout=60) as client:
        image = {"image": (PICTURES / "cat.jpg").read_bytes()}
        answer = client.post(f"{url}/v1/collections/default/search", files=image)
        found = list(links(answer.json()))
        assert len(found) >= 3 * 5
        for link in found:
            assert link.startswith("/deep/img/v1/")
            for verb in ("GET", "HEAD"):
                assert client.request(verb, urljoin(url, link)).status_code == 200, link
        handle = answer.json()["explanations"]["handle"]
        assert client.get(f"{url}/v1/explanations/{handle}").json() == answer.json()
        assert json.dumps(answer.json()).count('"/mine"') == 1


def test_every_link_of_a_list_works(url: str) -> None:
    with httpx2.Client(timeout=60) as client:
        found = list(links(client.get(f"{url}/v1/collections/default/images").json()))
        assert len(found) == 5
        assert {client.get(urljoin(url, link)).status_code for link in found} == {200}


def test_locations_work(url: str) -> None:
    with httpx2.Client(timeout=60) as client:
        image = {"content": (PICTURES / "fig.jpg").read_bytes(), "headers": {"Content-Type": "image/jpeg"}}
        made = [
            client.put(f"{url}/v1/collections/default/image", params={"id": "a/../new"}, **image),
            client.put(f"{url}/v1/collections/default/image", params={"id": "later", "wait": "false"}, **image),
            client.put(f"{url}/v1/collections/another"),
            client.post(f"{url}/v1/jobs", json={"kind": "build-index"}),
        ]
        for answer in made:
            assert answer.status_code in {201, 202}, answer.text
            assert client.get(urljoin(url, answer.headers["location"])).status_code == 200
        client.delete(f"{url}/v1/collections/another", params={"confirm": "another"})
        for image_id in ("a/../new", "later"):
            client.delete(f"{url}/v1/collections/default/image", params={"id": image_id})


def test_documentation_and_problems_name_the_prefix(url: str) -> None:
    with httpx2.Client(timeout=60) as client:
        assert client.get(f"{url}/openapi.json").json()["servers"] == [{"url": "/deep/img"}]
        assert f"{url}/v1/info" in client.get(f"{url}/docs").text
        problem = client.get(f"{url}/nothing").json()
        assert problem["type"] == "/deep/img/docs#not_found"
        assert client.get(urljoin(url, problem["type"])).status_code == 200


def test_the_client_works_behind_a_prefix(url: str) -> None:
    with Client(url, timeout=60) as client:
        answer = client.search(PICTURES / "cat.jpg", k=1)
        assert client.drawing(answer, "x/../cat.jpg").startswith(b"\x89PNG")
        assert client.image("x/../cat.jpg").metadata == {"thumbnail": "/mine"}


def test_a_search_is_shared_between_the_proxy_and_direct_clients(service: Service) -> None:
    with (
        PrefixProxy(service.url, "/img", headers={"X-Forwarded-Prefix": "/img"}) as proxy,
        httpx2.Client(timeout=60) as client,
    ):
        answer = client.post(f"{proxy.url}/v1/collections/default/search", json={"id": "cat.jpg", "k": 1}).json()
        direct = client.get(f"{service.url}/v1/explanations/{answer['explanations']['handle']}").json()
        assert [link.removeprefix("/img") for link in links(answer)] == list(links(direct))


def test_without_a_prefix_nothing_changes(service: Service) -> None:
    with httpx2.Client(timeout=60) as client:
        assert "servers" not in client.get(f"{service.url}/openapi.json").json()
        found = list(links(client.get(f"{service.url}/v1/collections/default/images").json()))
        assert all(link.startswith("/v1/") for link in found)

"""HEAD on a connection that stays open: nothing of a body may precede the next response."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from example_pictures import PICTURES
from service import Service

import imagefinder


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("head")
    with imagefinder.open(folder / "default") as collection:
        collection.add(PICTURES / "cat.jpg", methods=["sift"])
    with Service(folder) as service:
        yield urlsplit(service.url).netloc


def exchange(connection: http.client.HTTPConnection, verb: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection.request(verb, path)
    response = connection.getresponse()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def test_head_and_get_alternate_on_one_connection(address: str) -> None:
    with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("POST", "/v1/jobs", '{"kind": "build-index"}', {"Content-Type": "application/json"})
        with connection.getresponse() as started:
            job = started.headers["Location"].rpartition("/")[2]
            started.read()
        opened = connection.sock
        for path in (
            *("/", "/web/app.js", "/docs", "/openapi.json", "/health/ready", "/v1/info", "/v1/jobs", "/nothing"),
            *(f"/v1/collections/default/{kind}/cat.jpg" for kind in ("images", "thumbnails", "contents")),
        ):
            status, headers, body = exchange(connection, "HEAD", path)
            assert body == b""
            got, got_headers, content = exchange(connection, "GET", path)
            assert status == got
            assert headers["content-type"] == got_headers["content-type"]
            if status == 200:
                assert headers["content-length"] == str(len(content))
        # Bodies of unknown length: a chunk that followed would be read as the next response.
        for path in (f"/v1/jobs/{job}/events", "/v1/collections/default/duplicates"):
            exchange(connection, "HEAD", path)
            assert exchange(connection, "GET", "/health/live")[0] == 200
        assert connection.sock is opened, "the server has kept the connection"
        content = exchange(connection, "GET", "/v1/collections/default/contents/cat.jpg")[2]
        assert content == (PICTURES / "cat.jpg").read_bytes()

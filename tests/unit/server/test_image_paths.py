"""Ids in URLs reach the server unchanged, whatever their characters."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from imagefinder.server import errors
from imagefinder.server.image_paths import ImageId, ImagePathMiddleware, image_path

COLLECTION, SEARCH = "/v1/collections/default", "/v1/explanations/h1"

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
"""Any text that can be stored: an id is stored as UTF-8, which has no surrogates."""
SEGMENTS = st.lists(
    st.sampled_from(
        ["..", ".", "", "a", "%2e%2e", "%2F", "\\", "?", "#", "a b", "é", "e\u0301", "+", "&id=b", "\n", "'", '"']
    )
).map("/".join)


def application() -> FastAPI:
    """An application whose endpoints answer with the kind of resource and the id that they received."""
    app = FastAPI(middleware=[Middleware(ImagePathMiddleware)])
    errors.install(app)

    def add(path: str) -> None:
        def endpoint(image_id: ImageId, method: str = "") -> list[str]:
            return [path.rpartition("/")[2], image_id, method]

        app.add_api_route(path, endpoint, methods=["GET", "DELETE"])

    for kind in ("image", "thumbnail", "content"):
        add(f"/v1/collections/{{collection}}/{kind}")
    for kind in ("image", "drawing"):
        add(f"/v1/explanations/{{handle}}/{kind}")
    add("/v1/explanations/{handle}/query")
    return app


CLIENT = TestClient(application())


@given(IDS | SEGMENTS.filter(bool), st.sampled_from(["image", "thumbnail", "content"]))
@example("x/../victim.jpg", "image")
@example("..", "image")
@example("%2e%2e/a", "image")
def test_a_link_of_an_answer_leads_to_its_image(image_id: str, kind: str) -> None:
    link = image_path(COLLECTION, kind, image_id)
    assert link.isascii()
    # Joined and normalised as HTTP libraries do it.
    url = httpx2.URL("http://testserver/v1/info").join(link)
    assert str(url) == f"http://testserver{link}"
    by_path = link == f"{COLLECTION}/{kind}s/{quote(image_id)}"
    assert by_path or link == f"{COLLECTION}/{kind}?id={quote(image_id, safe='')}"
    assert not by_path or not set(image_id.split("/")) & {"", ".", ".."}
    assert CLIENT.get(str(url)).json() == [kind, image_id, ""]


@given(IDS | SEGMENTS.filter(bool))
def test_an_escaped_id_in_a_path_is_accepted(image_id: str) -> None:
    url = f"{COLLECTION}/images/{quote(image_id, safe='').replace('.', '%2E')}"
    received: Any = {}
    scope = {"type": "http", "raw_path": url.encode(), "path": "", "query_string": b""}

    async def app(scope: Any, *_: Any) -> None:
        received.update(scope)

    async def run() -> None:
        await ImagePathMiddleware(app)(scope, None, None)  # type: ignore[arg-type]

    with pytest.raises(StopIteration):
        run().send(None)
    assert received["path"] == f"{COLLECTION}/image"
    assert received["query_string"].decode() == f"id={quote(image_id, safe='')}"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{COLLECTION}/images/2026/cat.jpg", ["image", "2026/cat.jpg", ""]),
        (f"{COLLECTION}/thumbnails/a%20b.jpg", ["thumbnail", "a b.jpg", ""]),
        (f"{COLLECTION}/contents/a/images/b", ["content", "a/images/b", ""]),
        (f"{COLLECTION}/images/a?method=sift", ["image", "a", "sift"]),
        (f"{COLLECTION}/images/", ["image", "", ""]),
        (f"{SEARCH}/images/a/b?method=sift", ["image", "a/b", "sift"]),
        (f"{SEARCH}/drawings/a", ["drawing", "a", ""]),
        (f"{SEARCH}/pictures/a", ["drawing", "a", ""]),
    ],
)
def test_an_ordinary_id_may_be_the_rest_of_the_path(path: str, expected: list[str]) -> None:
    assert CLIENT.get(path).json() == expected


def test_other_paths_stay() -> None:
    assert CLIENT.get(f"{SEARCH}/query", params={"id": "a"}).json() == ["query", "a", ""]
    for path in (f"{COLLECTION}/drawings/a", f"{SEARCH}/contents/a", f"{COLLECTION}/x/images/a", "/images/a"):
        assert CLIENT.get(path).status_code == 404


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"{COLLECTION}/image?id=a&id=b", "more than once"),
        (f"{COLLECTION}/images/a?id=b", "more than once"),
        (f"{COLLECTION}/image?id=%FF", "UTF-8"),
        (f"{COLLECTION}/images/%FF", "UTF-8"),
        (f"{COLLECTION}/image", "required"),
    ],
)
def test_an_id_that_could_be_read_in_two_ways_is_refused(url: str, reason: str) -> None:
    for verb in ("GET", "DELETE"):
        answer = CLIENT.request(verb, url)
        document = answer.json()
        assert (answer.status_code, document["code"], document["field"]) == (422, "invalid_parameter", "id")
        assert reason in document["detail"]


def test_ordinary_ids_have_short_links() -> None:
    assert (
        image_path(COLLECTION, "image", "2026/my cat (2).jpg")
        == f"{COLLECTION}/images/2026/my%20cat%20%282%29.jpg"
    )
    assert image_path(SEARCH, "drawing", "...a/ü") == f"{SEARCH}/drawings/...a/%C3%BC"
    assert image_path(SEARCH, "drawing", "a/../b") == f"{SEARCH}/drawing?id=a%2F..%2Fb"

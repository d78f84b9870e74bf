from __future__ import annotations

import base64
import io
import json
import os
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast
from unittest import mock
from urllib.parse import quote

import pytest
from PIL import Image
from starlette.testclient import TestClient

from imagefinder.testing.extractors import textured_image

BASE = "/v1/collections/default"
JPEG = {"Content-Type": "image/jpeg"}


def encoded_image(seed: int = 50) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(textured_image(seed)).save(buffer, "JPEG")
    return buffer.getvalue()


def problem(response: Any, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    document: dict[str, Any] = response.json()
    assert (response.status_code, document["code"], document.get("field")) == (status, code, field), document
    assert response.headers["content-type"] == "application/problem+json"
    assert isinstance(document["retryable"], bool)
    return document


def test_pages_are_consecutive(shared: TestClient) -> None:
    found, cursor = [], ""
    while cursor is not None:
        page = shared.get(f"{BASE}/images", params={"limit": 3, "cursor": cursor}).json()
        assert len(page["images"]) <= 3
        found += [image["id"] for image in page["images"]]
        cursor = page["next_cursor"]
    assert found == ["0.png", "1.png", "2.png", "3.png", "put/0", "put/1", "put/2"]


def test_pages_of_filtered_images(shared: TestClient) -> None:
    def ids(**query: str) -> list[str]:
        return [image["id"] for image in shared.get(f"{BASE}/images", params=query).json()["images"]]

    assert ids(filter='{"shop": "north"}') == ["put/0", "put/2"]
    assert ids(filter='{"price": {"gte": 1}}', contains="SOUTH") == ["put/1"]
    assert ids(contains="png") == ["0.png", "1.png", "2.png", "3.png"]
    first = shared.get(f"{BASE}/images", params={"filter": '{"shop": "north"}', "limit": 1}).json()
    assert (
        shared.get(
            f"{BASE}/images", params={"filter": '{"shop": "north"}', "cursor": first["next_cursor"]}
        ).json()["images"][0]["id"]
        == "put/2"
    )


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ({"limit": "0"}, 422, "invalid_parameter", "limit"),
        ({"limit": "1001"}, 422, "invalid_parameter", "limit"),
        ({"limit": "1e9"}, 422, "invalid_parameter", "limit"),
        ({"cursor": "%%%"}, 422, "invalid_parameter", "cursor"),
        ({"cursor": "_w"}, 422, "invalid_parameter", "cursor"),
        ({"cursor": "a"}, 422, "invalid_parameter", "cursor"),
        ({"filter": "{"}, 400, "malformed_json", "filter"),
        ({"filter": '{"a": NaN}'}, 400, "malformed_json", "filter"),
        ({"filter": "[" * 3000}, 400, "malformed_json", "filter"),
        ({"filter": "3"}, 422, "invalid_filter", "filter"),
        ({"filter": '{"a": {"above": 3}}'}, 422, "invalid_filter", "filter"),
        ({"filter": "x" * 5000}, 422, "invalid_parameter", "filter"),
        ({"contains": "x" * 1001}, 422, "invalid_parameter", "contains"),
    ],
    ids=str,
)
def test_invalid_list_parameters(shared: TestClient, query: Any, status: int, code: str, field: str) -> None:
    problem(shared.get(f"{BASE}/images", params=query), status, code, field)


def test_an_image_reveals_no_server_path(shared: TestClient) -> None:
    document = shared.get(f"{BASE}/images/0.png").json()
    assert (document["id"], document["width"], document["height"], document["format"]) == (
        "0.png",
        160,
        120,
        "PNG",
    )
    assert document["methods"] == ["sift"]
    assert document["content"] == f"{BASE}/contents/0.png"
    assert shared.get(f"{BASE}/images/put/0").json()["content"] is None
    everything = shared.get(f"{BASE}/images").text + json.dumps(document)
    assert "/photos" not in everything
    assert "file:" not in everything


def test_unknown_images(shared: TestClient) -> None:
    for path in ("images/none", "thumbnails/none", "contents/none", "images/", "images/0.png/"):
        problem(shared.get(f"{BASE}/{path}"), 404, "unknown_image", "id")
    problem(shared.delete(f"{BASE}/images/none"), 404, "unknown_image", "id")
    problem(shared.get("/v1/collections/none/images/0.png"), 404, "unknown_collection")
    problem(shared.get("/v1/collections/..%2f/images/0.png"), 404, "not_found")


HARD_IDS = (
    *(
        "a/b/c.jpg",
        "ä ö.jpg",
        "a?b#c",
        "50%",
        "a//b",
        "/a",
        "a/",
        "😀",
        "a+b&c=d",
        "x/../victim",
        "..",
        "./a",
        "a/..",
    ),
    *("%2e%2e", "a%2Fb", "a\\..\\victim", "'\"<b>", " a ", "e\u0301", "x" * 1024),
)


@pytest.mark.parametrize("image_id", HARD_IDS)
def test_an_image_is_reached_by_its_id_whatever_its_characters(client: TestClient, image_id: str) -> None:
    image = {"content": encoded_image(), "headers": {"content-type": "image/jpeg"}}
    client.put(f"{BASE}/image", params={"id": "victim"}, **image)
    response = client.put(f"{BASE}/image", params={"id": image_id}, **image)
    assert response.status_code == 201
    document = response.json()
    assert document["id"] == image_id
    assert client.get(response.headers["location"]).json() == document
    assert client.get(document["thumbnail"]).headers["content-type"] == "image/jpeg"
    by_path = f"{BASE}/images/{quote(image_id, safe='').replace('.', '%2E')}"
    assert client.get(by_path).json() == document
    assert client.delete(f"{BASE}/image", params={"id": image_id}).status_code == 204
    problem(client.get(by_path), 404, "unknown_image", "id")
    assert client.get(f"{BASE}/images/victim").status_code == 200


@pytest.mark.parametrize(
    "image_id", ["a%00b", "a%0Ab", "a%1Bb", "a%7F", "a%C2%85", "x" * 1025, "x" * 10_000, "%C3%A9" * 513, "%FF", ""]
)
def test_invalid_ids(shared: TestClient, image_id: str) -> None:
    response = shared.put(
        f"{BASE}/images/{image_id}", content=encoded_image(), headers={"content-type": "image/jpeg"}
    )
    problem(response, 422, "invalid_parameter", "id")


def test_an_id_has_at_most_1024_bytes(client: TestClient, collection: Any) -> None:
    def put(image_id: str) -> Any:
        content, headers = encoded_image(), {"content-type": "image/jpeg"}
        return client.put(f"{BASE}/image", params={"id": image_id}, content=content, headers=headers)

    assert put("é" * 512).status_code == put("x" * 1024).status_code == 201
    found = problem(put("é" * 512 + "x"), 422, "invalid_parameter", "id")
    assert "1,025 bytes; the limit is 1,024" in found["detail"]
    assert not collection.status(["é" * 512 + "x"])


def test_three_ways_to_put(client: TestClient, collection: Any) -> None:
    data, metadata = encoded_image(), {"shop": "east", "n": [1, {"x": None}]}
    form = client.put(f"{BASE}/images/x", files={"image": data}, data={"metadata": json.dumps(metadata)})
    assert (form.status_code, form.headers["location"]) == (201, f"{BASE}/images/x")
    raw = client.put(
        f"{BASE}/images/x",
        content=data,
        params={"metadata": json.dumps(metadata)},
        headers={"content-type": "application/octet-stream"},
    )
    assert raw.status_code == 200
    assert "location" not in raw.headers
    text = base64.b64encode(data).decode()
    for encoded in (text, f"data:image/jpeg;base64,{text}"):
        sent = client.put(f"{BASE}/images/x", json={"base64": encoded, "metadata": metadata})
        assert sent.status_code == 200
        document = sent.json()
        document.pop("added_at")
        for other in (form, raw):
            assert {key: value for key, value in other.json().items() if key != "added_at"} == document
    assert collection.get("x").metadata == metadata
    assert collection.search(id="x").searched == 8


def test_put_from_a_url(client: TestClient, collection: Any) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(encoded_image())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/a.jpg"
    response = client.put(f"{BASE}/images/web", json={"url": url})
    server.shutdown()
    server.server_close()
    assert response.status_code == 201, response.text
    assert response.json()["uri"] == url
    assert collection.get("web").uri == url


def test_put_without_waiting(client: TestClient, jobs: Any) -> None:
    response = client.put(
        f"{BASE}/images/late", params={"wait": "false"}, files={"image": b"data"}, data={"metadata": '{"a": 1}'}
    )
    assert (response.status_code, response.headers["location"]) == (202, "/v1/jobs/job0")
    assert jobs.put == [("default", "late", b"data", {"a": 1}, "")]
    problem(client.get(f"{BASE}/images/late"), 404, "unknown_image", "id")


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "field"),
    [
        (b"{", JSON, 400, "malformed_json", None),
        (b"", JSON, 400, "malformed_json", None),
        (b"\xff", JSON, 400, "malformed_json", None),
        (b"[" * 10_000, JSON, 400, "malformed_json", None),
        (b"[" * 100_000, JSON, 422, "invalid_parameter", None),
        (b'{"metadata": {"a": NaN}}', JSON, 400, "malformed_json", None),
        (b'{"metadata": {"a": ' + b"9" * 5000 + b"}}", JSON, 400, "malformed_json", None),
        (b"3", JSON, 422, "invalid_parameter", None),
        (b"{}", JSON, 422, "invalid_parameter", None),
        (b'{"url": "http://a", "base64": ""}', JSON, 422, "invalid_parameter", None),
        (b'{"base64": "AA==", "x": 1}', JSON, 422, "invalid_parameter", "x"),
        (b'{"base64": 3}', JSON, 422, "invalid_parameter", "base64"),
        (b'{"base64": "\xc3\xa4"}', JSON, 422, "invalid_parameter", "base64"),
        (b'{"base64": "A"}', JSON, 422, "invalid_parameter", "base64"),
        (b'{"base64": "data:text/plain,x"}', JSON, 422, "invalid_parameter", "base64"),
        (b'{"base64": "\\ud800"}', JSON, 422, "invalid_parameter", "base64"),
        (b'{"base64": "AAAA", "metadata": []}', JSON, 422, "invalid_parameter", "metadata"),
        (b'{"base64": "AAAA"}', JSON, 415, "not_an_image", "image"),
        (b'{"base64": ""}', JSON, 422, "empty_image", "image"),
        (b'{"base64": "' + b"A" * 300_000 + b'"}', JSON, 413, "image_too_large", "image"),
        (b'{"url": "ftp://example.org/x"}', JSON, 422, "fetch_failed", "url"),
        (b'{"url": "' + b"x" * 9000 + b'"}', JSON, 422, "invalid_parameter", "url"),
        (b"x", {}, 415, "unsupported_media_type", None),
        (b"x", {"content-type": "text/plain"}, 415, "unsupported_media_type", None),
        (b"", {"content-type": "image/png"}, 400, "missing_image", "image"),
        (b"x", {"content-type": "image/png"}, 415, "not_an_image", "image"),
        (b"x" * 200_001, {"content-type": "image/png"}, 413, "image_too_large", "image"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_put_requests(
    shared: TestClient, body: bytes, headers: Any, status: int, code: str, field: str | None
) -> None:
    problem(shared.put(f"{BASE}/images/x", content=body, headers=headers), status, code, field)
    assert shared.get(BASE).json()["images"] == 7


def test_lone_surrogates_in_metadata(shared: TestClient) -> None:
    text = base64.b64encode(encoded_image()).decode()
    body = json.dumps({"base64": text, "metadata": {"a": "\ud800"}}).encode()
    response = shared.put(f"{BASE}/images/x", content=body, headers=JSON)
    assert response.status_code == 422


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        ({"metadata": "{"}, "malformed_json", "metadata"),
        ({"metadata": "[]"}, "invalid_parameter", "metadata"),
        ({"metadata": '{"a":' * 65 + "1" + "}" * 65}, "invalid_parameter", "metadata"),
        ({"other": "x"}, "invalid_parameter", "other"),
        ({"metadata": ["{}", "{}"]}, "invalid_parameter", "metadata"),
    ],
    ids=str,
)
def test_invalid_text_fields(shared: TestClient, data: Any, code: str, field: str) -> None:
    response = shared.put(f"{BASE}/images/x", files={"image": encoded_image()}, data=data)
    assert (response.json()["code"], response.json()["field"]) == (code, field)


def test_a_cached_thumbnail_is_not_sent_again(client: TestClient, collection: Any) -> None:
    first = client.get(f"{BASE}/thumbnails/0.png")
    assert first.content == collection.thumbnail("0.png")
    assert "private" in first.headers["cache-control"]
    again = client.get(f"{BASE}/thumbnails/0.png", headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(f"{BASE}/thumbnails/0.png", headers={"If-None-Match": '"x"'})
    assert other.status_code == 200


def test_an_unchanged_original_is_served(client: TestClient, image_folder: Path) -> None:
    response = client.get(f"{BASE}/contents/1.png")
    assert response.content == (image_folder / "1.png").read_bytes()
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers["content-length"] == str(len(response.content))
    tag = {"If-None-Match": response.headers["etag"]}
    assert client.get(f"{BASE}/contents/1.png", headers=tag).status_code == 304


@pytest.mark.parametrize(
    "path", ["images", "images/0.png", "thumbnails/0.png", "contents/0.png", "content?id=0.png"]
)
def test_head_has_the_headers_of_get(shared: TestClient, path: str) -> None:
    got, head = (shared.request(verb, f"{BASE}/{path}") for verb in ("GET", "HEAD"))
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-length"] == str(len(got.content))
    for headers in (got.headers, head.headers):
        del headers["x-request-id"]
    assert head.headers == got.headers
    tag = {"If-None-Match": got.headers.get("etag", "none")}
    assert shared.head(f"{BASE}/{path}", headers=tag).status_code == (304 if "etag" in got.headers else 200)


def test_reading_duplicates_starts_no_job(client: TestClient, jobs: Any) -> None:
    assert client.head(f"{BASE}/duplicates").status_code == 404
    problem(client.get(f"{BASE}/duplicates"), 404, "no_duplicate_report")
    assert jobs.jobs == []


@pytest.mark.parametrize("change", ["gone", "changed", "longer", "folder", "pipe", "link to another"])
def test_a_changed_original_is_not_served(client: TestClient, image_folder: Path, change: str) -> None:
    path = image_folder / "1.png"
    data = path.read_bytes()
    path.unlink()
    match change:
        case "changed":
            path.write_bytes(data[:-1] + b"x")
        case "longer":
            path.write_bytes(data + b"x")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link to another":
            path.symlink_to("/etc/passwd")
    problem(client.get(f"{BASE}/contents/1.png"), 404, "content_gone")


def test_other_formats_are_downloaded(client: TestClient, collection: Any, image_folder: Path) -> None:
    Image.fromarray(textured_image(9)).save(image_folder / "x.tif")
    collection.add(image_folder, methods=["sift"])
    response = client.get(f"{BASE}/contents/x.tif")
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment"


def test_failures_reveal_no_server_path(client: TestClient, collection: Any, image_folder: Path) -> None:
    for name in "abc":
        (image_folder / f"{name}.png").write_bytes(b"not an image")
    collection.add(image_folder)
    page = client.get(f"{BASE}/failures", params={"limit": 2}).json()
    rest = client.get(f"{BASE}/failures", params={"cursor": page["next_cursor"]}).json()
    failures = page["failures"] + rest["failures"]
    assert [one["id"] for one in failures] == ["a.png", "b.png", "c.png"]
    assert rest["next_cursor"] is None
    assert {one["code"] for one in failures} == {"not_an_image"}
    assert all(one["message"] and one["uri"] == "" for one in failures)
    assert str(image_folder) not in json.dumps(failures)


def test_removals_are_listed_and_taken_back(client: TestClient, collection: Any, tmp_path: Path) -> None:
    folder = tmp_path / "removals"
    folder.mkdir()
    for seed in range(3):
        (folder / f"r{seed}.png").write_bytes(encoded_image(20 + seed))
    collection.add(folder, methods=["sift"])
    for image_id in ("r0.png", "r1.png"):
        assert client.delete(f"{BASE}/image", params={"id": image_id}).status_code == 204
    assert client.delete(f"{BASE}/image", params={"id": "r2.png", "remember": "false"}).status_code == 204
    page = client.get(f"{BASE}/removals", params={"limit": 1}).json()
    assert [removal["id"] for removal in page["removals"]] == ["r0.png"]
    assert set(page["removals"][0]) == {"id", "sha256", "removed_at"}
    page = client.get(f"{BASE}/removals", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [removal["id"] for removal in page["removals"]] == ["r1.png"]
    assert (collection.add(folder).added, collection.add(folder).excluded) == (1, 2)
    assert client.delete(f"{BASE}/removals", params={"id": "r0.png"}).status_code == 204
    assert client.delete(f"{BASE}/removals", params={"id": "r0.png"}).json()["code"] == "unknown_image"
    put = client.put(f"{BASE}/image", params={"id": "r1.png"}, content=encoded_image(5), headers=JPEG)
    assert put.status_code == 201
    assert client.get(f"{BASE}/removals").json() == {"removals": [], "next_cursor": None}


def test_images_without_their_file_are_marked(client: TestClient, collection: Any, tmp_path: Path) -> None:
    file = tmp_path / "gone.png"
    file.write_bytes(encoded_image(30))
    collection.add(file, methods=["sift"])

    def marks() -> list[bool]:
        image = client.get(f"{BASE}/image", params={"id": "gone.png"}).json()
        (listed,) = client.get(f"{BASE}/images", params={"contains": "gone.png"}).json()["images"]
        answer = client.post(f"{BASE}/search", files={"image": encoded_image(30)}).json()
        return [image["missing"], listed["missing"], answer["hits"][0]["image"]["missing"]]

    assert marks() == [False, False, False]
    file.unlink()
    assert marks() == [True, True, True]


def test_a_server_tells_paths_only_to_its_own_machine(client: TestClient, image_folder: Path) -> None:
    service = cast("Any", client.app).state.service
    local = client.get(f"{BASE}/location", params={"id": "0.png"})
    assert local.json() == {"path": str(image_folder / "0.png")}
    assert client.get(f"{BASE}/location", params={"id": "put/0"}).json() == {"path": None}
    for settings in ({"host": "0.0.0.0"}, {"allowed_hosts": ("pictures.example",)}):
        reachable = replace(service.settings, **settings)
        with mock.patch.object(service, "settings", reachable):
            hidden = client.get(f"{BASE}/location", params={"id": "0.png"})
            assert (hidden.status_code, hidden.json()["code"]) == (403, "location_hidden")
            assert str(image_folder) not in hidden.text
            assert client.get("/v1/info").json()["shows_locations"] is False

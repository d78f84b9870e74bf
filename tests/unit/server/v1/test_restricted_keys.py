"""A key that is restricted to collections sees nothing of the others, through any endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.server.app import create_app
from imagefinder.server.keys.folders import FolderKeys

from .conftest import make_collection, make_image_folder, make_settings, png

SHOES, BAGS = "/v1/collections/shoes", "/v1/collections/bags"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A client for each key: ``all`` and ``shoes``, both with write access; and the handle of a search in bags."""
    folder = tmp_path_factory.mktemp("restricted")
    settings = replace(make_settings(folder), auth="on", state=folder / "state", job_roots=(folder / "photos",))
    with FolderKeys(settings.state) as keys:
        secrets = {
            "all": keys.create("all", "write"),
            "shoes": keys.create("shoes", "write", ["shoes", "none"]),
            "reader": keys.create("reader", "read", ["shoes"]),
        }
    collection = make_collection(settings, make_image_folder(folder))
    app = create_app(collection)
    with TestClient(app, raise_server_exceptions=False) as client:
        clients: dict[str, Any] = {
            name: TestClient(app, raise_server_exceptions=False, headers={"x-api-key": secret})
            for name, secret in secrets.items()
        }
        assert client.get("/v1/info").status_code == 401
        for base in (SHOES, BAGS):
            assert clients["all"].put(base).status_code == 201
            image = {"content": png(3), "headers": {"content-type": "image/png"}}
            assert clients["all"].put(f"{base}/images/a", **image).status_code == 201
        found = clients["all"].post(f"{BAGS}/search", json={"id": "a", "method": "sift"}).json()
        clients["handle"] = found["explanations"]["handle"]
        clients["job"] = (
            clients["all"].post("/v1/jobs", json={"kind": "build-index", "collection": "bags"}).json()["id"]
        )
        yield clients


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_the_own_collection_is_usable(server: dict[str, Any]) -> None:
    shoes = server["shoes"]
    assert [item["id"] for item in shoes.get(f"{SHOES}/images").json()["images"]] == ["a"]
    found = shoes.post(f"{SHOES}/search", json={"id": "a", "method": "sift"}).json()
    assert shoes.get(f"/v1/explanations/{found['explanations']['handle']}").status_code == 200
    assert shoes.get("/v1/methods").status_code == 200
    reference = {"collection": "shoes", "id": "a"}
    assert shoes.post("/v1/compare", json={"a": reference, "b": reference}).status_code == 200
    job = shoes.post("/v1/jobs", json={"kind": "build-index", "collection": "shoes"}).json()["id"]
    assert shoes.get(f"/v1/jobs/{job}").status_code == 200
    assert [one["id"] for one in shoes.get("/v1/jobs").json()["jobs"]] == [job]
    assert code(server["reader"].delete(f"{SHOES}/images/a")) == (403, "read_only_key")
    assert shoes.put("/v1/collections/none").status_code == 201
    assert shoes.delete("/v1/collections/none", params={"confirm": "none"}).status_code == 204


def test_lists_contain_only_the_own_collections(server: dict[str, Any]) -> None:
    assert [one["name"] for one in server["shoes"].get("/v1/collections").json()["collections"]] == ["shoes"]
    assert server["shoes"].get("/v1/info").json()["collections"] == ["shoes"]
    assert server["all"].get("/v1/info").json()["collections"] == ["bags", "default", "shoes"]
    assert server["job"] in {one["id"] for one in server["all"].get("/v1/jobs").json()["jobs"]}
    assert server["job"] not in {one["id"] for one in server["shoes"].get("/v1/jobs").json()["jobs"]}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", BAGS, None),
        ("GET", f"{BAGS}/images", None),
        ("GET", f"{BAGS}/images/a", None),
        ("GET", f"{BAGS}/thumbnails/a", None),
        ("GET", f"{BAGS}/contents/a", None),
        ("GET", f"{BAGS}/image?id=a", None),
        ("GET", f"{BAGS}/thumbnail?id=a", None),
        ("DELETE", f"{BAGS}/image?id=a", None),
        ("GET", f"{BAGS}/failures", None),
        ("GET", f"{BAGS}/removals", None),
        ("GET", f"{BAGS}/duplicates", None),
        ("GET", "/v1/collections/b%61gs/images", None),
        ("GET", "/v1/collections/default/images", None),
        ("GET", "/v1/collections/unknown/images", None),
        ("POST", f"{BAGS}/search", {"id": "a"}),
        ("PUT", BAGS, None),
        ("PUT", "/v1/collections/new", None),
        ("PUT", f"{BAGS}/images/b", {"base64": "aGk="}),
        ("DELETE", f"{BAGS}/images/a", None),
        ("DELETE", f"{BAGS}?confirm=bags", None),
        ("POST", "/v1/compare", {"a": {"collection": "bags", "id": "a"}, "b": {"collection": "shoes", "id": "a"}}),
        ("POST", "/v1/jobs", {"kind": "duplicates", "collection": "bags"}),
        ("POST", "/v1/jobs", {"kind": "add", "collection": "unknown", "urls": ["http://x/a.png"]}),
        ("POST", "/v1/jobs", {"kind": "build-index"}),
        ("GET", "/metrics", None),
    ],
)
def test_other_collections_are_refused(server: dict[str, Any], method: str, path: str, body: Any) -> None:
    before = server["all"].get(f"{BAGS}/images").json()
    assert code(server["shoes"].request(method, path, json=body)) == (403, "collection_not_allowed")
    assert server["all"].get(f"{BAGS}/images").json() == before
    assert server["all"].get("/v1/info").json()["collections"] == ["bags", "default", "shoes"]


def test_head_is_refused_like_get(server: dict[str, Any]) -> None:
    for path in (BAGS, f"{BAGS}/images/a", "/v1/collections/unknown"):
        assert server["shoes"].head(path).status_code == 403
    assert server["all"].head(f"{BAGS}/images/a").status_code == 200


def test_the_original_endpoints_search_the_default_collection(server: dict[str, Any]) -> None:
    files = {"image": png(1)}
    assert server["all"].post("/sift-similar-images", files=files).status_code == 200
    assert code(server["shoes"].post("/sift-similar-images", files=files)) == (403, "collection_not_allowed")


def test_jobs_and_handles_of_other_collections_are_unknown(server: dict[str, Any]) -> None:
    job, handle = f"/v1/jobs/{server['job']}", f"/v1/explanations/{server['handle']}"
    for path in (job, handle, f"{handle}/query", f"{handle}/images/a", f"{handle}/drawings/a"):
        assert server["all"].get(path).status_code == 200, path
        assert server["shoes"].get(path).status_code == 404, path
    for method, path in (("GET", f"{job}/events"), ("POST", f"{job}/cancel")):
        assert code(server["shoes"].request(method, path)) == (404, "unknown_job")
    # The same answer as for one that does not exist.
    other = server["shoes"].get("/v1/jobs/" + "0" * len(server["job"])).json()
    same = server["shoes"].get(job).json()
    assert {**other, "detail": "", "request_id": ""} == {**same, "detail": "", "request_id": ""}


def test_only_callers_with_write_access_see_the_folders_of_the_server(server: dict[str, Any]) -> None:
    assert server["shoes"].get("/v1/info").json()["job_roots"]
    assert server["reader"].get("/v1/info").json()["job_roots"] == []

"""Two servers over one database, without sticky sessions: what one stores, the other one uses."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from command import answer
from make_collection import picture
from service import Service

from imagefinder.core.location import child

from .postgres_server import PostgresServer

SMALL = {
    "sift_max_keypoints": "100",
    "threads": "1",
    "isolate": "false",
    "fetch_private": "true",
    "lease_seconds": "2",
}


def settings(url: str, folder: Path, **further: str) -> dict[str, str]:
    return {
        **SMALL,
        "collections": url,
        "collection": child(url, "default"),
        "scratch": str(folder / "scratch"),
        **further,
    }


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> str:
    return postgres.url(postgres.new_database())


@pytest.fixture(scope="module")
def servers(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[httpx2.Client]]:
    """Clients of two servers; the default collection has three images."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    with (
        Service(folders[0], **settings(url, folders[0])) as one,
        Service(folders[1], **settings(url, folders[1])) as two,
    ):
        clients = [httpx2.Client(base_url=service.url, timeout=60) for service in (one, two)]
        for number in range(3):
            put(clients[number % 2], "default", number)
        yield clients
        for client in clients:
            client.close()


def put(client: httpx2.Client, collection: str, number: int) -> None:
    path = f"/v1/collections/{collection}/images/{number}.png"
    response = client.put(path, files={"image": picture(number)})
    assert response.status_code in {200, 201}, response.text


def ended(client: httpx2.Client, job_id: str, seconds: float = 60) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = client.get(f"/v1/jobs/{job_id}").json()
        if job["state"] in {"succeeded", "failed", "cancelled"}:
            return dict(job)
        time.sleep(0.1)
    raise AssertionError(f"still {job}")


def test_a_search_at_one_is_explained_at_the_other(servers: list[httpx2.Client]) -> None:
    one, two = servers
    response = one.post("/v1/collections/default/search", files={"image": picture(1)}, data={"k": "2"})
    found = response.json()
    assert found["hits"][0]["id"] == "1.png", found
    handle = found["explanations"]["handle"]
    for client in (two, one, two):
        assert client.get(f"/v1/explanations/{handle}").json() == found
    explained = [
        client.get(f"/v1/explanations/{handle}/image", params={"id": "1.png"}).json() for client in servers
    ]
    assert explained[0] == explained[1]
    assert explained[0]["inliers"] or explained[0]["evidence"], explained[0]
    drawn = [client.get(f"/v1/explanations/{handle}/drawing", params={"id": "1.png"}) for client in servers]
    assert drawn[0].status_code == 200
    assert drawn[0].content == drawn[1].content
    query = [client.get(f"/v1/explanations/{handle}/query").content for client in servers]
    assert query[0] == query[1]
    assert two.get("/v1/explanations/unknown").json()["code"] == "unknown_handle"


def test_a_search_by_id_at_one_is_explained_at_the_other(servers: list[httpx2.Client]) -> None:
    one = servers[0]
    put(one, "default", 1)
    found = one.post("/v1/collections/default/search", json={"id": "1.png", "k": 3, "filter": None}).json()
    handle = found["explanations"]["handle"]
    hit = {"id": found["hits"][0]["id"] if found["hits"] else "0.png"}
    explained = [client.get(f"/v1/explanations/{handle}/image", params=hit).json() for client in servers]
    assert explained[0] == explained[1]


def test_a_collection_made_at_one_is_used_and_deleted_at_the_other(servers: list[httpx2.Client]) -> None:
    one, two = servers
    assert one.put("/v1/collections/shop").status_code == 201
    put(two, "shop", 0)
    assert [client.get("/v1/collections/shop").json()["images"] for client in servers] == [1, 1]
    names = [[item["name"] for item in client.get("/v1/collections").json()["collections"]] for client in servers]
    assert names[0] == names[1] == ["default", "shop"]
    deleted = two.delete("/v1/collections/shop", params={"confirm": "shop"})
    assert deleted.status_code == 204, deleted.text
    for client in servers:
        assert client.get("/v1/collections/shop").json()["code"] == "unknown_collection"
        assert [item["name"] for item in client.get("/v1/collections").json()["collections"]] == ["default"]


def test_a_job_started_at_one_is_followed_at_the_other(servers: list[httpx2.Client]) -> None:
    one, two = servers
    job = one.post("/v1/jobs", json={"kind": "duplicates", "collection": "default"}).json()
    with two.stream("GET", f"/v1/jobs/{job['id']}/events") as response:
        lines = [line for line in response.iter_lines() if line.startswith("data:")]
    assert json.loads(lines[-1][5:])["state"] == "succeeded", lines
    assert one.get("/v1/jobs").json()["jobs"][0]["id"] == job["id"]
    assert {
        two.get("/v1/collections/default/duplicates").status_code,
        one.get("/v1/collections/default/duplicates").status_code,
    } == {200}
    assert two.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "succeeded"


@pytest.mark.faults
def test_keys_and_rate_limits_are_shared(url: str, tmp_path: Path) -> None:
    def key(name: str) -> str:
        return str(answer("keys", "create", name, "--write", "--collections", url)["key"])

    first = key("first")
    # 30 in a minute, in tokens of 1 for each server
    limits = settings(url, tmp_path, auth="on", requests_per_minute="30")
    with Service(tmp_path / "a", **limits) as one, Service(tmp_path / "b", **limits) as two:
        urls = [one.url, two.url]
        headers = {"x-api-key": key("second")}
        clients = [httpx2.Client(base_url=base, timeout=60, headers=headers) for base in urls]
        began = time.monotonic()
        counts = {200: 0, 429: 0}
        while counts[429] < 20:
            assert time.monotonic() < began + 60, counts
            for client in clients:
                counts[client.get("/v1/info").status_code] += 1
        allowed = 30 + (time.monotonic() - began) / 2
        assert allowed - 3 <= counts[200] <= allowed + 2, (counts, allowed)
        for client in clients:
            client.close()
        other = {"x-api-key": first}
        assert [httpx2.get(f"{base}/v1/info", headers=other).status_code for base in urls] == [200, 200]
        answer("keys", "revoke", "first", "--collections", url)
        time.sleep(1.0)
        assert [httpx2.get(f"{base}/v1/info", headers=other).status_code for base in urls] == [401, 401]
        third = {"x-api-key": key("third")}
        assert [httpx2.get(f"{base}/v1/info", headers=third).status_code for base in urls] == [200, 200]


@pytest.mark.faults
def test_the_jobs_of_a_killed_server_end(url: str, tmp_path: Path, servers: list[httpx2.Client]) -> None:
    """A third server is killed while it adds images; the others add the rest, each image once."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(200):
        (images / f"{number:03}.png").write_bytes(picture(number))
    with Service(tmp_path, **settings(url, tmp_path, job_roots=str(images))) as third:
        client = httpx2.Client(base_url=third.url, timeout=60)
        assert servers[0].put("/v1/collections/killed").status_code == 201
        job = client.post("/v1/jobs", json={"kind": "add", "collection": "killed", "folder": str(images)}).json()
        end = time.monotonic() + 60
        while client.get("/v1/collections/killed").json()["images"] < 5:
            assert time.monotonic() < end, "".join(third.lines)
        third.process.send_signal(signal.SIGKILL)
        third.process.wait()
        client.close()
    assert servers[1].get(f"/v1/jobs/{job['id']}").json()["state"] == "running"
    # The other two cannot read the folder; a fourth one can.
    with (
        Service(tmp_path / "fourth", **settings(url, tmp_path, job_roots=str(images))) as fourth,
        httpx2.Client(base_url=fourth.url, timeout=60) as client,
    ):
        done = ended(client, job["id"])
        assert done["state"] == "succeeded", done
        assert done["progress"]["added"] + done["progress"]["skipped"] == 200, done
        assert done["progress"]["failed"] == 0
        assert client.get("/v1/collections/killed").json()["images"] == 200
        assert done["result"]["added"] + done["result"]["unchanged"] == 200

"""Each operation of the client once, with the service in a separate process."""

from __future__ import annotations

import functools
import http.server
import io
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from PIL import Image
from service import Service

import imagefinder
from imagefinder.client import (
    ById,
    Client,
    ConnectionFailedError,
    JobFailedError,
    NotFoundError,
    RequestError,
    SearchAnswer,
    Stored,
)

ROOT = Path(__file__).parents[2]
NAMES = ("cat.jpg", "clock.jpg", "coins.jpg", "dogs.jpg", "drum.jpg", "fig.jpg")

METHODS = {
    "info": "info",
    "limits": "limits",
    "methods": "methods",
    "list_collections": "collections",
    "get_collection": "collection",
    "put_collection": "create_collection",
    "delete_collection": "delete_collection",
    "list_images": "images",
    "list_failures": "failures",
    "get_image": "image",
    "put_image": "put",
    "delete_image": "delete",
    "get_thumbnail": "thumbnail",
    "get_preview": "preview",
    "get_content": "content",
    "search": "search",
    "get_result": "answer",
    "get_query": "query_image",
    "explain": "explain",
    "draw": "drawing",
    "compare": "compare",
    "duplicates": "duplicates",
    "start_job": "start_add",
    "list_jobs": "jobs",
    "get_job": "job",
    "cancel_job": "cancel",
    "job_events": "events",
    "list_removals": "removals",
    "forget_removal": "forget_removal",
    "list_groups": "groups",
    "remove_images": "delete_images",
    "tag_images": "tag",
    "export_images": "export",
    "get_location": "location",
    "similar": "similar",
    "similar_to_query": "similar_to_query",
}
"""Operation of the OpenAPI description -> method of the client."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some of the example images and a smaller copy of one."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in NAMES:
        (folder / name).write_bytes((ROOT / "examples" / "pictures" / name).read_bytes())
    with Image.open(folder / "cat.jpg") as cat:
        cat.resize((cat.width * 3 // 4, cat.height * 3 // 4)).save(folder / "cat copy.jpg", quality=85)
    return folder


@pytest.fixture(scope="module")
def web(pictures: Path) -> Iterator[str]:
    """The URL of a web server with the same images."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(pictures))
    ) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_address[1]}"
        web.shutdown()
        thread.join(10)


@pytest.fixture(scope="module")
def url(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("service")
    with imagefinder.open(place / "default") as collection:
        collection.add(pictures, methods=["sift"])
    with Service(place, job_roots=str(pictures), fetch_private="yes") as service:
        yield service.url
    assert "Traceback" not in "".join(service.lines), "".join(service.lines)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


def test_every_operation_has_a_method(url: str) -> None:
    paths = httpx2.get(f"{url}/openapi.json", timeout=60).json()["paths"]
    operations = {
        operation["operationId"].removesuffix("_by_id")  # the same with the id in the query
        for path, verbs in paths.items()
        if path.startswith("/v1/")
        for operation in verbs.values()
        if not operation.get("deprecated")
    }
    assert operations == set(METHODS)
    assert all(callable(getattr(Client, method)) for method in METHODS.values())


def test_the_service(client: Client, pictures: Path) -> None:
    info = client.info()
    assert info.default_collection in info.collections
    assert info.job_roots == (str(pictures),)
    limits = client.limits()
    assert limits.max_k >= 100
    methods = {method.name: method for method in client.methods()}
    assert methods["sift"].ready
    assert methods["sift"].kind == "local"
    assert methods["beit"].reason


def test_collections_and_images(client: Client, pictures: Path, web: str) -> None:
    made = client.create_collection("shop")
    assert (made.name, made.images) == ("shop", 0)
    put = client.put("a b/ü#1.jpg", pictures / "cat.jpg", metadata={"price": 3}, collection="shop")
    assert (put.id, put.metadata) == ("a b/ü#1.jpg", {"price": 3})
    client.put("2", (pictures / "dogs.jpg").read_bytes(), collection="shop")
    assert client.put("..", f"{web}/fig.jpg", collection="shop").uri == f"{web}/fig.jpg"
    job = client.start_put("4", pictures / "drum.jpg", metadata={"price": 4}, collection="shop").wait(timeout=120)
    assert job.kind == "put"
    assert [image.id for image in client.images("shop", page_size=1)] == ["..", "2", "4", "a b/ü#1.jpg"]
    assert [image.id for image in client.images("shop", filter={"price": 4})] == ["4"]
    assert [image.id for image in client.images("shop", contains="ü#")] == ["a b/ü#1.jpg"]
    assert client.image("..", "shop").width > 0
    with Image.open(io.BytesIO(client.thumbnail("a b/ü#1.jpg", "shop"))) as small:
        assert max(small.size) <= 256
    client.delete("..", "shop")
    with pytest.raises(NotFoundError) as caught:
        client.image("..", "shop")
    assert caught.value.code == "unknown_image"
    assert client.collection("shop").images == 3
    assert {known.name for known in client.collections()} == {"default", "shop"}
    client.delete_collection("shop")
    with pytest.raises(NotFoundError, match="shop"):
        client.collection("shop")


def test_searching_and_explaining(client: Client, pictures: Path, web: str) -> None:
    answer = client.search(pictures / "cat copy.jpg", k=2)
    assert answer.ids == ["cat copy.jpg", "cat.jpg"]
    assert answer.decision == "match"
    assert answer.hits[0].image is not None
    assert answer.hits[0].image.id == "cat copy.jpg"
    assert answer.explanations is not None
    assert client.answer(answer.explanations.handle).ids == answer.ids
    explanation = client.explain(answer, "cat.jpg", method="sift")
    assert explanation.evidence is not None
    assert len(explanation.inliers) > 10
    assert client.drawing(answer, "cat.jpg").startswith(b"\x89PNG")
    assert client.query_image(answer, width=64).startswith(b"\xff\xd8")
    with Image.open(io.BytesIO(client.preview("cat.jpg", size=400))) as preview:
        assert preview.format == "JPEG"
    assert client.content("cat.jpg") == (pictures / "cat.jpg").read_bytes()
    by_url = client.search(f"{web}/dogs.jpg", method="sift", k=1, verify=False)
    assert (by_url.ids, by_url.ranking) == (["dogs.jpg"], "matches")
    assert client.search(ById("cat.jpg"), k=1, boxes=[(20, 20, 200, 200)]).ids == ["cat copy.jpg"]
    many = client.search(
        [pictures / "fig.jpg", ById("drum.jpg"), b"not an image"], method="sift", k=1, verify=False
    )
    assert isinstance(many[0], SearchAnswer)
    assert many[0].ids == ["fig.jpg"]
    assert isinstance(many[1], SearchAnswer)
    assert isinstance(many[2], RequestError)
    assert many[2].code == "not_an_image"


def test_comparing(client: Client, pictures: Path) -> None:
    same = client.compare(pictures / "cat.jpg", Stored("cat copy.jpg"))
    other = client.compare(pictures / "cat.jpg", pictures / "fig.jpg", method="sift")
    assert same.score > other.score
    assert same.evidence is not None
    assert other.evidence is None


def test_duplicates(client: Client) -> None:
    told: list[str] = []
    found = client.duplicates(progress=lambda job: told.append(job.state), timeout=300)
    assert [set(group.ids) for group in found.groups] == [{"cat.jpg", "cat copy.jpg"}]
    assert {image.id for image in found.groups[0].images} == {"cat.jpg", "cat copy.jpg"}
    assert not found.stale
    assert client.duplicates().computed_at == found.computed_at


def test_jobs(client: Client, pictures: Path, web: str) -> None:
    client.create_collection("jobs")
    listed = client.start_add(
        "jobs", csv=f"url,id\n{web}/cat.jpg,1\n{web}/none.jpg,2\nfile:///etc/passwd,3\n", methods=["sift"]
    )
    told = list(client.events(listed.id))
    assert told[-1].state == "succeeded"
    assert client.job(listed.id) == told[-1] == listed.refresh()
    assert {failure.id for failure in told[-1].failures} == {"2", "3"}
    assert [failure.id for failure in client.failures("jobs")] == ["2", "3"]
    assert client.start_add("jobs", urls=[f"{web}/fig.jpg"]).wait(timeout=120).progress.added == 1
    folder = client.start_add("jobs", folder=str(pictures)).wait(timeout=120)
    assert folder.result is not None
    assert folder.result["added"] == len(NAMES) + 1
    again = client.start_add("jobs", csv=f"url,id\n{web}/dogs.jpg,1\n", prune=True).wait(timeout=120)
    assert again.result is not None
    assert (again.result["replaced"], again.result["removed"]) == (1, 0)
    assert listed.cancel().state == "succeeded"
    rebuilt = client.start_build_index("jobs").wait(timeout=120)
    assert rebuilt.result is not None
    assert rebuilt.result["indexes"]
    assert {job.id for job in client.jobs(state="succeeded", page_size=2)} >= {listed.id, folder.id, again.id}
    with pytest.raises(NotFoundError) as caught:
        client.job("nothing")
    assert caught.value.code == "unknown_job"
    with pytest.raises(JobFailedError):
        client.start_put("x", b"not an image", collection="jobs").wait(timeout=60)


def test_the_examples_of_the_guide(
    url: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (ROOT / "docs" / "guides" / "python-client.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", guide, re.M | re.S)
    assert len(examples) >= 8
    monkeypatch.chdir(pictures)
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example.replace("http://127.0.0.1:5000", url), "guide", "exec"), names)
    told = capsys.readouterr().out
    assert "17 fetch_failed_for_now" in told
    assert "unknown_image" in told
    assert "edited copies" in told


def test_many_threads_share_a_client(client: Client, pictures: Path) -> None:
    def ask(name: str) -> list[str]:
        return client.search(pictures / name, method="sift", k=1, verify=False).ids

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, NAMES * 4)) == [[name] for name in NAMES * 4]


def test_an_unreachable_server_is_reported() -> None:
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(ConnectionFailedError):
        nobody.info()

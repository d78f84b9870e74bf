"""The threats of SECURITY.md, tried on a running server and on commands."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import onnx
import onnx.helper
import pytest
from make_collection import picture
from PIL import Image
from service import Service

import imagefinder

PICTURES = Path(__file__).parents[2] / "examples" / "pictures"
SEARCH = "/v1/collections/default/search"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("threats")
    with imagefinder.open(folder / "default") as collection:
        collection.add(PICTURES / "coins.jpg", methods=["sift"])
    return folder


@pytest.fixture(scope="module")
def service(place: Path) -> Iterator[Service]:
    with Service(place) as running:
        yield running
    assert "Traceback" not in "".join(running.lines), "".join(running.lines)


@pytest.fixture
def client(service: Service) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service.url, timeout=120) as opened:
        yield opened


def raw(service: Service, request: bytes) -> bytes:
    """What is answered to these very bytes."""
    at = urlsplit(service.url)
    with socket.create_connection((at.hostname or "", at.port or 0), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "path",
    [
        "/web/../../core/settings.py",
        "/web/..%2f..%2fcore%2fsettings.py",
        "/v1/collections/..%2f..%2fetc/images",
        "/v1/collections/%2e%2e/images",
        "/v1/collections/default/contents/../../../../etc/passwd",
        "/v1/collections/default/contents/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v1/collections/default/thumbnails//etc/passwd",
        "/v1/explanations/..%2f..%2fstate/query",
        "/v1/jobs/..%2f..%2fkeys.json",
    ],
)
def test_no_path_leads_to_other_files(service: Service, path: str) -> None:
    answer = raw(service, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 422")), answer[:500]
    assert b"root:" not in answer
    assert b"def load" not in answer


def test_an_id_with_steps_is_a_name_and_nothing_else(client: httpx2.Client, place: Path) -> None:
    before = sorted(path.name for path in place.parent.iterdir())
    where = "/v1/collections/default/images/..%2F..%2F..%2Fescaped.png"
    assert client.put(where, content=picture(3), headers={"Content-Type": "image/png"}).status_code == 201
    assert client.get(where).json()["id"] == "../../../escaped.png"
    assert client.delete(where).status_code == 204
    assert sorted(path.name for path in place.parent.iterdir()) == before


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/health",
        "http://localhost:{port}/health",
        "http://2130706433:{port}/health",
        "http://0x7f000001:{port}/health",
        "http://0177.0.0.1:{port}/health",
        "http://127.1:{port}/health",
        "http://0.0.0.0:{port}/health",
        "http://[::1]:{port}/health",
        "http://[::]:{port}/health",
        "http://[::ffff:127.0.0.1]:{port}/health",
        "http://[64:ff9b::7f00:1]:{port}/health",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "http://user:password@127.0.0.1:{port}/",
    ],
)
def test_the_server_fetches_nothing_from_inside(client: httpx2.Client, service: Service, url: str) -> None:
    url = url.format(port=urlsplit(service.url).port)
    for answer in (
        client.post(SEARCH, json={"url": url}),
        client.put("/v1/collections/default/images/x", json={"url": url}),
        client.post("/v1/compare", json={"a": {"url": url}, "b": {"url": url}}),
    ):
        assert answer.status_code == 422, answer.text
        assert answer.json()["code"] in {"address_not_allowed", "fetch_failed", "invalid_parameter"}, answer.text


def test_a_list_from_outside_names_no_files(client: httpx2.Client) -> None:
    job = client.post(
        "/v1/jobs",
        json={"kind": "add", "collection": "default", "csv": "url,id\n/etc/passwd,1\nfile:///etc/passwd,2\n"},
    ).json()
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        events.read()
    ended = client.get(f"/v1/jobs/{job['id']}").json()
    assert ended["progress"]["added"] == 0
    assert {failure["id"] for failure in ended["failures"]} == {"1", "2"}
    refused = client.post("/v1/jobs", json={"kind": "add", "collection": "default", "folder": "/etc"})
    assert (refused.status_code, refused.json()["code"]) == (403, "folder_not_allowed")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ],
)
def test_pages_of_other_sites_change_and_search_nothing(client: httpx2.Client, headers: dict[str, str]) -> None:
    for method, path in (
        ("POST", "/sift-similar-images"),
        ("POST", SEARCH),
        ("DELETE", "/v1/collections/default/images/coins.jpg"),
        ("POST", "/v1/jobs"),
    ):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code in {403, 421}, (path, answer.text)
        assert "access-control-allow-origin" not in answer.headers
    assert client.get("/v1/collections/default/images/coins.jpg").status_code == 200


def test_nothing_is_put_into_headers_or_the_log(service: Service, client: httpx2.Client) -> None:
    answer = raw(
        service,
        b"GET /v1/info?a=%0d%0aSet-Cookie:%20x HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\tb\x1b[31m\r\n"
        b"User-Agent: x\x1b[2J\r\nConnection: close\r\n\r\n",
    )
    assert b"Set-Cookie" not in answer
    assert b"\x1b" not in answer
    assert client.get("/nothing%0aFAKE LINE").status_code == 404
    assert not [line for line in service.lines if "\x1b" in line or line.startswith("FAKE")]


def test_stored_files_are_no_pages(client: httpx2.Client, place: Path, tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30), "red")
    image.save(tmp_path / "page.tiff")
    image.save(tmp_path / "fine.png")
    (tmp_path / "poly.gif").write_bytes(_gif_that_is_a_script())
    with imagefinder.open(place / "default") as collection:
        collection.add(tmp_path, methods=["sift"])
    for name, shown in (("page.tiff", False), ("fine.png", True), ("poly.gif", True)):
        answer = client.get(f"/v1/collections/default/contents/{name}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["content-disposition"].startswith("attachment") is not shown
        assert answer.headers["content-type"].startswith("image/" if shown else "application/octet-stream")


def _gif_that_is_a_script() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (10, 10)).save(buffer, "GIF", comment=b"*/=1;alert(1)//<script>alert(1)</script>")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": "coins.jpg", "k": 10**9}, 422),
        ({"id": "coins.jpg", "k": -1}, 422),
        ({"id": "coins.jpg", "boxes": [[0, 0, 5, 5]] * 100_000}, 422),
        ({"queries": [{"id": "coins.jpg"}] * 10_000}, 422),
        ({"id": "x" * 100_000}, 422),
        ({"base64": "A" * 200_000_000}, 413),
        ({"id": "coins.jpg", "filter": {"a": {"in": ["x"] * 100_000}}}, 422),
    ],
    ids=["k", "negative-k", "boxes", "queries", "id", "body", "filter"],
)
def test_huge_requests_are_refused(client: httpx2.Client, body: dict[str, object], status: int) -> None:
    try:
        answer = client.post(SEARCH, json=body)
    except httpx2.WriteError:
        return  # refused before all of it was sent
    assert answer.status_code == status, answer.text[:300]
    assert client.get("/health/live").status_code == 200


def test_deep_json_is_refused(client: httpx2.Client) -> None:
    answer = client.post(
        SEARCH, content=b'{"filter": ' + b'{"a": ' * 100_000, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}
    nested = '{"any": [' * 500 + '{"a": 1}' + "]}" * 500
    assert client.post(
        SEARCH, content=f'{{"id": "coins.jpg", "filter": {nested}}}', headers={"Content-Type": "application/json"}
    ).status_code in {400, 422}


def test_a_client_that_goes_away_in_the_middle_harms_nobody(service: Service, client: httpx2.Client) -> None:
    at = urlsplit(service.url)
    for _ in range(20):
        connection = http.client.HTTPConnection(at.hostname or "", at.port)
        connection.putrequest("POST", "/sift-similar-images")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders()
        connection.send(b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc')
        connection.close()
    files = {"image": (PICTURES / "coins.jpg").read_bytes()}
    assert client.post("/sift-similar-images", files=files).json()[0] == "coins.jpg"


# -- commands ----------------------------------------------------------------------------------------------


def command(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "IMAGEFINDER_MODELS": str(folder / "models"), "HF_HUB_CACHE": str(folder / "hub")}
    return subprocess.run(
        [sys.executable, "-m", "imagefinder", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=250,
        check=False,
    )


def test_archives_write_nothing_and_are_bounded(tmp_path: Path) -> None:
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../slipped.png", picture(1))
        file.writestr("/tmp/absolute.png", picture(2))
        file.writestr("bomb.png", b"\0" * (200 << 20))
    tar = tmp_path / "more.tar"
    with tarfile.open(tar, "w") as file:
        for kind, target in (
            (tarfile.SYMTYPE, "/etc/passwd"),
            (tarfile.LNKTYPE, "../../x"),
            (tarfile.CHRTYPE, ""),
        ):
            member = tarfile.TarInfo(f"link-{kind!r}.png")
            member.type, member.linkname = kind, target
            file.addfile(member)
        member = tarfile.TarInfo("../climbs.png")
        member.size = len(picture(4))
        file.addfile(member, io.BytesIO(picture(4)))
    before = set(tmp_path.parent.rglob("*.png"))
    limit = ("--set", f"max_local_bytes={64 << 20}")
    done = command("-c", tmp_path / "c", *limit, "add", archive, tar, "-m", "sift", "--json", folder=tmp_path)
    report = json.loads(done.stdout)
    assert report["added"] == 3, done.stdout
    assert [failure["code"] for failure in report["failures"]] == ["image_too_large"]
    assert set(tmp_path.parent.rglob("*.png")) == before
    with imagefinder.open(tmp_path / "c") as collection:
        assert {record.id for record in collection.images()} == {"slipped.png", "tmp/absolute.png", "climbs.png"}


def _pickle_that_runs(mark: Path) -> bytes:
    return b"cposix\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."


def _graph_that_reads(mark: Path) -> bytes:
    """A network that takes its weights from a file of the machine."""
    del mark
    weight = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../../../../../../etc/passwd")
    graph = onnx.helper.make_graph([], "g", [], [], initializer=[weight])
    return onnx.helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize("make", [_pickle_that_runs, _graph_that_reads])
@pytest.mark.parametrize("known", [False, True])
def test_a_bundle_of_weights_brings_no_program(tmp_path: Path, make: Callable[[Path], bytes], known: bool) -> None:
    bundle = tmp_path / "models.zip"
    with zipfile.ZipFile(bundle, "w") as file:
        program = make(tmp_path / "ran")
        # The hash that a bundle tells of itself is not the one that counts.
        sha256 = hashlib.sha256(program).hexdigest() if known else "0" * 64
        row = {"name": "resnet50", "sha256": sha256, "size": len(program), "source": {}}
        file.writestr("manifest.json", json.dumps({"kind": "imagefinder models", "format": 1, "models": [row]}))
        file.writestr("resnet50/model.safetensors", program)
        file.writestr("resnet50/model.onnx", program)
    done = command("models", "import", bundle, folder=tmp_path)
    assert done.returncode != 0
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.rglob("model.*"))


@pytest.mark.parametrize("make", [_pickle_that_runs, _graph_that_reads])
def test_what_lies_in_the_place_of_weights_is_not_loaded(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    place = tmp_path / "models" / "resnet50"
    place.mkdir(parents=True)
    for name in ("model.safetensors", "model.onnx", "resnet50.pth", "pytorch_model.bin"):
        (place / name).write_bytes(make(tmp_path / "ran"))
    done = command("compare", PICTURES / "cat.jpg", PICTURES / "coins.jpg", "-m", "resnet50", folder=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()

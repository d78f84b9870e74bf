"""Proxies and certificate authorities that the environment names, with servers on this machine."""

import http.server
import json
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import run

IMAGES = Path(__file__).parents[2] / "examples" / "pictures"
URL = "http://pictures.example/cat.jpg"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Pictures(http.server.BaseHTTPRequestHandler):
    """Answers every request, also one that a proxy gets, with an image; records the requests."""

    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Proxy-Authorization"]))
        data = (IMAGES / "cat.jpg").read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pictures() -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
    handler = type("Handler", (Pictures,), {"seen": []})
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        yield port, handler.seen


def socks_proxy(target: int, names: list[str], login: tuple[str, str] | None) -> socketserver.TCPServer:
    """A SOCKS5 proxy that connects every request to one port of this machine, and records the names."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            peer: socket.socket = self.request
            _, count = peer.recv(2)
            peer.recv(count)
            peer.sendall(bytes([5, 2 if login else 0]))
            if login:
                user = peer.recv(2)
                name = peer.recv(user[1])
                word = peer.recv(peer.recv(1)[0])
                peer.sendall(bytes([1, (name.decode(), word.decode()) != login]))
            assert peer.recv(4)[3] == 3, "the client must send the name, not an address"
            names.append(peer.recv(peer.recv(1)[0]).decode())
            peer.recv(2)
            peer.sendall(b"\5\0\0\1" + struct.pack("!IH", 0, 0))
            with socket.create_connection(("127.0.0.1", target)) as onward:
                onward.sendall(peer.recv(65536))
                while data := onward.recv(65536):
                    peer.sendall(data)

    return socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_an_http_proxy(variable: str, pictures: tuple[int, list], tmp_path: Path) -> None:
    port, seen = pictures
    environment = {variable: f"http://me:pass%40word@127.0.0.1:{port}"}
    done = run("-c", tmp_path / "c", "add", URL, "-m", "sift", environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert seen == [(URL, "Basic bWU6cGFzc0B3b3Jk")]


@pytest.mark.parametrize("scheme", ["socks", "socks5", "socks5h"])
@pytest.mark.parametrize("login", [None, ("me", "pass@word")])
def test_a_socks_proxy(
    scheme: str, login: tuple[str, str] | None, pictures: tuple[int, list], tmp_path: Path
) -> None:
    pytest.importorskip("socksio", reason="SOCKS needs the package socksio, which is not installed")
    names: list[str] = []
    with serving(socks_proxy(pictures[0], names, login)) as port:
        user = "me:pass%40word@" if login else ""
        environment = {"ALL_PROXY": f"{scheme}://{user}127.0.0.1:{port}/"}
        done = run("-c", tmp_path / "c", "add", URL, "-m", "sift", environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert names == ["pictures.example"]


BROKEN = [
    ("ALL_PROXY", "nonsense://127.0.0.1:9", "unsupported scheme 'nonsense'"),
    ("all_proxy", "socks4://127.0.0.1:9", "unsupported scheme 'socks4'"),
    ("HTTPS_PROXY", "http://proxy:port", "HTTPS_PROXY is not a valid URL"),
    ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE (/nowhere/ca.pem) cannot be read"),
    ("SSL_CERT_DIR", "/nowhere", "SSL_CERT_DIR (/nowhere) cannot be read"),
]


@pytest.mark.parametrize(("variable", "value", "message"), BROKEN)
def test_an_unusable_environment_is_one_error(variable: str, value: str, message: str, tmp_path: Path) -> None:
    feed = tmp_path / "feed.csv"
    rows = [f"https://pictures.example/{number}.jpg,{number}" for number in range(30)]
    (tmp_path / "local.jpg").write_bytes((IMAGES / "cat.jpg").read_bytes())
    feed.write_text("\n".join(["url,id", "local.jpg,local", *rows]))
    done = run("-c", tmp_path / "c", "add", feed, "-m", "sift", environment={variable: value})
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 2  # the error and its hint
    listed = run("-c", tmp_path / "c", "list", "--json", environment={variable: value})
    assert [image["id"] for image in json.loads(listed.stdout)] == ["local"]  # what came before is stored
    done = run("search", "https://pictures.example/1.jpg", "-c", tmp_path / "c", environment={variable: value})
    assert (done.returncode, message in done.stderr) == (2, True)


@pytest.mark.parametrize(("variable", "value", "message"), BROKEN)
def test_commands_that_download_nothing_ignore_the_environment(
    variable: str, value: str, message: str, tmp_path: Path
) -> None:
    del message
    for command in (["add", IMAGES / "cat.jpg", "-m", "sift"], ["search", IMAGES / "cat.jpg"], ["methods"]):
        done = run("-c", tmp_path / "c", *command, environment={variable: value})
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("variable", "value", "message"), BROKEN)
def test_models_pull(variable: str, value: str, message: str, tmp_path: Path) -> None:
    environment = {variable: value, "HF_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    done = run("models", "pull", "resnet50", environment=environment)
    assert done.returncode in (2, 4)
    assert message in done.stderr


CLIENT = """
import asyncio, sys
from imagefinder.client import AsyncClient, Client
from imagefinder.client.errors import ClientError

def error_of(kind, url):
    try:
        kind(url)
    except ClientError as error:
        return error.message
    return ""

print(error_of(Client, sys.argv[1]), error_of(AsyncClient, sys.argv[1]), sep="\\n")
"""


@pytest.mark.parametrize(("variable", "value", "message"), BROKEN)
def test_the_python_client(variable: str, value: str, message: str) -> None:
    def call(url: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, url],
            env={**os.environ, variable: value},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.splitlines()

    first, second = call("https://finder.example")
    assert message in first
    assert message in second
    assert call("http://127.0.0.1:9") == ["", ""]  # this machine is reached without proxy and certificates

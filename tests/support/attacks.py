"""Attacks on a server by one client: ``python attacks.py NAME PORT SECONDS``.

Each attack ends by itself. The server may refuse, close or reset its connections at any time.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HOST = b"Host: localhost\r\n"
SEARCH = "/v1/collections/default/search"
PUT = b"PUT /v1/collections/default/images/new HTTP/1.1\r\n" + HOST + b"Content-Type: image/jpeg\r\n"
CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n\r\n"
FORM = "multipart/form-data; boundary=X"
COINS = (Path(__file__).parents[2] / "examples" / "pictures" / "coins.jpg").read_bytes()

Attack = Callable[[int, float], None]


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
    return head.encode() + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def repeat(action: Callable[[int], None], clients: int) -> Attack:
    """The action again and again, by several clients at once."""

    def attack(port: int, seconds: float) -> None:
        end = time.monotonic() + seconds

        def run() -> None:
            while time.monotonic() < end:
                with contextlib.suppress(OSError):
                    action(port)

        threads = [threading.Thread(target=run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return attack


def send(make: Callable[[], bytes], clients: int = 10) -> Attack:
    """The same bytes again and again; responses are read."""
    made: list[bytes] = []

    def action(port: int) -> None:
        with connect(port) as connection:
            connection.sendall(made[0])
            while connection.recv(1 << 16):
                pass

    def attack(port: int, seconds: float) -> None:
        made.append(make())
        repeat(action, clients)(port, seconds)

    return attack


def hold(request: bytes, connections: int, drip: bytes = b"") -> Attack:
    """Many connections that send little and read nothing."""

    def attack(port: int, seconds: float) -> None:
        opened = []
        for _ in range(connections):
            with contextlib.suppress(OSError):
                connection = connect(port)
                opened.append(connection)
                connection.sendall(request)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for connection in opened:
                with contextlib.suppress(OSError):
                    connection.sendall(drip)
            time.sleep(0.3)
        for connection in opened:
            connection.close()

    return attack


def _packets(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(PUT + b"Content-Length: 1000000\r\n\r\n")
        for _ in range(5000):
            connection.send(b"x")


def _silent_urls(port: int, seconds: float) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        queries = [{"url": f"{url}{number}"} for number in range(5)]
        hold(post(SEARCH, json.dumps({"queries": queries}).encode()), 70)(port, seconds)


def image_form() -> bytes:
    """A form with an image."""
    head = b'--X\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return head + COINS + b"\r\n--X--\r\n"


def _members(count: int) -> bytes:
    return b'{"id":"x",' + b",".join(b'"%x":0' % number for number in range(count)) + b"}"


def _base64() -> bytes:
    return b'{"base64":"' + base64.b64encode(os.urandom(20 << 20)) + b'"}'


def _fields() -> bytes:
    part = b'--X\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n'
    return b"".join(part % number for number in range(100_000)) + b"--X--\r\n"


def _long_text() -> bytes:
    return b'--X\r\nContent-Disposition: form-data; name="filter"\r\n\r\n' + b"[" * 20_000_000 + b"\r\n--X--\r\n"


GET = b"GET /v1/info HTTP/1.1\r\n" + HOST
LIST = b"GET /v1/collections/default/images?contains=zz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"

ATTACKS: Mapping[str, Attack] = {
    "one-byte-chunks": send(lambda: CHUNKED + b"1\r\nx\r\n" * 300_000),
    "smallest-chunks": send(lambda: CHUNKED + (b"40\r\n" + bytes(64) + b"\r\n") * 50_000 + b"0\r\n\r\n"),
    "chunk-extensions": send(lambda: CHUNKED + b"1;a=" + b"y" * 3_000_000),
    "trailers": send(lambda: CHUNKED + b"0\r\n" + b"X: y\r\n" * 300_000),
    "one-byte-packets": repeat(_packets, 4),
    "pipelined-requests": send(lambda: (GET + b"\r\n") * 5000),
    "many-headers": send(lambda: GET + b"a: b\r\n" * 100_000),
    "long-header": send(lambda: GET + b"a: " + b"b" * 3_000_000),
    "many-parameters": send(lambda: GET.replace(b"info", b"info?" + b"a&" * 30_000) + b"\r\n"),
    "slow-headers": hold(b"GET / HTTP/1.1\r\nHost: local", 600, b"a"),
    "idle-connections": hold(b"", 600),
    "new-connections": repeat(lambda port: connect(port).close(), 8),
    "slow-uploads": hold(PUT + b"Content-Length: 100000\r\n\r\n\xff\xd8", 70, b"x"),
    "silent-urls": _silent_urls,
    "unread-responses": hold(b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n", 300),
    "unknown-members": send(lambda: post(SEARCH, _members(800_000))),
    "allowed-members": send(lambda: post(SEARCH, _members(19_000))),
    "deep-json": send(lambda: post(SEARCH, b'{"a":' + b"[" * 19_000)),
    "long-numbers": send(lambda: post(SEARCH, b'{"a":[' + b",".join([b"9" * 4000] * 150) + b"]}")),
    "white-space": send(lambda: post(SEARCH, b'{"a":' + b" " * (30 << 20) + b"1}"), 4),
    "escapes": send(lambda: post(SEARCH, b'{"id":"' + b"\\u0041" * (1 << 20) + b'"}'), 4),
    "large-base64": send(lambda: post(SEARCH, _base64()), 4),
    "form-fields": send(lambda: post(SEARCH, _fields(), FORM)),
    "long-text-field": send(lambda: post(SEARCH, _long_text(), FORM), 4),
    "compressed-body": send(
        lambda: post(SEARCH, bytes(10_000_000), "application/json\r\nContent-Encoding: gzip"), 4
    ),
    "listings": send(lambda: LIST, 60),
    "reference": send(lambda: b"GET /docs HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 60),
    "searches": send(lambda: post("/sift-similar-images", image_form(), FORM), 60),
}
"""Name -> attack."""


if __name__ == "__main__":
    ATTACKS[sys.argv[1]](int(sys.argv[2]), float(sys.argv[3]))

"""A model hub on this machine: as much of its protocol as downloads use, and the faults they meet.

Two ports, since the real hub redirects to a storage host of another origin, where no token may be sent.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Request:
    """A request of a client."""

    place: str  # hub or storage
    method: str
    path: str
    range: str
    authorization: str


@dataclass
class Hub:
    """The files of the server, its faults, and the requests it received.

    Attributes:
        files: ``owner/name/filename`` -> bytes, all at ``REVISION``.
        licences: ``owner/name`` -> the licence that the hub states.
        claimed: SHA-256 the hub states for a file where it is not the true one.
        cuts: After how many bytes each of the next answers of the storage breaks off; ``None`` = not at all.
        statuses: Status of each of the next answers of the storage that shall fail.
        token: If set, the hub answers nobody else.
        ranges: Whether the storage can start in the middle.
        endpoint: Its address.
        requests: All there were.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    claimed: dict[str, str] = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    token: str = ""
    ranges: bool = True
    endpoint: str = ""
    storage: str = ""
    requests: list[Request] = field(default_factory=list)

    def downloads(self) -> list[str]:
        """The Range header of every request to the storage, in order; empty for the whole file."""
        return [request.range for request in self.requests if request.place == "storage"]


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Run a hub until the block ends."""
    hub = Hub()
    servers = [_server(hub, "hub"), _server(hub, "storage")]
    hub.endpoint, hub.storage = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _server(hub: Hub, place: str) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            header = self.headers.get
            hub.requests.append(
                Request(place, self.command, self.path, header("Range", ""), header("Authorization", ""))
            )
            if place == "hub":
                self._resolve()
            else:
                self._store()

        def _resolve(self) -> None:
            listed = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", self.path)
            if listed:
                self._list(listed[1], listed[2])
                return
            match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
            key = f"{match[1]}/{match[3]}" if match and match[2] in {"main", REVISION} else ""
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                self._reply(401, {"X-Error-Code": "GatedRepo"})
            elif key not in hub.files:
                self._reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": REVISION})
            else:
                sha256 = hub.claimed.get(key, hashlib.sha256(hub.files[key]).hexdigest())
                self._reply(
                    302,
                    {
                        "Location": f"{hub.storage}/{key}?signature=abc",
                        "X-Repo-Commit": REVISION,
                        "X-Linked-Etag": f'"{sha256}"',
                        "X-Linked-Size": str(len(hub.files[key])),
                        # The real hub offers its own transfer protocol as well; nobody has to take it.
                        "X-Xet-Hash": hashlib.sha256(key.encode()).hexdigest(),
                        "X-Xet-Refresh-Route": f"{hub.endpoint}/api/xet-read-token",
                    },
                )

        def _list(self, repository: str, revision: str) -> None:
            names = [key.removeprefix(f"{repository}/") for key in hub.files if key.startswith(f"{repository}/")]
            if not names or revision not in {"main", REVISION}:
                self._reply(404, {"X-Error-Code": "RepoNotFound"})
                return
            card = {"license": hub.licences[repository]} if repository in hub.licences else {}
            siblings = [{"rfilename": name} for name in sorted(names)]
            body = json.dumps({"id": repository, "sha": REVISION, "cardData": card, "siblings": siblings})
            self._reply(200, {"Content-Type": "application/json"}, body.encode())

        def _store(self) -> None:
            content = hub.files[self.path[1:].partition("?")[0]]
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(match[1]) if match and hub.ranges else 0
            if hub.statuses:
                self._reply(hub.statuses.pop(0), {})
            elif start >= len(content):
                self._reply(416, {"Content-Range": f"bytes */{len(content)}"})
            else:
                cut = hub.cuts.pop(0) if hub.cuts else None
                where = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self._reply(
                    206 if start else 200, {"Content-Range": where} if start else {}, content[start:], cut=cut
                )

        def _reply(
            self, status: int, headers: dict[str, str], body: bytes = b"", *, cut: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if cut is None else body[:cut])
            self.close_connection = cut is not None

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    return Server(("127.0.0.1", 0), Handler)

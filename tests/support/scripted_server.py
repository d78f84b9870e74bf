"""An HTTP server that answers as a test says, for what a real object store does too rarely."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """An answer; ``drip``: seconds before each byte of the body; ``length``: what it states as its length."""

    status: int = 200
    body: bytes = b""
    wait: float = 0.0
    drip: float = 0.0
    length: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


Script = Callable[[str, str, bytes], Answer]
"""Method, path and body of a request -> its answer."""


class ScriptedServer:
    """A server on a free port of 127.0.0.1.

    Attributes:
        script: What it answers; may be replaced at any time.
        requests: Method and path of each request so far.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(owner: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            owner.requests.append((self.command, self.path))
            answer = owner.script(self.command, self.path, body)
            time.sleep(answer.wait)
            try:
                self._send(answer)
            except OSError:  # the client has given up
                self.close_connection = True

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            length = len(answer.body) if answer.length is None else answer.length
            headers = {"Last-Modified": "Mon, 30 Nov 2026 12:00:00 GMT", "ETag": '"0"', **answer.headers}
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()
            if answer.drip:
                for byte in answer.body:
                    time.sleep(answer.drip)
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
            else:
                self.wfile.write(answer.body)
            if answer.length is not None:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler

"""A small reverse proxy that serves another server under a path prefix."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_NOT_FORWARDED = {"connection", "keep-alive", "transfer-encoding", "x-forwarded-prefix"}


class PrefixProxy:
    """A context manager; ``url`` is the base URL of the proxied server.

    Attributes:
        url: Base URL with the prefix, without the last slash.
    """

    def __init__(self, target: str, prefix: str, *, strip: bool = True, headers: Mapping[str, str] | None = None):
        """Store the arguments.

        Args:
            target: Base URL of the server.
            prefix: Path prefix, such as ``/img``.
            strip: Whether to remove the prefix from the paths that the server receives.
            headers: Headers that the proxy adds to each request.
        """
        upstream = urlsplit(target).netloc

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                inside = self.path == prefix or self.path.startswith(f"{prefix}/")
                if not inside:
                    self.send_error(404)
                    return
                path = (self.path[len(prefix) :] or "/") if strip else self.path
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
                sent = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_FORWARDED}
                connection = http.client.HTTPConnection(upstream, timeout=60)
                connection.request(self.command, path, body, {**sent, **(headers or {})})
                answer = connection.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _NOT_FORWARDED | {"content-length"}:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                if answer.status != 304 and length is not None:
                    self.send_header("Content-Length", length)
                self.end_headers()
                self.wfile.write(data)
                connection.close()

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = forward

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}{prefix}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

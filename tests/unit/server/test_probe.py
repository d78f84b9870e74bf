from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from imagefinder.server.probe import is_ready


class Answering(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health/ready" else 404)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "expected"), [(200, True), (503, False)])
def test_the_probe_reports_readiness(
    service: int, monkeypatch: pytest.MonkeyPatch, status: int, expected: bool
) -> None:
    monkeypatch.setattr(Answering, "status", status)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # the service is on this machine, behind no proxy
    assert is_ready(service) is expected


def test_without_a_service_it_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert is_ready(port) is False

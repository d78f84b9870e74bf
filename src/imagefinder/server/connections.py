"""HTTP/1.1 connections, with limits on what a client costs before its request is known.

uvicorn has no limits on headers, pipelined requests, pieces of a body and waiting: a few clients could occupy all
connections, or the event loop. The parser is llhttp, because it is strict and fast: a megabyte of one-byte chunks
takes 0.02 seconds, with h11 one second.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from imagefinder.server import request_context
from imagefinder.server.clients import TrustedProxies, network
from imagefinder.server.errors import Problem
from imagefinder.server.fairness import FairShare
from imagefinder.server.middleware import HEADERS
from imagefinder.server.upload import IDLE_SECONDS

MAX_HEAD_BYTES = 64 << 10
"""Largest size of request line and headers; for everything around chunks, a quarter of the body is added."""

MAX_HEADERS = 128
MAX_PIPELINED = 16
"""Largest number of requests that a client may send before the first response."""

FREE_PIECES = 2048
MIN_PIECE = 64
"""A body may arrive in ``FREE_PIECES`` pieces (chunks or packets) of any size. In more pieces, their mean size
must be at least ``MIN_PIECE`` bytes."""

MIN_CONNECTIONS = 8
"""Number of connections that each client may open as long as any are free; browsers open six."""

LINGER_SECONDS = 5.0
"""Idle time after which the connection of a refused client is closed; until then, what it sends is discarded.
Closing at once would reset the connection, and the client would not get the response."""

_NO_PROXIES = TrustedProxies(())

log = logging.getLogger(__name__)


class ConnectionTable:
    """The open connections by client; belongs to one event loop.

    When a client has used up its share, a new connection replaces its connection that has been idle longest. When
    all connections are in use, it replaces an idle one of the client that has most.
    """

    def __init__(self, limit: int, *, proxies: TrustedProxies = _NO_PROXIES) -> None:
        """Set the limits.

        Args:
            limit: Largest number of open connections.
            proxies: Addresses of trusted proxies, whose connections belong to many clients and have no share.
        """
        self._share = FairShare(limit, floor=MIN_CONNECTIONS)
        self._proxies = proxies
        self._clients: dict[HttpConnection, str] = {}
        self._idle: dict[str, dict[HttpConnection, None]] = {}

    def add(self, connection: HttpConnection, address: str) -> bool:
        """Count a new connection, which is idle; returns whether it may stay open."""
        client = "" if address in self._proxies else network(address)
        while not self._share.take(client):
            victim = self._replaceable(client)
            if victim is None:
                return False
            self.remove(victim)
            victim.close()
        self._clients[connection] = client
        self.mark_idle(connection)
        return True

    def remove(self, connection: HttpConnection) -> None:
        """Count a connection as closed; does nothing if it is not counted."""
        if connection in self._clients:
            self.mark_busy(connection)
            self._share.release(self._clients.pop(connection))

    def mark_idle(self, connection: HttpConnection) -> None:
        """Record that a connection has no request in progress; it may be replaced."""
        if connection in self._clients:
            self._idle.setdefault(self._clients[connection], {})[connection] = None

    def mark_busy(self, connection: HttpConnection) -> None:
        """Record that a connection has a request in progress."""
        client = self._clients.get(connection)
        if client is not None and client in self._idle:
            self._idle[client].pop(connection, None)
            if not self._idle[client]:
                del self._idle[client]

    def _replaceable(self, client: str) -> HttpConnection | None:
        over_share = client and self._share.used(client) >= MIN_CONNECTIONS
        for candidate in (client,) if over_share else self._share.heaviest_first():
            if candidate in self._idle:
                return next(iter(self._idle[candidate]))
        return None


class _Refusal(Exception):  # noqa: N818 - not an error of the program
    """Leaves the parser with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class HttpConnection(HttpToolsProtocol):
    """The HTTP/1.1 protocol of one connection.

    It closes the connection of a client that is idle for ``idle_seconds``, and refuses requests that are
    malformed, ambiguous or laborious to parse.
    """

    idle_seconds: ClassVar[float] = IDLE_SECONDS

    def __init__(self, *args: Any, connections: ConnectionTable, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._all = connections
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.cycle: RequestResponseCycle | None = None  # type: ignore[assignment]  # uvicorn's omits None
        self._refused = False
        self._linger_end = 0.0
        self._unanswered = 0  # requests in progress, pipelined ones included
        self._receiving = False  # between the headers and the end of the body
        self._headers = self._head_bytes = 0
        self._pieces = self._body_bytes = self._other_bytes = 0

    # -- the connection --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer within which the client must send the headers of its first request."""
        super().connection_made(transport)
        if not self._all.add(self, self.client[0] if self.client else ""):
            transport.abort()
            return
        connection = transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # A small response never pauses writing. For it, the kernel drops a client that acknowledges no data.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2000 * self.idle_seconds))
        self._start("head", self.idle_seconds, self.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Mark the request as abandoned, so that work for it does not start."""
        self._all.remove(self)
        self._abandon()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        super().connection_lost(exc)

    def close(self) -> None:
        """Close the connection after what has been written was sent."""
        if not self.transport.is_closing():
            self.transport.close()

    def shutdown(self) -> None:
        """Finish the request in progress and close the connection."""
        if self._refused and (self.cycle is None or self.cycle.disconnected):
            self.close()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Start the write timer: the client reads more slowly than the response is produced."""
        super().pause_writing()
        self._start("write", self.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the write timer: the client has caught up."""
        self._stop("write")
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Start the next pipelined request; without one, the connection is idle."""
        super().on_response_complete()
        self._unanswered -= 1
        if not self._unanswered:
            self._all.mark_idle(self)
            if self._refused:
                self._linger()

    # -- requests --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse received bytes. Incomplete headers do not restart their timer."""
        if self._refused:
            if self.loop.time() < self._linger_end:
                self._stop("linger")
                self._start("linger", LINGER_SECONDS, self.close)
            return
        self._unset_keepalive_if_required()
        self._other_bytes += len(data)
        try:
            self._parse(data)
            if self._other_bytes > MAX_HEAD_BYTES + self._body_bytes // 4:
                raise _too_much(self._receiving)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Refusal):
                self._refuse(cause.problem)
            else:  # of the parser, or in uvicorn's callback for the request target
                self._refuse(_malformed("its target is invalid" if cause else str(error)))
        except _Refusal as refusal:
            self._refuse(refusal.problem)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop("head")
        elif self.timeout_keep_alive_task is None and not self._refused:
            self._start("head", self.idle_seconds, self.close)

    def _parse(self, data: bytes) -> None:
        """Pass data to the parser, which stops after a request that offers another protocol.

        Such a request is answered as if it did not, and other requests may follow it.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
            else:
                return

    def on_message_begin(self) -> None:
        """Reset the counters; the parser calls this and the following methods."""
        super().on_message_begin()
        self._headers = self._head_bytes = 0
        self._pieces = self._body_bytes = self._other_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Count the bytes of the request target."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header; the ones after a chunked body are ignored."""
        self._headers += 1
        if self._headers > MAX_HEADERS:
            raise _Refusal(_large_headers(f"more than {MAX_HEADERS} headers", MAX_HEADERS))
        self._count_head(len(name) + len(value))
        if not self._receiving:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Refuse requests whose host or length is ambiguous; start the others."""
        version = self.parser.get_http_version()
        if version == "1.1" and sum(name == b"host" for name, _ in self.headers) != 1:
            raise _Refusal(_malformed("it must have exactly one Host header"))
        encodings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if encodings and (encodings != [b"chunked"] or version != "1.1"):
            raise _Refusal(_malformed("the only supported transfer coding is chunked, in HTTP/1.1"))
        if self._unanswered > MAX_PIPELINED:
            raise _Refusal(_malformed(f"more than {MAX_PIPELINED} pipelined requests"))
        target, _, query = self.url.partition(b"?")
        is_absolute = not target.startswith((b"/", b"*"))
        if is_absolute:  # uvicorn would ignore its host; the middleware for targets uses it
            self.url = b"/?" + query
        super().on_headers_complete()
        if is_absolute:
            self.scope["raw_path"], self.scope["path"] = target, unquote(target.decode("ascii"))
        self._unanswered += 1
        self._receiving = True
        self._all.mark_busy(self)

    def on_body(self, body: bytes) -> None:
        """Count a piece of the body."""
        self._pieces += 1
        self._body_bytes += len(body)
        self._other_bytes -= len(body)
        if self._pieces > FREE_PIECES + self._body_bytes // MIN_PIECE:
            raise _Refusal(_malformed(f"its body arrives in pieces smaller than {MIN_PIECE} bytes on average"))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Record the end of the body."""
        super().on_message_complete()
        self._receiving = False
        self._other_bytes = 0

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _too_much(self._receiving)

    # -- refusals --------------------------------------------------------------------------------------------

    def _refuse(self, problem: Problem) -> None:
        """Respond to what was just received with a problem, and close the connection.

        Requests received before it are answered first. Then the connection is closed without another response,
        because the client does not expect one in the middle of a body.
        """
        self._refused = True
        self._stop("head")
        log.info("refused a request from %s: %s", self.client[0] if self.client else "", problem.detail)
        if self._receiving and self.pipeline:
            self.pipeline.popleft()  # the request that is being received; it has not started
            self._unanswered -= 1
            return
        in_progress = self.cycle is not None and not self.cycle.response_complete
        if in_progress and not self._receiving:
            return
        if self.cycle is not None and in_progress:
            self._abandon()
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        if in_progress or not self._receiving:
            self.transport.write(_response(problem))
        self._all.mark_idle(self)
        self._linger()

    def _abandon(self) -> None:
        """Mark the request in progress as abandoned."""
        if self.scope is not None:
            self.scope[request_context.GONE] = True  # type: ignore[literal-required]
        if self.cycle is not None:
            self.cycle.disconnected = True

    def _linger(self) -> None:
        self._unset_keepalive_if_required()
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger_end = self.loop.time() + self.idle_seconds
        self._start("linger", LINGER_SECONDS, self.close)

    def _start(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Start a timer; a running one continues."""
        if name not in self._timers:
            self._timers[name] = self.loop.call_later(seconds, action)

    def _stop(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def _too_much(in_body: bool) -> _Refusal:
    if in_body:
        return _Refusal(_malformed("chunk sizes, extensions and trailers are larger than their content"))
    return _Refusal(_large_headers(f"more than {MAX_HEAD_BYTES:,} bytes of headers", MAX_HEAD_BYTES))


def _large_headers(detail: str, limit: int) -> Problem:
    return Problem("headers_too_large", f"the request has {detail}", hint="send fewer headers", limit=limit)


def _malformed(reason: str) -> Problem:
    return Problem("malformed_request", f"the request is malformed: {reason}", hint="send valid HTTP/1.1")


def _response(problem: Problem) -> bytes:
    """The response to a request that the application does not get."""
    response = problem.response()
    status = HTTPStatus(response.status_code)
    headers = [*response.raw_headers, *HEADERS, (b"connection", b"close")]
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}".encode(),
        *(name + b": " + value for name, value in headers),
    ]
    return b"\r\n".join([*lines, b"", bytes(response.body)])

"""HTTP connections with a time limit for every wait for a client.

uvicorn has no time limit for request headers or for a client that does not read the response. Without one, a few
slow clients could occupy all connections.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from imagefinder.server.request_context import GONE
from imagefinder.server.upload import IDLE_SECONDS


class TimeoutProtocol(H11Protocol):
    """An HTTP/1.1 protocol that closes the connection of a client that is idle for ``idle_seconds``."""

    idle_seconds: ClassVar[float] = IDLE_SECONDS

    def __init__(self, *args: Any, max_connections: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_connections = max_connections
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer within which the client must send the headers of its first request."""
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            transport.abort()
            return
        connection = transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # A small response never pauses writing. For it, the kernel drops a client that acknowledges no data.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2000 * self.idle_seconds))
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Process received bytes. Incomplete headers do not restart their timer."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's annotation omits None
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting_for_head()
        elif self.timeout_keep_alive_task is None:  # uvicorn's timer for a connection without a request
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Mark the request as abandoned, so that work for it does not start."""
        if self.scope is not None:
            self.scope[GONE] = True  # type: ignore[literal-required]
        self._stop_waiting_for_head()
        self._stop_waiting_for_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the write timer: the client reads more slowly than the response is produced."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the write timer: the client has caught up."""
        self._stop_waiting_for_writing()
        super().resume_writing()

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.idle_seconds, self.timeout_keep_alive_handler)

    def _stop_waiting_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_waiting_for_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

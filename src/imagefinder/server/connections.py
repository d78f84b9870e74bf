"""The web server's connections, with an end to every wait for a client.

uvicorn waits for ever for the head of a request and for an answer to be taken; both let a few slow clients hold
all connections.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from imagefinder.server.request_context import GONE
from imagefinder.server.upload import IDLE_SECONDS


class PatientProtocol(H11Protocol):
    """HTTP/1.1, where a client that stands still is left after ``idle_seconds``."""

    idle_seconds: ClassVar[float] = IDLE_SECONDS

    def __init__(self, *args: Any, max_connections: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_connections = max_connections
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected; it has until the timer ends to send the head of its first request."""
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            transport.abort()
            return
        connection = transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # For what is too little to pause the writing: the kernel gives up the client that does not take it.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2000 * self.idle_seconds))
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Bytes came. Those of an unfinished head do not prolong its time."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn does not say that there may be none
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting_for_head()
        elif self.timeout_keep_alive_task is None:  # uvicorn's own, of a connection without a request
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; work for its request that has not begun need not begin."""
        if self.scope is not None:
            self.scope[GONE] = True  # type: ignore[literal-required]
        self._stop_waiting_for_head()
        self._stop_waiting_for_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take its answer as fast as it is made."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken its answer up to here."""
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

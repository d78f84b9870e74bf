from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import uvicorn

from imagefinder.server.connections import TimeoutProtocol
from imagefinder.server.request_context import GONE

IDLE = 0.3
LARGE = 64 << 20


async def application(scope: Any, receive: Any, send: Any) -> None:
    """A small response or, at /large, one that is larger than all buffers."""
    if scope["type"] == "http":
        await receive()
        while scope["path"] == "/until-gone" and not scope.get(GONE):
            await asyncio.sleep(0.005)
        size = LARGE if scope["path"] == "/large" else 2
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        for start in range(0, size, 1 << 20):
            await send(
                {
                    "type": "http.response.body",
                    "body": bytes(min(size - start, 1 << 20)),
                    "more_body": start + (1 << 20) < size,
                }
            )


@contextlib.asynccontextmanager
async def running(*, max_connections: int = 10, idle: float = IDLE) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    protocol: Any = partial(
        type("Quick", (TimeoutProtocol,), {"idle_seconds": idle}), max_connections=max_connections
    )
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http=protocol, ws="none", lifespan="off", log_config=None, timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost:"])
def test_a_client_without_complete_headers_is_disconnected(head: bytes) -> None:
    async def test() -> None:
        async with running() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            assert await reader.read() == b""
            writer.close()

    run(test)


def test_slow_headers_do_not_extend_the_timeout() -> None:
    async def test() -> None:
        async with running() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            start = time.monotonic()
            ended = asyncio.ensure_future(reader.read())
            writer.write(b"GET / HTTP/1.1\r\n")
            while not ended.done() and time.monotonic() < start + 20:
                with contextlib.suppress(ConnectionError):
                    writer.write(b"X-A: b\r\n")
                    await writer.drain()
                await asyncio.sleep(IDLE / 10)
            assert ended.done()
            writer.close()

    run(test)


def test_keep_alive_allows_idling_but_not_incomplete_headers() -> None:
    async def test() -> None:
        async with running() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert b"200" in await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(2) == bytes(2)
                await asyncio.sleep(2 * IDLE)  # shorter than uvicorn's keep-alive timeout
            writer.write(b"GET /")
            assert await reader.read() == b""
            writer.close()

    run(test)


def test_a_client_that_does_not_read_is_disconnected() -> None:
    async def test() -> None:
        async with running() as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
            writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            while server.server_state.connections or server.server_state.tasks:
                await asyncio.sleep(0.01)
            writer.close()

    run(test)


def test_a_client_that_reads_slowly_gets_the_whole_response() -> None:
    async def test() -> None:
        async with running(idle=20) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            total = 0
            while piece := await reader.read(1 << 20):
                total += len(piece)
            assert total == LARGE
            writer.close()

    run(test)


def test_the_number_of_connections_is_limited() -> None:
    async def test() -> None:
        async with running(max_connections=3) as (server, port):
            open_connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            while len(server.server_state.connections) < 3:
                await asyncio.sleep(0.005)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            open_connections[0][1].write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" in await open_connections[0][0].readuntil(b"\r\n\r\n")
            for _, other in (*open_connections, (reader, writer)):
                other.close()

    run(test)


def test_a_request_knows_that_its_client_has_disconnected() -> None:
    async def test() -> None:
        async with running(idle=60) as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /until-gone HTTP/1.1\r\nHost: a\r\n\r\n")
            while not server.server_state.tasks:
                await asyncio.sleep(0.005)
            writer.close()
            while server.server_state.tasks:
                await asyncio.sleep(0.005)

    run(test)

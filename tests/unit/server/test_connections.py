from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import pytest
import uvicorn

from imagefinder.server import connections
from imagefinder.server.clients import TrustedProxies
from imagefinder.server.connections import ConnectionTable, HttpConnection
from imagefinder.server.request_context import GONE

IDLE = 0.3
LARGE = 64 << 20


async def application(scope: Any, receive: Any, send: Any) -> None:
    """A small response or, at /large, one that is larger than all buffers."""
    if scope["type"] == "http":
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
        if message["type"] == "http.disconnect":
            return
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
async def running(
    *, max_connections: int = 10, idle: float = IDLE, proxies: Sequence[str] = ()
) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    quick = type("Quick", (HttpConnection,), {"idle_seconds": idle})
    table = ConnectionTable(max_connections, proxies=TrustedProxies(proxies))
    protocol: Any = partial(quick, connections=table)
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


async def is_closed(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(0.2):
            return await reader.read() == b""
    return False


async def status(
    port: int, request: bytes = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
) -> bytes:
    """The response to a request, which may be refused while it is being sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    response = await reader.read()
    writer.close()
    return response


def test_a_new_connection_replaces_the_one_that_was_idle_longest() -> None:
    async def test() -> None:
        async with running(max_connections=12, idle=60) as (server, port):
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]  # three quarters
            while len(server.server_state.connections) < 9:
                await asyncio.sleep(0.005)
            opened[0][1].write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await opened[0][0].readuntil(b"\0\0")
            assert b" 200 " in await status(port)
            assert await opened[1][0].read() == b""
            assert not await is_closed(opened[0][0])
            for _, other in opened:
                other.close()

    run(test)


def test_a_connection_with_a_request_is_not_replaced() -> None:
    async def test() -> None:
        async with running(max_connections=8, idle=60) as (server, port):
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            for _, writer in opened:
                writer.write(b"GET /until-gone HTTP/1.1\r\nHost: a\r\n\r\n")
            while len(server.server_state.tasks) < 8:
                await asyncio.sleep(0.005)
            with contextlib.suppress(ConnectionError):
                assert await status(port) == b""
            opened.pop()[1].close()
            while len(server.server_state.connections) > 7:
                await asyncio.sleep(0.005)
            assert b" 200 " in await status(port)
            for _, writer in opened:
                writer.close()

    run(test)


def test_a_trusted_proxy_has_no_share() -> None:
    async def test() -> None:
        async with running(max_connections=12, idle=60, proxies=("127.0.0.1",)) as (server, port):
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
            while len(server.server_state.connections) < 12:
                await asyncio.sleep(0.005)
            assert b" 200 " in await status(port), "when all are in use, it still replaces an idle one"
            for _, writer in opened:
                writer.close()

    run(test)


HOST = b"Host: a\r\n"
PUT = b"PUT / HTTP/1.1\r\n" + HOST


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (PUT + b"Content-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (PUT + b"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n0\r\n\r\n", 400),
        (PUT + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", 400),
        (PUT + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", 400),
        (PUT + b"Content-Length: 5, 5\r\n\r\nabcde", 400),
        (PUT + b"Content-Length: +5\r\n\r\nabcde", 400),
        (PUT + b"Content-Length: -5\r\n\r\nabcde", 400),
        (PUT + b"Content-Length: 0x5\r\n\r\nabcde", 400),
        (PUT + b"Content-Length: 99999999999999999999999\r\n\r\nabcde", 400),
        (PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (PUT + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
        (PUT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"PUT / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 3_000_000, 431),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", 400),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc\r\n0\r\n\r\n", 400),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc", 400),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500_000, 400),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n1;a=" + b"y" * 3_000_000, 400),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"a" * 99 + b"\r\nx\r\n") * 30_000, 400),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 3_000_000, 400),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 100_000, 431),
    ],
)
def test_ambiguous_malformed_and_laborious_requests_are_refused(request_: bytes, code: int) -> None:
    async def test() -> None:
        async with running(idle=20) as (_, port):
            start = time.thread_time()
            response = await status(port, request_ + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            assert time.thread_time() - start < 2
            assert response.startswith(b"HTTP/1.1 %d " % code), response[:300]
            assert response.count(b"HTTP/1.1 ") == 1
            head, _, body = response.partition(b"\r\n\r\n")
            assert b"connection: close" in head.lower()
            problem = json.loads(body)
            assert problem["code"] == ("headers_too_large" if code == 431 else "malformed_request")
            assert b" 200 " in await status(port)

    run(test)


@pytest.mark.parametrize("size", [64, 1000, 70_000])
def test_bodies_in_reasonable_chunks_are_accepted(size: int) -> None:
    async def test() -> None:
        async with running(idle=20) as (_, port):
            chunk = b"%x;name=value\r\n" % size + bytes(size) + b"\r\n"
            body = chunk * (1_000_000 // size) + b"0\r\nX: trailer\r\n\r\n"
            head = PUT + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert b" 200 " in await status(port, head + body)

    run(test)


def test_pipelined_requests_are_answered_up_to_a_limit() -> None:
    async def test() -> None:
        async with running(idle=20) as (_, port):
            one = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
            close = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            assert (await status(port, one * 10 + close)).count(b" 200 ") == 11
            answered = (await status(port, one * 5000)).count(b" 200 ")
            assert answered == connections.MAX_PIPELINED + 1

    run(test)


@pytest.mark.parametrize("method", [b"GET", b"CONNECT"])
def test_requests_after_one_that_offers_another_protocol_are_answered(method: bytes) -> None:
    async def test() -> None:
        async with running(idle=20) as (_, port):
            target = b"a:80" if method == b"CONNECT" else b"/"
            offer = method + b" " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            close = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            assert (await status(port, offer * 3 + close)).count(b" 200 ") == 4

    run(test)


def test_a_malformed_request_after_a_complete_one_does_not_affect_it() -> None:
    async def test() -> None:
        async with running(idle=20) as (_, port):
            response = await status(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")
            assert response.startswith(b"HTTP/1.1 200 ")

    run(test)


def test_a_client_that_sends_more_after_a_refusal_gets_the_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.3)

    async def test() -> None:
        async with running(idle=20) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"nonsense\r\n\r\n")
            assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 400 Bad Request\r\n"
            writer.write(bytes(1 << 20))
            await writer.drain()
            while server.server_state.connections:  # ended by the server
                await asyncio.sleep(0.01)
            writer.close()

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

"""The asynchronous client: generated from the synchronous one, with the same interface, and really concurrent.

Its operations pass the tests of ``test_client.py``.
"""

from __future__ import annotations

import inspect
import runpy
import time
from pathlib import Path

import anyio
import httpx2
import pytest

from imagefinder.client import AsyncClient, AsyncRemoteJob, Client, RemoteJob, UnavailableError

from .conftest import IMAGE, FakeService

ROOT = Path(__file__).parents[3]
TOOL = runpy.run_path(str(ROOT / "tools" / "make_async_client.py"))


def test_the_generated_files_are_current() -> None:
    for name, text in TOOL["generated"]().items():
        written = (TOOL["CLIENT"] / name).read_text(encoding="utf-8")
        assert written == text, f"{name}: run python tools/make_async_client.py"


def interface(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(("sync", "asynchronous"), [(Client, AsyncClient), (RemoteJob, AsyncRemoteJob)])
def test_both_have_the_same_methods(sync: type, asynchronous: type) -> None:
    assert interface(sync) == interface(asynchronous)
    for name in interface(asynchronous):
        method = getattr(asynchronous, name)
        assert inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method), name
        assert method.__doc__


def test_requests_of_one_event_loop_run_at_the_same_time() -> None:
    waiting = 0
    most = 0

    async def slow(request: httpx2.Request) -> httpx2.Response:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await anyio.sleep(0.05)
        waiting -= 1
        return httpx2.Response(200, json=IMAGE)

    async def run() -> None:
        async with (
            AsyncClient("http://server", transport=httpx2.MockTransport(slow)) as client,
            anyio.create_task_group() as group,
        ):
            for number in range(5):
                group.start_soon(client.image, str(number))

    anyio.run(run)
    assert most == 5


def test_closing_ends_the_wait_for_a_retry(service: FakeService) -> None:
    service.refuses(503, "busy", retryable=True, retry_after="30")

    async def run() -> None:
        client = AsyncClient("http://server", transport=httpx2.MockTransport(service))
        async with anyio.create_task_group() as group:

            async def request() -> None:
                with pytest.raises(UnavailableError):
                    await client.info()

            group.start_soon(request)
            await anyio.sleep(0.05)
            await client.close()

    begin = time.monotonic()
    anyio.run(run)
    assert time.monotonic() - begin < 10
    assert len(service.requests) == 1


def test_a_cancelled_request_ends_at_once() -> None:
    async def hang(request: httpx2.Request) -> httpx2.Response:
        await anyio.sleep(60)
        raise AssertionError("it was cancelled")

    async def run() -> None:
        async with AsyncClient("http://server", transport=httpx2.MockTransport(hang)) as client:
            with anyio.move_on_after(0.05) as scope:
                await client.info()
            assert scope.cancelled_caught

    anyio.run(run)

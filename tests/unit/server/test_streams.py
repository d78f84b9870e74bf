from __future__ import annotations

import asyncio
from typing import Any

import pytest

from imagefinder.server import streams
from imagefinder.server.errors import Problem
from imagefinder.server.streams import EventStreams


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS", 5)
    monkeypatch.setattr(streams, "MAX_STREAMS_PER_CLIENT", 2)


async def opened(registry: EventStreams, client: str) -> asyncio.Task[None]:
    """A task with an open stream; raises what ``open`` raises."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def request() -> None:
        task: Any = asyncio.current_task()
        try:
            registry.open(client)
            done.set_result(None)
            await asyncio.sleep(3600)
        except Problem as problem:
            done.set_exception(problem)
        finally:
            registry.discard(task)

    task = asyncio.ensure_future(request())
    await done
    return task


def test_streams_are_limited_for_each_client_and_in_total() -> None:
    async def main() -> None:
        registry = EventStreams()
        tasks = [await opened(registry, client) for client in ("a", "a", "b", "b")]
        with pytest.raises(Problem, match="this client has 2 open event streams, its share") as caught:
            await opened(registry, "a")
        assert (caught.value.code, caught.value.members["limit"]) == ("busy", 1)  # one is free
        assert caught.value.headers["Retry-After"]
        tasks.append(await opened(registry, "c"))
        with pytest.raises(Problem, match="the server has 5 open event streams"):
            await opened(registry, "d")
        assert len(registry) == 5
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        with pytest.raises(Problem, match="this client has 1 open event streams, its share"):
            await opened(registry, "a")  # the last one is for clients that have none
        tasks.append(await opened(registry, "d"))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert len(registry) == 0

    asyncio.run(main())


def test_a_stream_that_starts_during_shutdown_is_cancelled() -> None:
    async def main() -> None:
        registry = EventStreams()
        early = await opened(registry, "a")
        await registry.end()
        late = await opened(registry, "b")
        await asyncio.wait([early, late], timeout=10)
        assert early.cancelled()
        assert late.cancelled()

    asyncio.run(main())

"""Following a job from an event loop."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

from imagefinder.core.jobs import Job

Server = Any  # of conftest.py


def test_events_tell_every_change_until_the_end(server: Server) -> None:
    async def follow() -> list[Job]:
        job = await asyncio.to_thread(server.manager.start, "add", "a", csv="url,id\n")
        told = []
        async for change in server.events(job):
            told.append(change)
            if change.progress.stage == "add":
                server.a.go.set()
        return told

    told = asyncio.run(follow())
    states = [job.state for job in told]
    assert states[-1] == "succeeded"
    assert "running" in states
    assert all(before != after for before, after in pairwise(told))
    assert told[-1].progress.added == 9


def test_progress_is_told_at_most_four_times_a_second(server: Server) -> None:
    server.a.progress_calls = 10_000

    async def follow() -> int:
        job = await asyncio.to_thread(server.manager.start, "add", "a", csv="url,id\n")
        began, told = time.monotonic(), 0
        async for change in server.events(job):
            told += change.state == "running" and change.progress.stage == "add"
            if server.a.at_work.is_set():
                server.a.go.set()
            elif time.monotonic() - began > 20:
                break
        assert told <= 2 + 4 * (time.monotonic() - began)
        return told

    server.a.go.set()
    assert asyncio.run(follow()) >= 1


def test_watchers_are_let_go_when_the_server_stops(server: Server) -> None:
    async def follow() -> list[str]:
        job = await asyncio.to_thread(server.manager.start_put, "a", "1", b"x")
        told = []
        async for change in server.events(job):
            told.append(change.state)
            if change.state == "running":
                server.manager.stop_watchers()
        return told

    assert asyncio.run(follow())[-1] == "running"

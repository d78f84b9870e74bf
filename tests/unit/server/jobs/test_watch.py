"""Following a job in an event loop."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

from imagefinder.core.jobs import Job

Server = Any  # of conftest.py


def test_a_watcher_gets_all_changes_until_the_end(server: Server) -> None:
    async def follow() -> list[Job]:
        job = await asyncio.to_thread(server.manager.start, "add", "a", csv="url,id\n")
        changes = []
        async for change in server.events(job):
            changes.append(change)
            if change.progress.stage == "add":
                server.a.go.set()
        return changes

    changes = asyncio.run(follow())
    states = [job.state for job in changes]
    assert states[-1] == "succeeded"
    assert "running" in states
    assert all(before != after for before, after in pairwise(changes))
    assert changes[-1].progress.added == 9


def test_progress_is_published_at_most_four_times_a_second(server: Server) -> None:
    server.a.progress_calls = 10_000

    async def follow() -> int:
        job = await asyncio.to_thread(server.manager.start, "add", "a", csv="url,id\n")
        began, reports = time.monotonic(), 0
        async for change in server.events(job):
            reports += change.state == "running" and change.progress.stage == "add"
            if server.a.at_work.is_set():
                server.a.go.set()
            elif time.monotonic() - began > 20:
                break
        assert reports <= 2 + 4 * (time.monotonic() - began)
        return reports

    server.a.go.set()
    assert asyncio.run(follow()) >= 1


def test_watchers_end_at_shutdown(server: Server) -> None:
    async def follow() -> list[str]:
        job = await asyncio.to_thread(server.manager.start_put, "a", "1", b"x")
        changes = []
        async for change in server.events(job):
            changes.append(change.state)
            if change.state == "running":
                server.manager.stop_watchers()
        return changes

    assert asyncio.run(follow())[-1] == "running"

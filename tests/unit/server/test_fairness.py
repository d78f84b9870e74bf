from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from imagefinder.server.fairness import FairPool, FairQueue, FairShare


def taken(share: FairShare, client: str) -> int:
    """Number of units that a client gets when it wants as many as possible."""
    count = 0
    while share.take(client):
        count += 1
    return count


def test_one_client_gets_three_quarters_and_leaves_room_for_others() -> None:
    share = FairShare(66)
    assert taken(share, "a") == 49
    assert taken(share, "b") == 12
    assert taken(share, "c") == 3
    assert share.free == 2
    for client in ("d", "e"):
        assert share.take(client), "a client without units gets one while any is free"
    assert not share.take("f")
    share.release("a", 49)
    assert (share.used("a"), share.free) == (0, 49)


def test_the_floor_is_granted_while_units_are_free() -> None:
    share = FairShare(20, floor=8)
    assert taken(share, "a") == 15
    assert taken(share, "b") == 5
    assert share.heaviest_first() == ["a", "b"]


def test_the_empty_client_stands_for_many() -> None:
    share = FairShare(5)
    assert taken(share, "") == 5


def test_units_are_taken_together_or_not_at_all() -> None:
    share = FairShare(100, floor=40)
    assert share.take("a", 40)
    assert share.take("a", 35)
    assert not share.take("a", 1)
    assert not share.take("b", 26)
    assert share.take("b", 25)
    assert share.take("c", 0), "nothing is always free"
    assert (share.free, share.used("c")) == (0, 0)


def test_waiting_clients_take_turns() -> None:
    async def all_of_it() -> list[str]:
        queue, order = FairQueue(FairShare(1)), []

        async def use(client: str) -> None:
            await queue.take(client)
            order.append(client)
            await asyncio.sleep(0)
            queue.release(client)

        wanted = ["a"] * 5 + ["b"] * 2 + ["c"]
        async with asyncio.timeout(20):
            await asyncio.gather(*map(use, wanted))
        assert (queue.waiting, queue.share.free) == (0, 1)
        return order

    assert asyncio.run(all_of_it()) == ["a", "a", "b", "c", "a", "b", "a", "a"]


@pytest.mark.parametrize("granted", [False, True])
def test_a_cancelled_wait_loses_no_unit(granted: bool) -> None:
    async def all_of_it() -> None:
        queue = FairQueue(FairShare(1))
        await queue.take("a")
        waits = asyncio.ensure_future(queue.take("b"))
        later = asyncio.ensure_future(queue.take("c"))
        await asyncio.sleep(0)
        if granted:
            queue.release("a")  # b gets the unit but is cancelled before it runs
        waits.cancel()
        with suppress(asyncio.CancelledError):
            await waits
        if not granted:
            queue.release("a")
        async with asyncio.timeout(20):
            await later
        queue.release("c")
        assert (queue.waiting, queue.share.free) == (0, 1)

    asyncio.run(all_of_it())


def test_a_thread_counts_until_its_work_ends() -> None:
    release = threading.Event()
    ended = []

    async def all_of_it() -> None:
        pool = FairPool(1, name="test", share=FairShare(1))
        working = asyncio.ensure_future(pool.run("a", release.wait, ended=lambda: ended.append("a")))
        waiting = asyncio.ensure_future(pool.run("b", lambda: "b", ended=lambda: ended.append("b")))
        while pool.waiting < 1:
            await asyncio.sleep(0.005)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        await asyncio.sleep(0.05)
        assert (pool.busy, pool.waiting, ended) == (1, 1, [])
        release.set()
        async with asyncio.timeout(20):
            assert await waiting == "b"
            while pool.busy:
                await asyncio.sleep(0.005)
        assert ended == ["a", "b"]
        pool.close()
        with pytest.raises(RuntimeError):
            await pool.run("a", lambda: None)
        assert pool.busy == 0

    asyncio.run(all_of_it())

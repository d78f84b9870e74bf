from __future__ import annotations

import time
from typing import Any

import pytest

from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.results import SearchResult
from imagefinder.search.encoding import NO_PIXELS, QueryImage
from imagefinder.search.trace import Trace
from imagefinder.server.errors import Problem
from imagefinder.server.search_cache import CachedSearch, SearchCache


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def trace(data: bytes) -> Trace:
    """The trace of a search without hits."""
    size = (1, 1)
    return Trace(
        query=Query(data),
        options=SearchOptions(),
        result=SearchResult((), "auto", "exact", {}, 0, {}),
        image=QueryImage(NO_PIXELS, size, size),
        hits={},
        local_only=False,
        vectors={},
    )


def add(cache: SearchCache, data: bytes = b"image") -> str | None:
    return cache.add(CachedSearch("default", trace(data))).handle


def is_cached(cache: SearchCache, handle: str | None) -> bool:
    assert handle is not None
    try:
        cache.search(handle)
    except Problem as problem:
        return problem.code != "unknown_handle"
    return True


def test_a_handle_returns_search_and_answer(clock: Clock) -> None:
    cache = SearchCache(seconds=10, queries=5, max_bytes=1000, clock=clock)
    handle = add(cache)
    assert handle
    assert cache.search(handle).trace.query.image == b"image"
    assert 9 < cache.find(handle)[1] - time.time() <= 10


def test_handles_cannot_be_guessed(clock: Clock) -> None:
    cache = SearchCache(seconds=10, queries=500, max_bytes=10**6, clock=clock)
    handles = {add(cache) for _ in range(200)}
    assert len(handles) == 200
    assert all(len(str(handle)) >= 22 for handle in handles)  # 128 bits in base64
    assert not is_cached(cache, "x")


def test_handles_expire(clock: Clock) -> None:
    cache = SearchCache(seconds=10, queries=5, max_bytes=1000, clock=clock)
    handle = add(cache)
    clock.now += 9.9
    assert is_cached(cache, handle)
    clock.now += 0.2
    assert not is_cached(cache, handle)
    assert len(cache) == 0


def test_the_oldest_search_is_evicted_first(clock: Clock) -> None:
    cache = SearchCache(seconds=10, queries=3, max_bytes=100, clock=clock)
    handles = [add(cache, b"x") for _ in range(4)]
    assert [is_cached(cache, handle) for handle in handles] == [False, True, True, True]
    large = add(cache, b"x" * 99)
    assert [is_cached(cache, handle) for handle in [*handles, large]] == [False, False, False, True, True]
    small = add(cache, b"x")
    assert is_cached(cache, large)
    assert is_cached(cache, small)


def test_a_search_that_is_too_large_gets_no_handle(clock: Clock) -> None:
    cache = SearchCache(seconds=10, queries=3, max_bytes=100, clock=clock)
    before = add(cache)
    assert add(cache, b"x" * 101) is None
    assert is_cached(cache, before)


def test_evicted_bytes_are_released(clock: Clock) -> None:
    cache: Any = SearchCache(seconds=10, queries=2, max_bytes=10**6, clock=clock)
    for size in range(50):
        add(cache, b"x" * size)
    clock.now += 11
    assert len(cache) == 0
    assert cache._bytes == 0


def test_the_number_of_cached_explanations_is_limited() -> None:
    cache = SearchCache(seconds=10, queries=3, max_bytes=100)
    made: list[int] = []

    def explain(number: int) -> Any:
        return cache.explanation(number, lambda: (made.append(number), f"explanation {number}")[1])  # type: ignore[arg-type,return-value]

    assert explain(0) == explain(0) == "explanation 0"
    for number in range(1, 101):
        explain(number)
    explain(100)
    explain(0)
    assert made == [*range(101), 0]

from __future__ import annotations

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
    """Of a search that found nothing."""
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


def kept(explanations: SearchCache, data: bytes = b"picture", size: int = 10) -> str | None:
    result = explanations.add(CachedSearch("default", trace(data)), lambda handle, _: {"handle": handle}, size)
    handle: str | None = result["handle"]
    return handle


def is_known(explanations: SearchCache, handle: str | None) -> bool:
    assert handle is not None
    try:
        explanations.search(handle)
    except Problem as problem:
        return problem.code != "unknown_handle"
    return True


def test_a_handle_leads_to_query_and_answer(clock: Clock) -> None:
    explanations = SearchCache(seconds=10, queries=5, max_bytes=1000, clock=clock)
    handle = kept(explanations)
    assert handle
    assert explanations.search(handle).trace.query.image == b"picture"
    assert explanations.result(handle) == {"handle": handle}


def test_handles_cannot_be_guessed(clock: Clock) -> None:
    explanations = SearchCache(seconds=10, queries=500, max_bytes=10**6, clock=clock)
    handles = {kept(explanations) for _ in range(200)}
    assert len(handles) == 200
    assert all(len(str(handle)) >= 22 for handle in handles)  # 128 bits in base64
    assert not is_known(explanations, "x")


def test_they_end(clock: Clock) -> None:
    explanations = SearchCache(seconds=10, queries=5, max_bytes=1000, clock=clock)
    handle = kept(explanations)
    clock.now += 9.9
    assert is_known(explanations, handle)
    clock.now += 0.2
    assert not is_known(explanations, handle)
    assert len(explanations) == 0


def test_the_oldest_goes_first_by_number_and_by_bytes(clock: Clock) -> None:
    explanations = SearchCache(seconds=10, queries=3, max_bytes=100, clock=clock)
    handles = [kept(explanations, b"x", 1) for _ in range(4)]
    assert [is_known(explanations, handle) for handle in handles] == [False, True, True, True]
    large = kept(explanations, b"x" * 90, 9)
    assert [is_known(explanations, handle) for handle in [*handles, large]] == [False, False, False, False, True]
    small = kept(explanations, b"x", 0)
    assert is_known(explanations, large)
    assert is_known(explanations, small)


def test_what_is_too_large_is_answered_without_a_handle(clock: Clock) -> None:
    explanations = SearchCache(seconds=10, queries=3, max_bytes=100, clock=clock)
    before = kept(explanations)
    assert kept(explanations, b"x" * 101, 0) is None
    assert is_known(explanations, before)


def test_bytes_are_counted_back(clock: Clock) -> None:
    explanations: Any = SearchCache(seconds=10, queries=2, max_bytes=10**6, clock=clock)
    for size in range(50):
        kept(explanations, b"x" * size, size)
    clock.now += 11
    assert len(explanations) == 0
    assert explanations._bytes == 0


def test_explanations_are_remembered_up_to_a_number() -> None:
    explanations = SearchCache(seconds=10, queries=3, max_bytes=100)
    made: list[int] = []

    def explain(number: int) -> Any:
        return explanations.explanation(number, lambda: (made.append(number), f"explanation {number}")[1])  # type: ignore[arg-type,return-value]

    assert explain(0) == explain(0) == "explanation 0"
    for number in range(1, 101):
        explain(number)
    explain(100)
    explain(0)
    assert made == [*range(101), 0]

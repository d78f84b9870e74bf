"""A cache of recent searches, in memory only, so that their answers can be explained and shared."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

from imagefinder.core.results import Explanation
from imagefinder.search.trace import Trace
from imagefinder.server.errors import Problem
from imagefinder.server.request_context import may_use

_MAX_EXPLANATIONS = 100
"""Number of cached explanations; each takes some 10 kB."""


@dataclass(frozen=True, slots=True)
class CachedSearch:
    """A completed search.

    Attributes:
        collection: Name of the collection.
        trace: Trace of the search, from which its hits can be explained.
    """

    collection: str
    trace: Trace


@dataclass(slots=True)
class _CacheEntry:
    search: CachedSearch
    expires: float
    size: int
    make_result: Callable[[], Any]


class SearchCache:
    """Searches by handle, limited in number, bytes and age; safe to use from several threads."""

    def __init__(
        self, *, seconds: float, queries: int, max_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Set the limits.

        Args:
            seconds: Lifetime of a handle, seconds.
            queries: Largest number of searches; the oldest is evicted first.
            max_bytes: Largest total size of query images and answers, bytes.
            clock: Monotonic clock, seconds.
        """
        self._seconds = seconds
        self._queries = queries
        self._max_bytes = max_bytes
        self._clock = clock
        self._searches: OrderedDict[str, _CacheEntry] = OrderedDict()
        self._bytes = 0
        self._explanations: OrderedDict[Hashable, Explanation] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, search: CachedSearch, make_result: Callable[[str | None, float], Any], size: int) -> Any:
        """Cache a search with its answer.

        Args:
            search: The search.
            make_result: Builds the answer from the handle (``None`` if the search is too large for the cache) and
                the time at which the handle expires (seconds since 1970).
            size: Approximate size of the answer, bytes.

        Returns:
            The answer.
        """
        size += search.trace.nbytes
        handle = secrets.token_urlsafe(16) if size <= self._max_bytes else None
        make_result = partial(make_result, handle, time.time() + self._seconds)
        if handle is not None:
            with self._lock:
                self._searches[handle] = _CacheEntry(search, self._clock() + self._seconds, size, make_result)
                self._bytes += size
                self._evict()
        return make_result()

    def search(self, handle: str) -> CachedSearch:
        """The search with this handle.

        Raises:
            Problem: ``unknown_handle``.
        """
        return self._find(handle).search

    def result(self, handle: str) -> Any:
        """The answer to the search with this handle, with links for the current request.

        Raises:
            Problem: ``unknown_handle``.
        """
        return self._find(handle).make_result()

    def explanation(self, key: Hashable, explain: Callable[[], Explanation]) -> Explanation:
        """An explanation, cached because clients often request it again in another view.

        Args:
            key: Identifies the explanation, including the current version of the image.
            explain: Computes the explanation if it is not cached; called without the lock.
        """
        with self._lock:
            if (cached := self._explanations.get(key)) is not None:
                self._explanations.move_to_end(key)
                return cached
        explanation = explain()
        with self._lock:
            self._explanations[key] = explanation
            if len(self._explanations) > _MAX_EXPLANATIONS:
                self._explanations.popitem(last=False)
        return explanation

    def __len__(self) -> int:
        with self._lock:
            self._evict()
            return len(self._searches)

    def _find(self, handle: str) -> _CacheEntry:
        with self._lock:
            self._evict()
            entry = self._searches.get(handle)
        if entry is None or not may_use(entry.search.collection):
            raise Problem(
                "unknown_handle",
                "this handle is unknown or has expired",
                hint=f"search again; a handle expires after {self._seconds:.0f} s or earlier",
            )
        return entry

    def _evict(self) -> None:
        """Remove expired searches, and the oldest ones while a limit is exceeded. All have the same lifetime."""
        now = self._clock()
        while self._searches:
            oldest = next(iter(self._searches.values()))
            if oldest.expires > now and len(self._searches) <= self._queries and self._bytes <= self._max_bytes:
                return
            self._searches.popitem(last=False)
            self._bytes -= oldest.size

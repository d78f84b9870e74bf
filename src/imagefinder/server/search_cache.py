"""A cache of recent searches, so that their answers can be explained and shared."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from imagefinder.core.records import ImageRecord
from imagefinder.core.results import Explanation, Size
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
        sha256: SHA-256 of the query image.
        size: Width and height of the query image.
        records: The images of the hits as they were then: id -> record.
    """

    collection: str
    trace: Trace
    sha256: str = ""
    size: Size = (0, 0)
    records: Mapping[str, ImageRecord] | None = None

    @property
    def nbytes(self) -> int:
        """Approximate size in bytes."""
        # Metadata is the only part of an answer whose size is not limited elsewhere.
        records = self.records or {}
        return self.trace.nbytes + sum(
            len(str(hit)) + len(str(records.get(hit.id))) for hit in self.trace.result.hits
        )


class SearchHandle(NamedTuple):
    """The handle of a search.

    Attributes:
        handle: The handle; ``None`` if the search is too large for the cache.
        expires: Time at which it expires, seconds since 1970.
    """

    handle: str | None
    expires: float


class SharedSearches(Protocol):
    """Searches that several servers share."""

    def add(self, handle: str, search: CachedSearch, expires: float) -> None:
        """Store a search until a time in seconds since 1970."""
        ...

    def find(self, handle: str) -> tuple[CachedSearch, float] | None:
        """The search with this handle, and the seconds since 1970 at which it expires; ``None`` if unknown."""
        ...


@dataclass(slots=True)
class _CacheEntry:
    search: CachedSearch
    expires: float
    expires_at: float
    size: int


class SearchCache:
    """Searches by handle, limited in number, bytes and age; safe to use from several threads.

    With ``shared``, the searches of other servers are found as well.
    """

    def __init__(
        self,
        *,
        seconds: float,
        queries: int,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        shared: SharedSearches | None = None,
    ) -> None:
        """Set the limits.

        Args:
            seconds: Lifetime of a handle, seconds.
            queries: Largest number of searches in memory; the oldest is evicted first.
            max_bytes: Largest total size of query images and answers in memory, bytes.
            clock: Monotonic clock, seconds.
            shared: Searches that several servers share.
        """
        self._seconds = seconds
        self._queries = queries
        self._max_bytes = max_bytes
        self._clock = clock
        self._shared = shared
        self._searches: OrderedDict[str, _CacheEntry] = OrderedDict()
        self._bytes = 0
        self._explanations: OrderedDict[Hashable, Explanation] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, search: CachedSearch) -> SearchHandle:
        """Cache a search.

        Raises:
            StoreError: the searches that several servers share cannot be written.
        """
        size = search.nbytes
        expires = time.time() + self._seconds
        if size > self._max_bytes:
            return SearchHandle(None, expires)
        handle = secrets.token_urlsafe(16)
        if self._shared is not None:
            self._shared.add(handle, search, expires)
        with self._lock:
            self._searches[handle] = _CacheEntry(search, self._clock() + self._seconds, expires, size)
            self._bytes += size
            self._evict()
        return SearchHandle(handle, expires)

    def search(self, handle: str) -> CachedSearch:
        """The search with this handle.

        Raises:
            Problem: ``unknown_handle``.
        """
        return self.find(handle)[0]

    def find(self, handle: str) -> tuple[CachedSearch, float]:
        """The search with this handle, and the time at which it expires, seconds since 1970.

        Raises:
            Problem: ``unknown_handle``.
            StoreError: the searches that several servers share cannot be read.
        """
        with self._lock:
            self._evict()
            entry = self._searches.get(handle)
        found = (entry.search, entry.expires_at) if entry else self._shared and self._shared.find(handle)
        if not found or not may_use(found[0].collection):
            raise Problem(
                "unknown_handle",
                "this handle is unknown or has expired",
                hint=f"search again; a handle expires after {self._seconds:.0f} s or earlier",
            )
        return found

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

    def _evict(self) -> None:
        """Remove expired searches, and the oldest ones while a limit is exceeded. All have the same lifetime."""
        now = self._clock()
        while self._searches:
            oldest = next(iter(self._searches.values()))
            if oldest.expires > now and len(self._searches) <= self._queries and self._bytes <= self._max_bytes:
                return
            self._searches.popitem(last=False)
            self._bytes -= oldest.size

"""Searches kept for a while, so that their answers can be explained and shared; in memory only."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from imagefinder.core.results import Explanation
from imagefinder.search.trace import Trace
from imagefinder.server.errors import Problem

_REMEMBERED = 100
"""Explanations, of some ten kilobytes each."""


@dataclass(frozen=True, slots=True)
class KeptSearch:
    """A search that was answered.

    Attributes:
        collection: Name of the collection.
        trace: What the search did.
    """

    collection: str
    trace: Trace


@dataclass(slots=True)
class _Kept:
    search: KeptSearch
    ends: float
    size: int
    result: Any


class Explanations:
    """Handles to searches, bounded in number, bytes and age; safe to use from several threads."""

    def __init__(
        self, *, seconds: float, queries: int, max_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Set the limits.

        Args:
            seconds: How long a query is kept at most.
            queries: How many are kept at most; the oldest goes first.
            max_bytes: How many bytes of pictures and answers they have at most.
            clock: Seconds that only go up.
        """
        self._seconds = seconds
        self._queries = queries
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        self._explained: OrderedDict[Hashable, Explanation] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, search: KeptSearch, make_result: Callable[[str | None, float], Any], size: int) -> Any:
        """Keep a search with its answer.

        Args:
            search: The search.
            make_result: Makes the answer, given the handle (``None`` if it is too large to be kept) and when it
                ends (seconds since 1970).
            size: Bytes that the answer takes, about.

        Returns:
            The answer.
        """
        size += search.trace.nbytes
        handle = secrets.token_urlsafe(16) if size <= self._max_bytes else None
        result = make_result(handle, time.time() + self._seconds)
        if handle is not None:
            with self._lock:
                self._kept[handle] = _Kept(search, self._clock() + self._seconds, size, result)
                self._bytes += size
                self._forget()
        return result

    def search(self, handle: str) -> KeptSearch:
        """The search behind a handle.

        Raises:
            Problem: ``unknown_handle``.
        """
        return self._find(handle).search

    def result(self, handle: str) -> Any:
        """The answer behind a handle.

        Raises:
            Problem: ``unknown_handle``.
        """
        return self._find(handle).result

    def explained(self, key: Hashable, explain: Callable[[], Explanation]) -> Explanation:
        """An explanation, remembered for who looks at it in another view a moment later.

        Args:
            key: Names what is explained, as it is now.
            explain: Does it where it is not remembered; the lock is not held meanwhile.
        """
        with self._lock:
            if (found := self._explained.get(key)) is not None:
                self._explained.move_to_end(key)
                return found
        made = explain()
        with self._lock:
            self._explained[key] = made
            if len(self._explained) > _REMEMBERED:
                self._explained.popitem(last=False)
        return made

    def __len__(self) -> int:
        with self._lock:
            self._forget()
            return len(self._kept)

    def _find(self, handle: str) -> _Kept:
        with self._lock:
            self._forget()
            found = self._kept.get(handle)
        if found is None:
            raise Problem(
                "unknown_handle",
                "this handle is not known, or no longer",
                hint=f"search again; handles live {self._seconds:.0f} s at most",
            )
        return found

    def _forget(self) -> None:
        """All live equally long, so the oldest is the first to go."""
        now = self._clock()
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if oldest.ends > now and len(self._kept) <= self._queries and self._bytes <= self._max_bytes:
                return
            self._kept.popitem(last=False)
            self._bytes -= oldest.size

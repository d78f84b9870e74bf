"""Discover images in a background thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from imagefinder.indexing.source_item import Discovered, SourceEnd


class Prefetcher:
    """Discovers items in advance, so that the total is available early.

    Args:
        items: The iterator of ``discover``.
        limit: Largest number of queued items.

    Attributes:
        total: Number of images and failures; ``None`` until all sources have been discovered.
    """

    def __init__(self, items: Iterator[Discovered], limit: int) -> None:
        self.total: int | None = None
        self._items = items
        self._limit = limit
        self._ready: deque[Discovered] = deque()
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="imagefinder-discover", daemon=True)
        self._thread.start()

    def take(self, limit: int, begin: Callable[[Discovered], bool]) -> list[Discovered]:
        """Take up to ``limit`` queued items, stopping before the first for which ``begin`` is false."""
        taken: list[Discovered] = []
        with self._changed:
            while self._ready and len(taken) < limit and begin(self._ready[0]):
                taken.append(self._ready.popleft())
            self._changed.notify_all()
        return taken

    def wait(self, timeout: float) -> bool:
        """Wait for items; true when discovery has ended and all items have been taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended, timeout)
            return self._ended and not self._ready

    def check(self) -> None:
        """Raise the error that ended discovery, if any."""
        if self._error:
            raise self._error

    def close(self) -> None:
        """Stop the thread; if a source does not respond, it ends later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(0.2)

    def _run(self) -> None:
        found = 0
        try:
            for item in self._items:
                found += not isinstance(item, SourceEnd)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or len(self._ready) < self._limit)
                    if self._closed:
                        return
                    self._ready.append(item)
                    self._changed.notify_all()
            self.total = found
        except BaseException as error:  # raised again in the thread that waits
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

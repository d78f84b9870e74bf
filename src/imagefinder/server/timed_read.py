"""Reading numbers from an engine that may not answer in time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from imagefinder.core.errors import ImagefinderError

log = logging.getLogger(__name__)

T = TypeVar("T")


class TimedRead(Generic[T]):
    """Reads in a thread, one read at a time; safe to use from several threads."""

    def __init__(self, read: Callable[[], T]) -> None:
        """Read nothing yet."""
        self._read = read
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._found: T | None = None

    def value(self, until: float) -> T | None:
        """The result; ``None`` if it cannot be read, or not until a time (``time.monotonic()``)."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._found = None
                self._thread = threading.Thread(target=self._run, name="imagefinder-metrics", daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(max(0.0, until - time.monotonic()))
        return None if thread.is_alive() else self._found

    def _run(self) -> None:
        try:
            self._found = self._read()
        except ImagefinderError:  # /health and the log report it
            return
        except Exception:
            log.exception("metrics cannot be read")

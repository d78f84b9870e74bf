"""How many threads a native call uses: the cores, divided among the computations in progress."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_running = 0
_depth = threading.local()


def cores() -> int:
    """Number of processor cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def computation() -> Iterator[None]:
    """Count this thread as a computation in progress; nested blocks count once."""
    global _running  # noqa: PLW0603 - the cores belong to the process, so does the count
    depth = getattr(_depth, "value", 0)
    _depth.value = depth + 1
    if not depth:
        with _lock:
            _running += 1
    try:
        yield
    finally:
        _depth.value = depth
        if not depth:
            with _lock:
                _running -= 1


def share(most: int | None = None) -> int:
    """Number of threads for a native call that begins now, at least 1.

    A single computation uses all cores; as many computations as cores use one thread each.

    Args:
        most: Upper limit, at least 1; ``None``: none.
    """
    fair = max(1, cores() // max(1, _running))
    return fair if most is None else min(most, fair)

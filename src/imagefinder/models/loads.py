"""Count how often this process has loaded each network, and how long it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple


class Loads(NamedTuple):
    """The number and duration of loads of one network with one outcome.

    Attributes:
        times: Number of loads.
        seconds: Total duration, seconds.
    """

    times: int = 0
    seconds: float = 0.0


_counted: dict[tuple[str, str], Loads] = {}
_lock = threading.Lock()


@contextmanager
def counted(network: str) -> Iterator[None]:
    """Count the block as one load: ``loaded``, or ``failed`` if it raises."""
    begin = time.perf_counter()
    outcome = "failed"
    try:
        yield
        outcome = "loaded"
    finally:
        seconds = time.perf_counter() - begin
        with _lock:
            before = _counted.get((network, outcome), Loads())
            _counted[network, outcome] = Loads(before.times + 1, before.seconds + seconds)


def so_far() -> Mapping[tuple[str, str], Loads]:
    """(name of the network, outcome) -> loads since the process started."""
    with _lock:
        return dict(_counted)

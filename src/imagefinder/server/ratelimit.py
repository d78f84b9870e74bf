"""How often one client may ask: a bucket for each, which fills steadily and from which each request takes one."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from imagefinder.server.errors import Problem

MAX_CLIENTS = 10_000
"""Buckets kept; the one unused for longest goes first, and begins full if its client comes back."""


class RateLimit:
    """So many requests a minute for each client; a minute's worth may come at once."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Set the rate.

        Args:
            per_minute: Requests; 0 for no limit.
            clock: Seconds that only grow.
        """
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count a request.

        Raises:
            Problem: ``rate_limited``, with the seconds until the next one will do.
        """
        if not self._per_minute:
            return
        now, rate = self._clock(), self._per_minute / 60
        left, at = self._buckets.pop(client, (float(self._per_minute), now))
        left = min(left + (now - at) * rate, self._per_minute)
        allowed = left >= 1
        self._buckets[client] = (left - allowed, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = math.ceil((1 - left) / rate)
            raise Problem(
                "rate_limited",
                f"more than {self._per_minute} requests a minute",
                hint=f"try again in {wait} s",
                headers={"Retry-After": str(wait)},
                limit=self._per_minute,
            )

"""Rate limiting with a token bucket per client."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from imagefinder.server.errors import Problem

MAX_CLIENTS = 10_000
"""Largest number of buckets. The least recently used one is evicted and starts full when its client returns."""


class RateLimit:
    """Limits the requests per minute of each client; a burst of one minute's requests is allowed."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Set the rate.

        Args:
            per_minute: Requests per minute; 0 for no limit.
            clock: Monotonic clock, seconds.
        """
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Take a token for a request of this client.

        Raises:
            Problem: ``rate_limited``, with the seconds until a token is available.
        """
        wait = self.try_take(client)
        if wait:
            raise Problem(
                "rate_limited",
                f"the limit is {self._per_minute} requests per minute",
                hint=f"try again in {wait} s",
                headers={"Retry-After": str(wait)},
                limit=self._per_minute,
            )

    def try_take(self, client: str) -> int:
        """Take a token if one is available; returns the seconds until one is, 0 if it was taken."""
        if not self._per_minute:
            return 0
        now, rate = self._clock(), self._per_minute / 60
        left, at = self._buckets.pop(client, (float(self._per_minute), now))
        left = min(left + (now - at) * rate, self._per_minute)
        allowed = left >= 1
        self._buckets[client] = (left - allowed, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if allowed else math.ceil((1 - left) / rate)

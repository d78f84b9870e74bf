"""Rate limiting with a token bucket per client."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from imagefinder.server.errors import Problem

MAX_CLIENTS = 10_000
"""Largest number of buckets. The least recently used one is evicted and starts full when its client returns."""


class SharedTokens(Protocol):
    """Token buckets that several servers share."""

    def take(self, client: str, most: int, *, per_minute: int) -> tuple[int, float]:
        """Take up to ``most`` tokens; returns their number, and the tokens that the bucket has now.

        Raises:
            StoreError: the buckets cannot be used.
        """
        ...


class RateLimit:
    """Limits the requests per minute of each client; a burst of one minute's requests is allowed.

    Safe to use from several threads. With ``shared``, all servers together keep the limit: each takes the tokens
    of one second from the shared bucket at once, and keeps no more than these. So a client may be refused as many
    requests too early, or get as many too many after a pause, for each server.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        shared: SharedTokens | None = None,
        name: str = "",
    ) -> None:
        """Set the rate.

        Args:
            per_minute: Requests per minute; 0 for no limit.
            clock: Monotonic clock, seconds.
            shared: Token buckets that several servers share.
            name: Begins the names of the shared buckets, so that limits do not share them.
        """
        self._per_minute = per_minute
        self._clock = clock
        self._shared = shared
        self._name = name
        self._lock = threading.Lock()
        self._local: OrderedDict[str, int] = OrderedDict()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def is_shared(self) -> bool:
        """Whether taking a token may wait for a database."""
        return self._shared is not None

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
        """Take a token if one is available; returns the seconds until one is, 0 if it was taken.

        Raises:
            StoreError: the shared buckets cannot be used.
        """
        if not self._per_minute:
            return 0
        if self._shared is not None:
            return self._take_shared(client, self._shared)
        with self._lock:
            return self._take(client)

    def _take_shared(self, client: str, shared: SharedTokens) -> int:
        with self._lock:
            local = self._local.pop(client, 0)
            if local > 1:
                self._local[client] = local - 1
            if local:
                return 0
        together = max(1, self._per_minute // 60)
        granted, left = shared.take(self._name + client, together, per_minute=self._per_minute)
        if not granted:
            return math.ceil((1 - left) * 60 / self._per_minute)
        with self._lock:
            self._local[client] = min(self._local.pop(client, 0) + granted - 1, together)
            if len(self._local) > MAX_CLIENTS:
                self._local.popitem(last=False)
        return 0

    def _take(self, client: str) -> int:
        now, rate = self._clock(), self._per_minute / 60
        left, at = self._buckets.pop(client, (float(self._per_minute), now))
        left = min(left + (now - at) * rate, self._per_minute)
        allowed = left >= 1
        self._buckets[client] = (left - allowed, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if allowed else math.ceil((1 - left) / rate)

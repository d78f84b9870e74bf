"""Recent searches in PostgreSQL, for servers that share a database."""

from __future__ import annotations

import logging
import random

from imagefinder.server.search_bytes import UNREADABLE, from_bytes, to_bytes
from imagefinder.server.search_cache import CachedSearch
from imagefinder.stores.distributed.pool import Database

log = logging.getLogger(__name__)

MOST_BYTES = 64 << 20
"""Size of a search above which only the server that made it can explain it."""

_SWEEP_EVERY = 50  # additions


class PostgresSearches:
    """The searches of all servers, limited in number and age."""

    def __init__(self, database: Database, queries: int) -> None:
        """Store the database, and the largest number of searches; the oldest are deleted first."""
        self._database = database
        self._queries = queries

    def add(self, handle: str, search: CachedSearch, expires: float) -> None:
        """Store a search until a time in seconds since 1970.

        Raises:
            StoreError: it cannot be written.
        """
        data = to_bytes(search)
        if len(data) > MOST_BYTES:
            return
        self._database.run(
            lambda connection: connection.execute(
                "INSERT INTO searches VALUES (%s, %s, to_timestamp(%s)) ON CONFLICT DO NOTHING",
                [handle, data, expires],
            )
        )
        if random.randrange(_SWEEP_EVERY) == 0:
            self.sweep()

    def find(self, handle: str) -> tuple[CachedSearch, float] | None:
        """The search with this handle, and the seconds since 1970 at which it expires; ``None`` if unknown.

        Raises:
            StoreError: it cannot be read.
        """
        row = self._database.read(
            lambda connection: connection.execute(
                "SELECT data, extract(epoch FROM expires)::float8 FROM searches"
                " WHERE handle = %s AND expires > now()",
                [handle],
            ).fetchone()
        )
        if row is None:
            return None
        try:
            return from_bytes(row[0]), row[1]
        except UNREADABLE as error:  # of another version, while servers are upgraded
            log.warning("a search of another server cannot be read: %s", error)
            return None

    def sweep(self) -> None:
        """Delete the expired searches, and the oldest beyond the largest number."""
        self._database.run(
            lambda connection: connection.execute(
                "DELETE FROM searches WHERE expires <= now() OR expires <="
                " (SELECT expires FROM searches ORDER BY expires DESC OFFSET %s LIMIT 1)",
                [self._queries],
            )
        )

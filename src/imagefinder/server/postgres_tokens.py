"""Token buckets in PostgreSQL, for the rate limits of servers that share a database."""

from __future__ import annotations

import random

from imagefinder.stores.distributed.pool import Database

_SWEEP_EVERY = 1000  # calls

# The tokens before the call are those left by the last one, and what was added since then.
_TAKE = """
INSERT INTO rate_limits AS bucket (client, tokens, granted, at)
VALUES (%(client)s, %(limit)s - %(most)s, %(most)s, clock_timestamp())
ON CONFLICT (client) DO UPDATE SET (tokens, granted, at) = (
    SELECT before - given, given, clock_timestamp()
    FROM (SELECT before, CASE WHEN before >= 1 THEN least(floor(before), %(most)s) ELSE 0 END AS given
        FROM (SELECT least(%(limit)s, bucket.tokens
            + %(limit)s / 60.0 * extract(epoch FROM clock_timestamp() - bucket.at)) AS before) AS one) AS two)
RETURNING granted, tokens
"""


class PostgresTokens:
    """The buckets of all clients; one that was not used for a while is full, and its row is deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, client: str, most: int, *, per_minute: int) -> tuple[int, float]:
        """Take up to ``most`` tokens; returns their number, and the tokens that the bucket has now.

        Raises:
            StoreError: the database cannot be used.
        """
        values = {"client": client, "limit": float(per_minute), "most": float(min(most, per_minute))}
        row = self._database.run(lambda connection: connection.execute(_TAKE, values).fetchone())
        assert row is not None  # noqa: S101 - the statement returns a row
        if random.randrange(_SWEEP_EVERY) == 0:
            self.sweep()
        return int(row[0]), float(row[1])

    def sweep(self) -> None:
        """Delete the buckets that have been full again for long."""
        self._database.run(
            lambda connection: connection.execute(
                "DELETE FROM rate_limits WHERE at < clock_timestamp() - interval '5 minutes'"
            )
        )

"""Collections in a PostgreSQL database."""

from __future__ import annotations

from functools import partial

from imagefinder.core.collection_names import DEFAULT
from imagefinder.core.location import child
from imagefinder.stores.distributed.pool import Database
from imagefinder.stores.distributed.schema import OWNED, STORE, delete_some, drop_collection, prepare


class PostgresCatalogue:
    """The collections of a database, without the one named ``default``."""

    def __init__(self, database: Database, location: str) -> None:
        """Store the database and its URL."""
        self._database = database
        self._location = location

    def names(self) -> list[str]:
        """The names of all collections, sorted.

        Raises:
            StoreError: the database cannot be read.
        """
        if not prepare(self._database, STORE, create=False):
            return []
        query = "SELECT name FROM collections"
        rows = self._database.read(lambda connection: connection.execute(query).fetchall())
        return sorted(name for (name,) in rows if name != DEFAULT)

    def exists(self, name: str) -> bool:
        """Whether there is a collection with this name.

        Raises:
            StoreError: the database cannot be read.
        """
        if not prepare(self._database, STORE, create=False):
            return False
        query = "SELECT 1 FROM collections WHERE name = %s"
        return bool(self._database.read(lambda connection: connection.execute(query, [name]).fetchone()))

    def location(self, name: str) -> str:
        """The URL of the collection with this name."""
        return child(self._location, name)

    def check_deletable(self, name: str) -> None:
        """Every collection of the database may be deleted."""

    def delete(self, name: str) -> None:
        """Delete a collection; other processes see nothing of it from then on.

        Raises:
            StoreError: it cannot be deleted.
        """
        drop_collection(self._database, name)

    def remove_leftovers(self) -> None:
        """Delete the rows that interrupted deletions left behind; they are never read.

        Raises:
            StoreError: they cannot be deleted.
        """
        if not prepare(self._database, STORE, create=False):
            return
        # The rows of ``methods`` are deleted last.
        query = "SELECT DISTINCT collection FROM methods WHERE collection NOT IN (SELECT key FROM collections)"
        for (key,) in self._database.read(lambda connection: connection.execute(query).fetchall()):
            for table in (*OWNED, "methods"):
                while self._database.run(partial(delete_some, table=table, collection=key)):
                    pass

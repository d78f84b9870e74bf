"""Features and thumbnails as objects, whose names are in the rows."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence

from imagefinder.core.blobs import Blobs
from imagefinder.core.errors import ObjectsUnavailableError, SettingsError, StoreError
from imagefinder.stores.distributed.object_cache import ObjectCache
from imagefinder.stores.distributed.payloads import InRows, StoredBytes
from imagefinder.stores.distributed.pool import Connection, Database

IN_ROW = 9 << 10
"""Bytes up to which payloads stay in their rows: vectors of networks, for which a request would cost more."""

MARK = "collection"
"""Name of the object that shows that a place has the objects of a collection."""


class InObjects:
    """Stores payloads as objects below a folder of the collection, before the rows that name them.

    The names of objects are new for each payload. Objects are not deleted with their rows: what no row names is an
    orphan (``sweep.py``).

    Attributes:
        blobs: The object store.
    """

    def __init__(
        self,
        blobs: Blobs,
        database: Database,
        collection: int,
        *,
        in_row: int = IN_ROW,
        cache: ObjectCache | None = None,
    ) -> None:
        """Use an object store for a collection; nothing is sent yet.

        Args:
            blobs: The object store.
            database: The database with the rows.
            collection: Key of the collection.
            in_row: Bytes up to which payloads stay in their rows.
            cache: Popular objects on the disk of this machine.
        """
        self.blobs = blobs
        self._database = database
        self._collection = collection
        self._in_row = in_row
        self._cache = cache
        self._folder = ""
        self._lock = threading.Lock()

    def store(self, kind: str, parts: Sequence[bytes | None]) -> list[StoredBytes]:  # noqa: ARG002
        """The columns for new rows; the objects are durable on return.

        Raises:
            SettingsError: the objects of the collection are in another place.
        """
        stored = [
            StoredBytes(None, part)
            if part is None or len(part) <= self._in_row
            else StoredBytes(_new_name(), None)
            for part in parts
        ]
        pairs = zip(stored, parts, strict=True)
        objects = {one.object: part for one, part in pairs if one.object is not None and part is not None}
        if objects:
            folder = self.folder()
            self.blobs.put_new({f"{folder}/{name}": part for name, part in objects.items()})
        return stored

    def load(self, stored: Sequence[StoredBytes], *, fresh: bool = False) -> list[bytes | None]:
        """The bytes of rows; ``None`` for those whose object is missing.

        Raises:
            SettingsError: the objects of the collection are in another place.
        """
        wanted = [one.object for one in stored if one.object is not None and _is_name(one.object)]
        if not wanted:
            return [one.data for one in stored]
        folder = self.folder()
        found = self._read([f"{folder}/{name}" for name in wanted], None if fresh else self._cache)
        return [one.data if one.object is None else found.get(f"{folder}/{one.object}") for one in stored]

    def probe(self) -> None:
        """Request an object that does not exist, and so is in no cache.

        Raises:
            StoreUnavailableError: the object store does not answer.
            SettingsError: the objects of the collection are in another place.
        """
        self.blobs.get_many([f"{self.folder()}/{_new_name()}"])

    def _read(self, names: Sequence[str], cache: ObjectCache | None) -> dict[str, bytes]:
        """Existing objects by name."""
        if cache is None:
            return self.blobs.get_many(names)
        found = {name: data for name in names if (data := cache.get(name)) is not None}
        read = self.blobs.get_many([name for name in names if name not in found])
        for name, data in read.items():
            cache.offer(name, data)
        return found | read

    def names(self, *, older_than: float) -> Iterator[str]:
        """The names of the objects of the collection that were stored at least ``older_than`` seconds ago."""
        folder = self.folder()
        for name in self.blobs.names(folder, older_than=older_than):
            if name != f"{folder}/{MARK}":
                yield name[len(folder) + 1 :]

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects of the collection."""
        folder = self.folder()
        self.blobs.delete([f"{folder}/{name}" for name in names])

    def folder(self) -> str:
        """The folder of the collection among the objects; the first call compares the place with the recorded one.

        Raises:
            SettingsError: the objects of the collection are in another place.
        """
        with self._lock:
            if not self._folder:
                self._folder = self._checked_folder()
            return self._folder

    def _checked_folder(self) -> str:
        folder, place = _read_place(self._database, self._collection)
        mark = f"{folder}/{MARK}"
        if place is None:
            self.blobs.put_new({mark: folder.encode()})
        elif self._mark(mark, place) != folder.encode():
            raise _misplaced(place, self.blobs.location)
        recorded = self._database.write(lambda connection: self._record(connection, place))
        if recorded != self.blobs.location:  # another process was first
            raise _misplaced(recorded, self.blobs.location)
        return folder

    def _mark(self, name: str, place: str) -> bytes | None:
        try:
            return self.blobs.get_many([name]).get(name)
        except ObjectsUnavailableError:
            raise
        except StoreError as error:  # for example, there is no such bucket
            if place == self.blobs.location:
                raise
            raise _misplaced(place, self.blobs.location) from error

    def _record(self, connection: Connection, known: str | None) -> str:
        """Record this place unless another process changed the known one; returns the one that is recorded."""
        if known == self.blobs.location:
            return known
        connection.execute(
            "UPDATE collections SET objects = %s WHERE key = %s AND objects IS NOT DISTINCT FROM %s",
            [self.blobs.location, self._collection, known],
        )
        row = connection.execute("SELECT objects FROM collections WHERE key = %s", [self._collection]).fetchone()
        return str(row[0]) if row else ""


def in_rows(database: Database, collection: int) -> InRows:
    """Payloads of a collection without an object store.

    Raises:
        SettingsError: the collection has objects.
    """
    _, place = _read_place(database, collection)
    if place is not None:
        raise SettingsError(
            f"the features of this collection are in the object store {place}, which is not configured",
            hint=f"set objects to {_setting_of(place)} (IMAGEFINDER_OBJECTS)",
        )
    return InRows()


def _read_place(database: Database, collection: int) -> tuple[str, str | None]:
    """The folder of a collection, and the recorded place of its objects; ``None`` if it has none."""
    row = database.read(
        lambda connection: connection.execute(
            "SELECT folder, objects FROM collections WHERE key = %s", [collection]
        ).fetchone()
    )
    if row is None:
        return "", None
    return uuid.UUID(str(row[0])).hex, row[1]


def _misplaced(place: str, location: str) -> SettingsError:
    if place == location:
        return SettingsError(
            f"the object store {location} does not have the objects of this collection",
            hint="check the endpoint in the setting objects: it may be that of another server",
        )
    return SettingsError(
        f"the objects of this collection are in {place}, and {location} does not have them",
        hint=f"set objects to {_setting_of(place)}, or move the objects first",
    )


def _setting_of(place: str) -> str:
    """How the setting ``objects`` names a recorded place; where its server is, is not recorded."""
    return f"{place}?endpoint=..." if place.startswith("s3:") else place


def _new_name() -> str:
    name = uuid.uuid4().hex
    return f"{name[:2]}/{name}"


def _is_name(name: str) -> bool:
    """Whether a name, which may come from a damaged row, is one that ``_new_name`` returns."""
    return len(name) == 35 and name[2] == "/" and name.replace("/", "", 1).isalnum() and name.isascii()

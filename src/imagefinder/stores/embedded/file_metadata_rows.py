"""Read and write the table of file metadata, and find stacks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.records import Damage
from imagefinder.stores import codec, validation
from imagefinder.stores.embedded import schema
from imagefinder.stores.embedded.connections import Connections
from imagefinder.stores.embedded.feature_rows import chunks

_INSERT = f"INSERT INTO file_metadata (image, {schema.FILE_METADATA}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - names


class FileMetadataLookups:
    """The part of the store that keeps file metadata and finds stacks (``StoreFileMetadata``)."""

    _connections: Connections

    def put_file_metadata(self, made: Mapping[str, FileMetadata]) -> None:
        """Replace what files say about the images that exist."""
        valid = {i: validation.normalise_file_metadata(i, made[i]) for i in validation.valid_ids(list(made))}
        if not valid:
            return
        with self._connections.writing() as database:
            for image_id, found in valid.items():
                row = database.execute("SELECT key FROM images WHERE id = ?", (image_id,)).fetchone()
                if row:
                    database.execute("DELETE FROM file_metadata WHERE image = ?", row)
                    insert(database, row[0], image_id, found)

    def stacks(self, ids: Sequence[str]) -> dict[str, str]:
        """The stacks of the images that have one, by id."""
        found: dict[str, str] = {}
        valid = validation.valid_ids(ids)
        with self._connections.reading() as database:
            for some in chunks(valid):
                query = (
                    "SELECT id, stack FROM images JOIN file_metadata ON image = key"  # noqa: S608 - question marks
                    f" WHERE id IN ({', '.join('?' * len(some))}) AND stack <> ''"
                )
                found.update(database.execute(query, some))
        return found

    def stacked(self, stacks: Sequence[str]) -> dict[str, list[str]]:
        """The ids of the images of each of these stacks, ordered."""
        with self._connections.reading() as database:
            return _grouped(database, "stack", stacks)

    def burst(self, bursts: Sequence[str]) -> dict[str, list[str]]:
        """The ids of the images of each of these bursts, ordered."""
        with self._connections.reading() as database:
            return _grouped(database, "burst", bursts)


def insert(database: sqlite3.Connection, image: int, image_id: str, found: FileMetadata) -> None:
    """Insert what the file says about the image with this key, if it was read."""
    if found.stamp:
        stamp, stack, *rest = codec.file_metadata_values(image_id, found)
        database.execute(_INSERT, (image, stamp, stack or None, *rest))


def repeated(database: sqlite3.Connection) -> int:
    """Number of images that share a stack with an earlier one, so that they do not count."""
    return int(database.execute("SELECT stacked FROM totals").fetchone()[0])


_ACTUAL = "SELECT count(*) - count(DISTINCT stack) FROM file_metadata WHERE stack <> ''"


def check(connections: Connections, *, repair: bool) -> list[Damage]:
    """Find rows with a wrong checksum."""
    query = f"SELECT image, id, {schema.FILE_METADATA} FROM file_metadata NOT INDEXED JOIN images ON key = image"  # noqa: S608
    damaged = []
    with connections.reading() as database:
        database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        try:
            for image, image_id, stamp, stack, *values, checksum in database.execute(query):
                if not codec.is_intact_record((image_id, stamp, stack or "", *values), checksum):
                    damaged.append((image, str(image_id)))
        finally:
            database.text_factory = str
    if damaged and repair:
        with connections.writing() as database:
            database.executemany("DELETE FROM file_metadata WHERE image = ?", [(image,) for image, _ in damaged])
    repaired = "dropped; the next add of the source reads them again" if repair else ""
    return [
        Damage("record", f"the file metadata of image {image_id!r} are damaged", image_id, repaired=repaired)
        for _, image_id in damaged
    ]


def check_count(connections: Connections, *, repair: bool) -> list[Damage]:
    """Compare the number of images that share a stack with the rows."""
    with connections.writing() if repair else connections.reading() as database:
        (actual,) = database.execute(_ACTUAL).fetchone()
        stored = database.execute("SELECT stacked FROM totals").fetchall()
        if stored == [(actual,)]:
            return []
        if repair:
            database.execute("UPDATE totals SET stacked = ?", (actual,))
    message = f"the number of images that share a stack is {stored[0][0] if stored else None} instead of {actual}"
    return [Damage("counts", message, repaired="corrected" if repair else "")]


def _grouped(database: sqlite3.Connection, column: str, keys: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for some in chunks([key for key in dict.fromkeys(keys) if key]):
        query = (
            f"SELECT {column}, id FROM file_metadata JOIN images ON key = image"  # noqa: S608 - our own names
            f" WHERE {column} IN ({', '.join('?' * len(some))}) AND {column} <> '' ORDER BY id"
        )
        for key, image_id in database.execute(query, some):
            found.setdefault(key, []).append(image_id)
    return found

"""File metadata of images, and their stacks: columns of the table of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagefinder.core.file_metadata import FileMetadata
from imagefinder.stores import codec, validation
from imagefinder.stores.distributed.method_rows import IMAGES, add_counts
from imagefinder.stores.distributed.pool import Connection, Database

_VERSION = "SELECT count(*), sum(number) FROM counts WHERE collection = %s AND method = 0"
_REPEATED = "SELECT count(*) - count(DISTINCT stack) FROM images WHERE collection = %s AND stack <> ''"


class FileMetadataTable:
    """The part of the store that keeps file metadata and finds stacks (``StoreFileMetadata``)."""

    _database: Database
    _collection: int
    _counted_stacks: tuple[Any, int] = (None, 0)

    def put_file_metadata(self, made: Mapping[str, FileMetadata]) -> None:
        """Replace what files say about the images that exist."""
        valid = {i: validation.normalise_file_metadata(i, made[i]) for i in validation.valid_ids(list(made))}
        if valid:
            self._database.write(lambda connection: _update(connection, self._collection, valid))

    def stacks(self, ids: Sequence[str]) -> dict[str, str]:
        """The stacks of the images that have one, by id."""
        valid = [image_id.encode() for image_id in validation.valid_ids(ids)]
        query = "SELECT id, stack FROM images WHERE collection = %s AND id = ANY(%b) AND stack <> ''"
        rows = self._database.read(
            lambda connection: connection.execute(query, [self._collection, valid], binary=True).fetchall()
        )
        return {image_id.decode(): stack for image_id, stack in rows}

    def stacked(self, stacks: Sequence[str]) -> dict[str, list[str]]:
        """The ids of the images of each of these stacks, ordered."""
        return self._grouped("stack", stacks)

    def burst(self, bursts: Sequence[str]) -> dict[str, list[str]]:
        """The ids of the images of each of these bursts, ordered."""
        return self._grouped("burst", bursts)

    def _repeated(self) -> int:
        """Number of images that share a stack with an earlier one, so that they do not count."""
        # Every change of images or stacks adds a row to the counts; so does adding them up.
        version = self._database.read(lambda connection: self._one(connection, _VERSION))
        known, repeated = self._counted_stacks
        if known != version:
            (repeated,) = self._database.read(lambda connection: self._one(connection, _REPEATED))
            self._counted_stacks = version, repeated
        return repeated

    def _one(self, connection: Connection, query: str) -> Any:
        return connection.execute(query, [self._collection]).fetchone()

    def _grouped(self, column: str, keys: Sequence[str]) -> dict[str, list[str]]:
        wanted = [key for key in dict.fromkeys(keys) if key]
        query = (
            f"SELECT {column}, id FROM images WHERE collection = %s AND {column} = ANY(%s) AND {column} <> ''"
            " ORDER BY id"
        )
        rows = self._database.read(
            lambda connection: connection.execute(query, [self._collection, wanted], binary=True).fetchall()
        )
        found: dict[str, list[str]] = {}
        for key, image_id in rows:
            found.setdefault(key, []).append(image_id.decode())
        return found


def values(image_id: str, found: FileMetadata) -> tuple[Any, ...]:
    """The values of ``schema.FILE_METADATA`` and ``file_tags``; all ``None`` if the file was not read."""
    if not found.stamp:
        return (None,) * 6
    row = codec.file_metadata_values(image_id, found)
    return (*row, row[3])


def forget(connection: Connection, collection: int, image_id: bytes) -> None:
    """Drop what the file of an image says."""
    connection.execute(
        "UPDATE images SET file_stamp = NULL, stack = NULL, burst = NULL, properties = NULL,"
        " file_checksum = NULL, file_tags = NULL WHERE collection = %s AND id = %b",
        [collection, image_id],
    )


def _update(connection: Connection, collection: int, made: Mapping[str, FileMetadata]) -> None:
    add_counts(connection, collection, [(IMAGES, 0, 0)])
    for image_id in sorted(made):  # in one order, to prevent deadlocks
        connection.execute(
            "UPDATE images SET file_stamp = %s, stack = %s, burst = %s, properties = %s, file_checksum = %s,"
            " file_tags = %s::jsonb WHERE collection = %s AND id = %b",
            [*values(image_id, made[image_id]), collection, image_id.encode()],
        )

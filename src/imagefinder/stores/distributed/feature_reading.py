"""Features of one method, read and decoded by several threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imagefinder.core.features import concatenate
from imagefinder.core.records import Changes, Cursor, GalleryBlock
from imagefinder.stores.distributed import feed
from imagefinder.stores.distributed.feature_rows import Keys, block_of, read_keys
from imagefinder.stores.distributed.method_rows import RegisteredMethod
from imagefinder.stores.distributed.parallel import Parallel
from imagefinder.stores.distributed.payloads import Payloads
from imagefinder.stores.distributed.pool import Database

_FEWEST = 16
"""Images of the smallest part that is worth a thread."""


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """The stored features of one method; a ``FeatureSource`` of the cache.

    Attributes:
        database: The database.
        collection: Key of the collection.
        method: Name of the method.
        row: The method.
        payloads: The bytes of rows.
        parallel: Threads for large requests. Most of the time is spent without Python's lock: in the server, and
            in decompressing.
    """

    PARTS: ClassVar[int] = 4
    """Largest number of parts of a request."""

    database: Database
    collection: int
    method: str
    row: RegisteredMethod
    payloads: Payloads
    parallel: Parallel

    @property
    def key(self) -> int:
        """Key of the method."""
        return self.row.key

    def changes(self, since: Cursor | None) -> tuple[Changes, int]:
        """Changes since a cursor, and the number of images after them."""
        return self.database.read(
            lambda connection: feed.read_changes(connection, self.collection, self.method, since)
        )

    def load(self, keys: Keys, cursor: Cursor = "") -> tuple[Keys, GalleryBlock]:  # noqa: ARG002 - of the protocol
        """Load the features of keys (ascending) that still exist, in the same order."""
        parts = min(self.PARTS, len(keys) // _FEWEST)
        if parts < 2:
            return self._part(keys)
        found = self.parallel.map(self._part, np.array_split(keys, parts))
        ids = tuple(image_id for _, block in found for image_id in block.ids)
        features = concatenate(self.row.spec, [block.features for _, block in found])
        return np.concatenate([some for some, _ in found]), GalleryBlock(ids, features)

    def _part(self, keys: Keys) -> tuple[Keys, GalleryBlock]:
        rows = self.database.read(lambda connection: read_keys(connection, self.collection, self.row.key, keys))
        return block_of(self.method, self.row.spec, rows, self.payloads)

"""The contract of object stores; ``imagefinder.testing.blobs`` provides its test suite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

MOST_BLOB_BYTES = 512 << 20
"""Maximum size of an object; larger ones cannot be stored, and are not read."""

_NAME = re.compile(r"(?!.{401})[a-z0-9][a-z0-9_.-]*(?:/[a-z0-9][a-z0-9_.-]*)*")


class Blobs(Protocol):
    """An object store: immutable values under names, which many machines share.

    A name is a path of lower-case letters, digits, ``.``, ``_`` and ``-``, of at most 400 characters. Every method
    that calls the store raises ``ObjectsUnavailableError`` if it does not answer in time, ``StoreError`` if it
    refuses access, and ``ValueError`` for a malformed name.
    """

    @property
    def location(self) -> str:
        """The place for messages: a URL without secrets."""
        ...

    def put_new(self, objects: Mapping[str, bytes]) -> None:
        """Store objects by name; all of them are durable on return.

        An object is never overwritten. To store the same content under the same name again has no effect, so a
        call whose answer was lost can be repeated. If the call raises, some of the objects may have been stored.

        Raises:
            StoreError: an object with one of the names, and other content, exists.
        """
        ...

    def get_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """The objects with these names, read in parallel; those that do not exist are left out.

        Objects that exceed ``MOST_BLOB_BYTES`` are left out as well.
        """
        ...

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; names that do not exist are ignored."""
        ...

    def names(self, prefix: str = "", *, older_than: float = 0.0) -> Iterator[str]:
        """The names of existing objects, in arbitrary order.

        Args:
            prefix: Only names that begin with this path; empty for all names.
            older_than: Only objects that were stored at least this many seconds ago.
        """
        ...

    def close(self) -> None:
        """End all threads and connections. Repeated calls have no effect."""
        ...


def check_names(names: Iterable[str]) -> None:
    """Check the names of objects.

    Raises:
        ValueError: a name is malformed.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid name of an object")

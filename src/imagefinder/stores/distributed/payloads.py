"""Where the bytes of features and thumbnails are: in their rows, or in objects that the rows name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Two columns of a row: one of them is set, or none for an image without a thumbnail.

    Attributes:
        object: Name of the object that contains the bytes.
        data: The bytes.
    """

    object: str | None
    data: bytes | None


class Payloads(Protocol):
    """Stores the bytes of rows, and loads them."""

    def store(self, kind: str, parts: Sequence[bytes | None]) -> list[StoredBytes]:
        """The columns for new rows; called before the transaction that writes them, so objects exist first.

        Args:
            kind: Kind of the bytes: the name of a method, or ``thumbnails``.
            parts: The bytes of each row; ``None`` for a row without any.
        """
        ...

    def load(self, stored: Sequence[StoredBytes], *, fresh: bool = False) -> list[bytes | None]:
        """The bytes of rows; ``None`` also for a row whose object is missing.

        Args:
            stored: The columns of the rows.
            fresh: Read objects themselves, and not a cache of them.

        Raises:
            StoreUnavailableError: the object store does not answer.
        """
        ...


class InRows:
    """All bytes are in the rows."""

    def store(self, kind: str, parts: Sequence[bytes | None]) -> list[StoredBytes]:  # noqa: ARG002 - of the protocol
        """The columns for new rows."""
        return [StoredBytes(None, part) for part in parts]

    def load(self, stored: Sequence[StoredBytes], *, fresh: bool = False) -> list[bytes | None]:  # noqa: ARG002
        """The bytes of rows."""
        return [one.data for one in stored]

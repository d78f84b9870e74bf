"""The parts of the store that count, filter and list: images, recorded removals and failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from imagefinder.core.filters import Filter
from imagefinder.core.listing import BY_ID, EVERYTHING, Group, GroupBy, ListPosition, Order, Selection, merged
from imagefinder.core.records import Failure, ImageRecord, Removal
from imagefinder.stores import validation
from imagefinder.stores.distributed import failure_rows, image_rows, listing_rows, method_rows, removal_rows
from imagefinder.stores.distributed.file_metadata_rows import FileMetadataTable
from imagefinder.stores.distributed.pool import Connection

P = ParamSpec("P")
T = TypeVar("T")


class Listings(FileMetadataTable):
    """Counts and listings of a collection, and the tables of removals and failures."""

    def count(self, where: Filter | None = None, *, stacks: bool = False) -> int:
        """The number of images, or stacks, that match the filter."""
        if where is None:
            images = self._read(method_rows.read_counts).get(method_rows.IMAGES, (0, 0))[0]
            return images - (self._repeated() if stacks else 0)
        found = self.matching(where)
        return len({stack or (i,) for i, stack in found.items()}) if stacks else len(found)

    def matching(self, where: Filter, ids: Sequence[str] | None = None) -> dict[str, str]:
        """The ids, among the given ones, of the images that match the filter, with their stacks."""
        valid = None if ids is None else validation.valid_ids(ids)
        return self._database.read(
            lambda connection: dict(image_rows.matching_ids(connection, self._collection, where, valid))
        )

    def listing(
        self,
        selection: Selection = EVERYTHING,
        order: Order = BY_ID,
        *,
        after: ListPosition | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> list[ImageRecord]:
        """A page of matching records in this order."""
        validation.check_position(after)
        listing_rows.write_due(self._database, self._collection)
        part = (offset, limit)
        if not selection.reads_records:
            return self._read(listing_rows.read_page, selection, order, after, part=part)
        return self._database.snapshot(
            lambda connection: listing_rows.read_matching(
                connection, self._collection, selection, order, after, part=part
            )
        )

    def groups(
        self,
        by: GroupBy,
        selection: Selection = EVERYTHING,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Group]:
        """The groups of the matching images, ordered by value."""
        validation.check_text("start group", after or "")
        listing_rows.write_due(self._database, self._collection)
        if selection.reads_records:
            counts = self._database.snapshot(
                lambda connection: listing_rows.count_matching(connection, self._collection, by, selection)
            )
        else:
            counts = self._read(listing_rows.read_counts, by, selection)
        return merged(counts, by, after, limit)

    def edit_metadata(self, ids: Sequence[str], edit: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> int:
        """Replace the metadata of the images that exist; returns how many changed."""
        valid = validation.valid_ids(ids)
        return self._write(image_rows.edit_metadata, valid, edit) if valid else 0

    def copies(self, sha256: str) -> list[ImageRecord]:
        """The images with these bytes, ordered by id."""
        validation.check_text("sha256", sha256)
        return self._read(image_rows.read_copies, sha256)

    def equivalents(self, image_id: str) -> list[str]:
        """The stored ids that differ from this one at most in Unicode normalisation."""
        if not validation.is_valid_id(image_id):
            return []
        return self._read(image_rows.read_equivalents, image_id)

    def removals(
        self,
        *,
        after: str = "",
        limit: int | None = None,
        ids: Sequence[str] | None = None,
        sha256: str | None = None,
    ) -> list[Removal]:
        """Recorded removals, ordered by id and URI."""
        validation.check_text("start id", after)
        valid = None if ids is None else validation.valid_ids(ids)
        return self._read(removal_rows.read_removals, after, limit, ids=valid, sha256=sha256)

    def forget_removals(self, ids: Sequence[str]) -> int:
        """Delete recorded removals; returns how many there were."""
        valid = validation.valid_ids(ids)
        return self._write(removal_rows.forget_removals, valid) if valid else 0

    def record_removals(self, removals: Sequence[Removal]) -> None:
        """Record removals of another store."""
        validation.check_removals(removals)
        if removals:
            self._write(removal_rows.insert_removals, removals)

    def move_removal(self, removal: Removal, moved: Removal) -> None:
        """Replace a recorded removal by that of the new id and URI of its file; an unknown one is ignored."""
        self._write(removal_rows.move_removal, removal, moved)

    def record_failures(self, failures: Sequence[Failure], *, copied: bool = False) -> None:
        """Record images that could not be indexed; a repeated id counts another attempt."""
        plain = validation.normalise_failures(failures)
        if plain:
            self._database.write(
                lambda connection: failure_rows.write_failures(connection, self._collection, plain, copied=copied)
            )

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """Recorded failures ordered by id, after the id ``after``."""
        validation.check_text("start id", after)
        return self._read(failure_rows.read_failures, after, limit)

    def forget_failures(self, ids: Sequence[str]) -> None:
        """Delete recorded failures; unknown ids are ignored."""
        valid = validation.valid_ids(ids)
        if valid:
            self._write(failure_rows.forget_failures, valid)

    def _read(self, work: Callable[Concatenate[Connection, int, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run statements that read from the tables of this collection."""
        return self._database.read(lambda connection: work(connection, self._collection, *args, **kwargs))

    def _write(self, work: Callable[Concatenate[Connection, int, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a transaction on the tables of this collection."""
        return self._database.write(lambda connection: work(connection, self._collection, *args, **kwargs))

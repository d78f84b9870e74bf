"""Sorted listings of images, by the tables ``listing`` and ``tags``."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from imagefinder.core.listing import (
    BY_ID,
    COLUMNS,
    EVERYTHING,
    PERIODS,
    Group,
    GroupBy,
    ListPosition,
    Order,
    Selection,
    counted_by,
    listing_row,
    merged,
)
from imagefinder.core.records import ImageRecord
from imagefinder.stores import validation
from imagefinder.stores.conditions import SqlCondition, joined
from imagefinder.stores.embedded import image_rows, sql_filter
from imagefinder.stores.embedded.connections import Connections

_RECORDS = "images ON images.key = {} LEFT JOIN file_metadata ON file_metadata.image = images.key"
_OF_LISTING, _OF_DUE = _RECORDS.format("listing.image"), _RECORDS.format("listing_due.image")
"""The tables of records, to join."""
_DUE = 5000
"""Number of rows that are written in one transaction."""
_MOST = 2**31


class ListingLookups:
    """The part of the store that lists images."""

    _connections: Connections

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
        start, most = min(max(offset, 0), _MOST), min(max(limit, 0), _MOST)
        write_due(self._connections)
        with self._connections.reading() as database:
            if selection.reads_records:
                found = (record for _, record in _matching(database, "''", selection, order, after))
                return list(islice(found, start, start + most))
            return _page(database, selection, order, after, (start, most))

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
        write_due(self._connections)
        with self._connections.reading() as database:
            if selection.reads_records:
                values = (value for value, _ in _matching(database, _value(by), selection, BY_ID, None))
                counts = list(Counter(values).items())
            else:
                counts = _counts(database, by, selection)
        return merged(((str(value), number) for value, number in counts), by, after, limit)

    def edit_metadata(self, ids: Sequence[str], edit: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> int:
        """Replace the metadata of the images that exist; returns how many changed."""
        valid = validation.valid_ids(ids)
        with self._connections.writing() as database:
            return image_rows.edit_metadata(database, valid, edit)


def write_due(connections: Connections) -> None:
    """Write the rows of the images that are due.

    Raises:
        CollectionCorruptError: the record of one of them does not match its checksum.
    """
    while True:
        with connections.reading() as database:
            if database.execute("SELECT 1 FROM listing_due LIMIT 1").fetchone() is None:
                return
        with connections.writing() as database:
            if _write_some(database) < _DUE:
                return


def _write_some(database: sqlite3.Connection) -> int:
    rows = database.execute(
        f"SELECT images.key, {image_rows.QUALIFIED} FROM listing_due CROSS JOIN {_OF_DUE}"  # noqa: S608
        " ORDER BY listing_due.image LIMIT ?",
        (_DUE,),
    ).fetchall()
    for key, *row in rows:
        write(database, key, image_rows.record_of(row))
    return len(rows)


_WRITE = f"INSERT INTO listing (image, id, {', '.join(COLUMNS)}) VALUES ({', '.join('?' * (len(COLUMNS) + 2))})"  # noqa: S608


def write(database: sqlite3.Connection, key: int, record: ImageRecord) -> None:
    """Write the rows of an image with this key."""
    for table in ("listing", "tags", "listing_due"):
        database.execute(f"DELETE FROM {table} WHERE image = ?", (key,))  # noqa: S608 - our own names
    row = listing_row(record)
    database.execute(_WRITE, (key, record.id, *(getattr(row, name) for name in COLUMNS)))
    database.executemany("INSERT INTO tags (tag, image) VALUES (?, ?)", [(tag, key) for tag in row.tags])


def _page(
    database: sqlite3.Connection,
    selection: Selection,
    order: Order,
    after: ListPosition | None,
    part: tuple[int, int],
) -> list[ImageRecord]:
    """A page that starts after a number of images; the records of those are not read."""
    condition = joined([*_conditions(selection), *_after(order, after)], " AND ")
    columns = ", ".join(_columns(order))
    part_of = (
        f"SELECT image, {columns} FROM listing WHERE {condition.sql} ORDER BY {_order(order)} LIMIT ? OFFSET ?"  # noqa: S608
    )
    query = (
        f"SELECT {image_rows.QUALIFIED} FROM ({part_of}) AS listing CROSS JOIN {_OF_LISTING}"  # noqa: S608
        f" ORDER BY {_order(order, 'listing.')}"
    )
    start, most = part
    return [image_rows.record_of(row) for row in database.execute(query, (*condition.values, most, start))]


def _counts(database: sqlite3.Connection, by: GroupBy, selection: Selection) -> list[tuple[Any, int]]:
    """Values of ``counted_by(by)`` and numbers of images."""
    condition, tables = joined(_conditions(selection), " AND "), "listing"
    if by == "tag":
        tables = "tags" if selection == EVERYTHING else "tags JOIN listing USING (image)"
    query = f"SELECT {_value(by)} AS value, count(*) FROM {tables} WHERE {condition.sql} GROUP BY value"  # noqa: S608
    return database.execute(query, condition.values).fetchall()


def _matching(
    database: sqlite3.Connection, value: str, selection: Selection, order: Order, after: ListPosition | None
) -> Iterator[tuple[str, ImageRecord]]:
    """Yield a value and the record of each matching image, in order; SQLite preselects the records."""
    preselected = [sql_filter.on_metadata(selection.where), sql_filter.on_text(selection.contains)]
    condition = joined([*_conditions(selection), *_after(order, after), *preselected], " AND ")
    tables = "tags JOIN listing USING (image)" if "tags" in value else "listing"
    query = (
        f"SELECT {value}, {image_rows.QUALIFIED} FROM {tables} CROSS JOIN {_OF_LISTING}"  # noqa: S608
        f" WHERE {condition.sql} ORDER BY {_order(order, 'listing.')}"
    )
    for found, *row in database.execute(query, condition.values):
        record = image_rows.record_of(row)
        if selection.accepts_record(record):
            yield found, record


def _value(by: GroupBy) -> str:
    """The expression of ``counted_by(by)``."""
    return "tags.tag" if by == "tag" else f"listing.{counted_by(by)}"


def _order(order: Order, table: str = "") -> str:
    direction = "DESC" if order.descending else "ASC"
    return ", ".join(f"{table}{column} {direction}" for column in _columns(order))


def _columns(order: Order) -> tuple[str, ...]:
    """The columns to sort by, which begin an index; the last ones are those of a position."""
    match order.sort:
        case "id":
            return ("id",)
        case "taken":
            return ("day", "taken", "id")
        case other:
            return (other, "id")


def _after(order: Order, after: ListPosition | None) -> list[SqlCondition]:
    if after is None:
        return []
    columns = _columns(order)
    values = (str(after.value)[: PERIODS["day"]], after.value, after.id)[-len(columns) :]
    names, marks = ", ".join(f"listing.{column}" for column in columns), ", ".join("?" * len(columns))
    return [SqlCondition(f"({names}) {'<' if order.descending else '>'} ({marks})", values)]


# Stacks of several images are few: they are found in an index, and only their ids are read.
_FURTHER = """
    SELECT image FROM (
        SELECT one.image, row_number() OVER (PARTITION BY one.stack ORDER BY images.id) AS place
        FROM (SELECT stack FROM file_metadata WHERE stack > '' GROUP BY stack HAVING count(*) > 1) AS several
        CROSS JOIN file_metadata AS one ON one.stack = several.stack
        CROSS JOIN images ON images.key = one.image
    ) WHERE place > 1
"""
"""The images that share a stack with an image of a smaller id."""


def _conditions(selection: Selection) -> list[SqlCondition]:
    """The conditions on the rows of ``listing``."""
    found = [SqlCondition("true")]
    if selection.folder:
        # A slash is the character before 0.
        found.append(
            SqlCondition(
                "(listing.folder = ? OR (listing.folder >= ? AND listing.folder < ?))",
                (selection.folder, f"{selection.folder}/", f"{selection.folder}0"),
            )
        )
    if selection.taken:
        day = selection.taken[: PERIODS["day"]]
        found.append(
            SqlCondition(
                "(listing.day >= ? AND listing.day < ? AND listing.taken >= ? AND listing.taken < ?)",
                (day, f"{day}~", selection.taken, f"{selection.taken}~"),
            )
        )
    for name, values in selection.choices.items():
        # Without the plus, SQLite could choose the index of counts, and sort all images that it finds there.
        found.append(SqlCondition(f"+listing.{name} IN ({', '.join('?' * len(values))})", values))
    if selection.stack:
        found.append(
            SqlCondition("listing.image IN (SELECT image FROM file_metadata WHERE stack = ?)", (selection.stack,))
        )
    if selection.collapsed:
        found.append(SqlCondition(f"listing.image NOT IN ({_FURTHER})"))
    tagged = "listing.image IN (SELECT image FROM tags WHERE tag = ?)"
    return found + [SqlCondition(tagged, (tag,)) for tag in selection.tags]

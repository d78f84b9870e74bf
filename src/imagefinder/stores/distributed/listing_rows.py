"""Sorted listings of images, by the table ``listing``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from imagefinder.core.listing import COLUMNS, GroupBy, ListPosition, Order, Selection, counted_by, listing_row
from imagefinder.core.records import ImageRecord
from imagefinder.stores.conditions import SqlCondition, joined
from imagefinder.stores.distributed import image_rows, sql_filter
from imagefinder.stores.distributed.pool import Connection, Database

_DUE = 1000
"""Number of rows that are written in one transaction."""
_READ = 500
"""Number of preselected records that are read at a time."""
_MOST = 2**31
_UPDATED = ", ".join(f"{name} = excluded.{name}" for name in ("id", *COLUMNS, "keywords"))


def write_due(database: Database, collection: int) -> None:
    """Write the rows of the images that are due.

    Raises:
        CollectionCorruptError: the record of one of them does not match its checksum.
    """
    due = "SELECT 1 FROM listing_due WHERE collection = %s LIMIT 1"
    while database.read(lambda connection: connection.execute(due, [collection]).fetchone()):
        if database.write(lambda connection: _write_some(connection, collection)) < _DUE:
            return


def _write_some(connection: Connection, collection: int) -> int:
    # The locks keep other processes from deleting these images, and from writing the same rows.
    rows = connection.execute(
        f"SELECT images.key, {image_rows.RECORD} FROM listing_due"
        " JOIN images ON images.collection = listing_due.collection AND images.key = listing_due.image"
        " WHERE listing_due.collection = %s ORDER BY listing_due.image LIMIT %s"
        " FOR UPDATE OF listing_due FOR KEY SHARE OF images",
        [collection, _DUE],
        binary=True,
    ).fetchall()
    if not rows:
        return 0
    marks = ", ".join("%b" if name in _TEXTS else "%s" for name in COLUMNS)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO listing (collection, image, id, {', '.join(COLUMNS)}, keywords)"
            f" VALUES (%s, %s, %b, {marks}, %b::bytea[])"
            f" ON CONFLICT (collection, image) DO UPDATE SET {_UPDATED}",
            [_row(collection, key, image_rows.record_of(row)) for key, *row in rows],
        )
    connection.execute(
        "DELETE FROM listing_due WHERE collection = %s AND image = ANY(%s)", [collection, [row[0] for row in rows]]
    )
    return len(rows)


_TEXTS = frozenset(COLUMNS) - {"size", "added", "rating"}
"""The columns with texts, which are bytes."""


def _row(collection: int, key: int, record: ImageRecord) -> list[Any]:
    properties = listing_row(record)
    values = [getattr(properties, name) for name in COLUMNS]
    return [
        *(collection, key, record.id.encode()),
        *(_stored(value) for value in values),
        [tag.encode() for tag in properties.tags],
    ]


def read_page(
    connection: Connection,
    collection: int,
    selection: Selection,
    order: Order,
    after: ListPosition | None,
    *,
    part: tuple[int, int],
) -> list[ImageRecord]:
    """A page that starts after a number of images; the records of those are not read."""
    condition = joined([*_conditions(collection, selection), *_after(order, after)], " AND ")
    start, most = part
    rows = connection.execute(
        f"SELECT {image_rows.RECORD} FROM (SELECT listing.* FROM listing WHERE {condition.sql}"
        f" ORDER BY {_order(order)} LIMIT %s OFFSET %s) AS listing"
        " JOIN images ON images.collection = listing.collection AND images.key = listing.image"
        f" ORDER BY {_order(order)}",
        [*condition.values, min(max(most, 0), _MOST), min(max(start, 0), _MOST)],
        binary=True,
    ).fetchall()
    return [image_rows.record_of(row) for row in rows]


def read_counts(
    connection: Connection, collection: int, by: GroupBy, selection: Selection
) -> list[tuple[str, int]]:
    """Values of ``counted_by(by)`` and numbers of images that meet the conditions on properties."""
    condition = joined(_conditions(collection, selection), " AND ")
    rows = connection.execute(
        f"SELECT {_value(by)} AS value, count(*) FROM listing{_TAGS if by == 'tag' else ''} WHERE {condition.sql}"
        " GROUP BY value",
        condition.values,
        binary=True,
    ).fetchall()
    return [(_text(value), number) for value, number in rows]


def read_matching(
    connection: Connection,
    collection: int,
    selection: Selection,
    order: Order,
    after: ListPosition | None,
    *,
    part: tuple[int, int],
) -> list[ImageRecord]:
    """A page of a selection whose records must be read."""
    start, most = max(part[0], 0), max(part[1], 0)
    found = (record for _, record in _matching(connection, collection, selection, order=order, after=after))
    return list(islice(found, min(start, _MOST), min(start + most, _MOST)))


def count_matching(
    connection: Connection, collection: int, by: GroupBy, selection: Selection
) -> list[tuple[str, int]]:
    """Like ``read_counts``, for a selection whose records must be read."""
    found = _matching(connection, collection, selection, order=Order(), after=None, by=by)
    return list(Counter(value for value, _ in found).items())


def _matching(
    connection: Connection,
    collection: int,
    selection: Selection,
    *,
    order: Order,
    after: ListPosition | None,
    by: GroupBy | None = None,
) -> Iterator[tuple[str, ImageRecord]]:
    """Yield the group and the record of each matching image, in order; PostgreSQL preselects the records."""
    preselected = [sql_filter.on_metadata(selection.where), sql_filter.on_text(selection.contains)]
    while True:
        condition = joined([*_conditions(collection, selection), *_after(order, after), *preselected], " AND ")
        # Whole images: all tags of an image are in one portion.
        rows = connection.execute(
            f"SELECT {_value(by) if by else 'NULL'}, {image_rows.RECORD}"
            f" FROM (SELECT listing.* FROM listing JOIN images"
            " ON images.collection = listing.collection AND images.key = listing.image"
            f" WHERE {condition.sql} ORDER BY {_order(order)} LIMIT %s) AS listing"
            " JOIN images ON images.collection = listing.collection AND images.key = listing.image"
            f"{_TAGS_IF_ANY if by == 'tag' else ''} ORDER BY {_order(order)}",
            [*condition.values, _READ],
            binary=True,
        ).fetchall()
        record = None
        for value, *row in rows:
            record = image_rows.record_of(row)
            if selection.accepts_record(record) and not (by == "tag" and value is None):
                yield _text(b"" if value is None else value), record
        if record is None:
            return
        after = order.position(record)


_TAGS = " CROSS JOIN LATERAL unnest(listing.keywords) AS tag"
_TAGS_IF_ANY = " LEFT JOIN LATERAL unnest(listing.keywords) AS tag ON true"


def _value(by: GroupBy) -> str:
    """The expression of ``counted_by(by)``."""
    return "tag" if by == "tag" else f"listing.{counted_by(by)}"


def _text(value: bytes | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _order(order: Order) -> str:
    direction = "DESC" if order.descending else "ASC"
    columns = ["id"] if order.sort == "id" else [order.sort, "id"]
    return ", ".join(f"listing.{column} {direction}" for column in columns)


def _after(order: Order, after: ListPosition | None) -> list[SqlCondition]:
    if after is None:
        return []
    comparison = "<" if order.descending else ">"
    if order.sort == "id":
        return [SqlCondition(f"listing.id {comparison} %b", (after.id.encode(),))]
    mark = "%b" if order.sort in _TEXTS else "%s"
    return [
        SqlCondition(
            f"(listing.{order.sort}, listing.id) {comparison} ({mark}, %b)",
            (_stored(after.value), after.id.encode()),
        )
    ]


def _conditions(collection: int, selection: Selection) -> list[SqlCondition]:
    """The conditions on the rows of ``listing``."""
    found = [SqlCondition("listing.collection = %s", (collection,))]
    if selection.folder:
        folder = selection.folder.encode()
        # A slash is the character before 0.
        found.append(
            SqlCondition(
                "(listing.folder = %b OR (listing.folder >= %b AND listing.folder < %b))",
                (folder, folder + b"/", folder + b"0"),
            )
        )
    if selection.taken:
        taken = selection.taken.encode()
        found.append(SqlCondition("(listing.taken >= %b AND listing.taken < %b)", (taken, taken + b"~")))
    for name, values in selection.choices.items():
        stored = [_stored(value) for value in values]
        found.append(SqlCondition(f"listing.{name} = ANY({'%b' if name in _TEXTS else '%s'})", (stored,)))
    if selection.tags:
        found.append(SqlCondition("listing.keywords @> %b::bytea[]", ([tag.encode() for tag in selection.tags],)))
    if selection.stack:
        of_stack = "SELECT key FROM images WHERE collection = %s AND stack = %s AND stack <> ''"
        found.append(SqlCondition(f"listing.image IN ({of_stack})", (collection, selection.stack)))
    if selection.collapsed:
        found.append(SqlCondition(f"listing.image NOT IN ({_FURTHER})", (collection,)))
    return found


_FURTHER = """
    SELECT key FROM (
        SELECT key, row_number() OVER (PARTITION BY stack ORDER BY id) AS place
        FROM images WHERE collection = %s AND stack <> ''
    ) AS stacked WHERE place > 1
"""
"""The images that share a stack with an image of a smaller id."""


def _stored(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value

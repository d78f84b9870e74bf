"""Watermarks: up to which change the copy of a table of vectors in another engine has followed it."""

from __future__ import annotations

from dataclasses import dataclass

from imagefinder.stores.distributed.pool import Connection


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far the copy of the vectors of a model is; the copy has all rows that ``behind`` does not match.

    Attributes:
        name: Name of the copy.
        since: The smallest transaction whose vectors may be missing.
        copied: Key up to which a first copy, which cannot be searched yet, has vectors; ``None``: it is finished.
        seen: Time of the last change to the copy, by the clock of its engine.
    """

    name: str
    since: int
    copied: int | None
    seen: int

    def behind(self) -> tuple[str, list[object]]:
        """A condition for the vectors that the copy may lack, and its parameters."""
        if self.copied is None:
            return "txid >= %s::text::xid8", [str(self.since)]
        return "true", []


NOTHING = Watermark("", 0, None, 0)
"""The watermark of a copy that does not exist: it lacks all vectors."""


def read(connection: Connection, model: int) -> Watermark:
    """The watermark of a model; ``NOTHING`` if there is none."""
    row = connection.execute(
        "SELECT name, since::text::bigint, copied, seen FROM vector_watermarks WHERE model = %s", [model]
    ).fetchone()
    return Watermark(*row) if row else NOTHING


def count_behind(connection: Connection, table: str, mark: Watermark, most: int) -> int:
    """The number of vectors of a table that its copy may lack, up to ``most``."""
    condition, values = mark.behind()
    row = connection.execute(
        f"SELECT count(*) FROM (SELECT FROM {table} WHERE {condition} LIMIT {int(most)}) AS rows", values
    ).fetchone()
    return int(row[0]) if row else 0


def write(connection: Connection, model: int, mark: Watermark) -> None:
    """Set the watermark of a model."""
    connection.execute(
        "INSERT INTO vector_watermarks (model, name, since, copied, seen) VALUES (%s, %s, %s::text::xid8, %s, %s)"
        " ON CONFLICT (model) DO UPDATE SET name = excluded.name, since = excluded.since,"
        " copied = excluded.copied, seen = excluded.seen",
        [model, mark.name, str(mark.since), mark.copied, mark.seen],
    )


def running(connection: Connection) -> int:
    """The smallest transaction that may still be running: all earlier ones are visible, or were undone."""
    row = connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint").fetchone()
    assert row is not None  # noqa: S101 - the statement returns a row
    return int(row[0])


def without_model(connection: Connection) -> list[tuple[int, str]]:
    """Keys of models that do not exist any more, and the names of their copies."""
    return connection.execute(
        "SELECT model, name FROM vector_watermarks"
        " WHERE NOT EXISTS (SELECT FROM vector_models WHERE vector_models.key = model) ORDER BY model"
    ).fetchall()


def delete(connection: Connection, model: int) -> None:
    """Delete the watermark of a model."""
    connection.execute("DELETE FROM vector_watermarks WHERE model = %s", [model])

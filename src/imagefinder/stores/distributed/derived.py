"""Read and write the table of derived data."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from imagefinder.core.records import Damage, DerivedData
from imagefinder.stores import validation
from imagefinder.stores.distributed.method_rows import deleted
from imagefinder.stores.distributed.pool import Connection, Database
from imagefinder.stores.versions import version_of

# If a transaction is repeated, the data may be there already, by the same writer.
_MINE = "derived.version = %(replaces)s OR derived.writer = %(writer)s"


def read(connection: Connection, collection: int, name: str) -> DerivedData | None:
    """Derived data by name; ``None`` if there are none."""
    row = connection.execute(
        "SELECT data, version FROM derived WHERE collection = %s AND name = %s",
        [collection, validation.check_derived_name(name)],
        binary=True,
    ).fetchone()
    return DerivedData(*row) if row else None


def write(database: Database, collection: int, name: str, data: bytes, replaces: str | None) -> str | None:
    """Write derived data; ``None`` if ``replaces`` is not the stored version.

    Raises:
        CollectionMovedError: the collection was deleted; not always reported if ``replaces`` is given.
    """
    version, writer = version_of(data), uuid.uuid4()
    values = {
        "collection": collection,
        "name": validation.check_derived_name(name),
        "version": version,
        "writer": writer,
        "data": data,
        "replaces": replaces,
    }
    if replaces:  # there must be data
        statement = (
            "UPDATE derived SET version = %(version)s, writer = %(writer)s, data = %(data)b"
            f" WHERE collection = %(collection)s AND name = %(name)s AND ({_MINE})"
        )
    else:
        statement = (
            "INSERT INTO derived (collection, name, version, writer, data)"
            " SELECT key, %(name)s, %(version)s, %(writer)s, %(data)b FROM collections WHERE key = %(collection)s"
            " ON CONFLICT (collection, name) DO UPDATE SET"
            " version = excluded.version, writer = excluded.writer, data = excluded.data"
            f"{'' if replaces is None else f' WHERE {_MINE}'}"
        )
    written = database.run(lambda connection: connection.execute(statement, values).rowcount)
    if replaces is None and not written:
        raise deleted()
    return version if written else None


def check(
    database: Database, collection: int, is_valid: Callable[[str, bytes], bool], *, repair: bool
) -> list[Damage]:
    """Find derived data that are not valid, and delete them if ``repair``."""
    names = database.read(
        lambda connection: connection.execute(
            "SELECT name FROM derived WHERE collection = %s ORDER BY name", [collection]
        ).fetchall()
    )
    found = []
    for (name,) in names:
        stored = database.read(lambda connection: read(connection, collection, name))  # noqa: B023 - called here
        if stored is None or is_valid(name, stored.data):
            continue
        if repair:
            database.run(lambda connection: _delete(connection, collection, name))  # noqa: B023 - called here
        repaired = "deleted; they are recomputed when needed" if repair else ""
        found.append(Damage("derived", f"the derived data {name} are damaged", repaired=repaired))
    return found


def _delete(connection: Connection, collection: int, name: str) -> None:
    connection.execute("DELETE FROM derived WHERE collection = %s AND name = %s", [collection, name])

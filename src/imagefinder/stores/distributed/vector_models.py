"""Models that turn features into vectors: their rows, and the tables of their vectors."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

import numpy as np

from imagefinder.core.errors import CollectionBusyError
from imagefinder.core.vector_table import Halves
from imagefinder.stores.distributed.pool import Connection, Database

SCHEMA = "imagefinder"
"""The schema of the tables, ``schema.SCHEMA``, which this module cannot import."""


def table_of(model: int) -> str:
    """Name of the table of a model."""
    return f"vectors_{int(model)}"


def read_data(connection: Connection, model: int) -> bytes | None:
    """The data of a model; ``None`` if it does not exist."""
    row = connection.execute("SELECT data FROM vector_models WHERE key = %s", [model], binary=True).fetchone()
    return row[0] if row else None


def insert(connection: Connection, model: int, keys: Sequence[int], texts: Sequence[str]) -> None:
    """Insert vectors, as text; existing ones of the same keys are kept."""
    connection.execute(
        f"INSERT INTO {table_of(model)} (key, v) SELECT key, v::halfvec FROM unnest(%s::bigint[], %s::text[])"
        " AS new (key, v) ON CONFLICT DO NOTHING",
        [list(keys), list(texts)],
    )


def read_vectors(connection: Connection, model: int, keys: Sequence[int]) -> dict[int, Halves]:
    """Key -> vector, of those that exist."""
    rows = connection.execute(
        f"SELECT key, v::real[] FROM {table_of(model)} WHERE key = ANY(%s)", [list(keys)], binary=True
    ).fetchall()
    return {key: np.array(values, dtype=np.float16) for key, values in rows}


def existing_keys(connection: Connection, model: int, keys: Sequence[int]) -> set[int]:
    """Those keys of vectors whose features exist."""
    rows = connection.execute(
        "SELECT features.key FROM features JOIN vector_models"
        " ON vector_models.collection = features.collection AND vector_models.method = features.method"
        " WHERE vector_models.key = %s AND features.key = ANY(%s)",
        [model, list(keys)],
        binary=True,
    )
    return {key for (key,) in rows}


def texts_of(vectors: Halves) -> list[str]:
    """Vectors as PostgreSQL reads them."""
    return [str(values) for values in vectors.tolist()]


def drop_vectors(database: Database, collection: int, method: int | None = None) -> None:
    """Delete the models of a collection, or of one method, with their tables."""
    condition, values = "collection = %s", [collection]
    if method is not None:
        condition, values = f"{condition} AND method = %s", [collection, method]
    database.run(lambda connection: connection.execute(f"DELETE FROM vector_models WHERE {condition}", values))
    drop_tables(database)


def drop_tables(database: Database) -> None:
    """Delete the tables of models that do not exist any more, except those in use and those of other users.

    This is not part of the transactions that delete models: a backup reads all tables, for hours, and writers
    would have to wait for it.
    """
    rows = database.read(
        lambda connection: connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE nspname = %s AND relkind = 'r' AND relname ~ '^vectors_[0-9]+$'"
            " AND pg_has_role(relowner, 'USAGE')"
            " AND NOT EXISTS (SELECT FROM vector_models WHERE relname = 'vectors_' || key)",
            [SCHEMA],
        ).fetchall()
    )
    for (table,) in rows:
        with contextlib.suppress(CollectionBusyError):
            database.write(partial(_drop, table))


def _drop(table: str, connection: Connection) -> None:
    connection.execute("SELECT set_config('lock_timeout', '1s', true)")
    connection.execute(f"DROP TABLE IF EXISTS {table}")

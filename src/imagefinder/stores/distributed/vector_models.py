"""Models that turn features into vectors: their rows, and the tables of their vectors."""

from __future__ import annotations

from collections.abc import Sequence

from imagefinder.core.vector_table import Halves
from imagefinder.stores.distributed.pool import Connection, Database


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


def texts_of(vectors: Halves) -> list[str]:
    """Vectors as PostgreSQL reads them."""
    return [str(values) for values in vectors.tolist()]


def drop_vectors(database: Database, collection: int, method: int | None = None) -> None:
    """Delete the models of a collection, or of one method, with their tables."""

    def work(connection: Connection) -> None:
        if method is None:
            delete_models(connection, "collection = %s", [collection])
        else:
            delete_models(connection, "collection = %s AND method = %s", [collection, method])

    database.write(work)


def delete_models(connection: Connection, condition: str, values: Sequence[object]) -> None:
    """Delete the models that match a condition, with their tables."""
    rows = connection.execute(f"DELETE FROM vector_models WHERE {condition} RETURNING key", values).fetchall()
    for (model,) in rows:
        connection.execute(f"DROP TABLE IF EXISTS {table_of(model)}")

"""Tables of vectors, which propose candidates: one for each model, with an HNSW graph (extension ``vector``).

A table belongs to one model, so that a filter by collection and method never spoils the graph, dimensions may
differ, and a replaced model disappears at once. Vectors of removed features stay until ``tidy``; searches leave
them out, so that no deletion has to know the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from psycopg import errors

from imagefinder.core.errors import MethodNotIndexedError, StoreError
from imagefinder.core.filters import Filter
from imagefinder.core.vector_table import Halves, VectorModel, VectorTable
from imagefinder.stores.distributed import sql_filter
from imagefinder.stores.distributed.feature_rows import matching_keys
from imagefinder.stores.distributed.method_rows import lock_methods, read_methods
from imagefinder.stores.distributed.pool import Connection, Database
from imagefinder.stores.distributed.vector_models import (
    SCHEMA,
    drop_tables,
    existing_keys,
    insert,
    read_data,
    read_vectors,
    table_of,
    texts_of,
)

OLDEST_EXTENSION = (0, 8)
"""Version of the extension that applies filters while it searches a graph."""

EXACT_ROWS = 20_000
"""Up to this many vectors are compared one by one, which takes no longer than a search of the graph."""

EF_SEARCH = 400
"""Number of vectors that a search of the graph keeps; more find more of the nearest, in more time."""

EF_CONSTRUCTION, LINKS = 128, 16

SCANNED = 100_000
"""Maximum number of vectors that a search of the graph with a filter visits."""

SPARE = 16
"""Number of vectors of removed features that a search may meet."""

_MOST_PRESELECTED = 20_000  # images whose metadata are read for a filter
_GONE = 0.1
_COUNT_SECONDS, _SECONDS = 600.0, 24 * 3600.0
_MEMORY = 2 << 30

Found: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Keys and inner products of vectors."""


class PgVectorTable:
    """A ``VectorTable`` in PostgreSQL."""

    def __init__(self, database: Database, collection: int, method: str) -> None:
        """Create the table of a method, which need not be registered yet; nothing is read.

        Args:
            database: The database.
            collection: Key of the collection.
            method: Name of the method.
        """
        self._database = database
        self._collection = collection
        self._method = method

    def models(self) -> list[VectorModel]:
        """All models of the registered method, the newest first."""
        rows = self._database.read(
            lambda connection: connection.execute(
                "SELECT vector_models.key, trained_on, complete, gaps FROM vector_models"
                " JOIN methods ON methods.key = method WHERE methods.collection = %s AND name = %b"
                " ORDER BY vector_models.key DESC",
                [self._collection, self._method.encode()],
            ).fetchall()
        )
        return [VectorModel(*row) for row in rows]

    def data(self, model: int) -> bytes | None:
        """The data of a model; ``None`` if it was replaced meanwhile."""
        return self._database.read(lambda connection: read_data(connection, model))

    def check_support(self) -> None:
        """Check that the database can store vectors, and that this user may create tables for them."""

        def work(connection: Connection) -> str:
            select = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
            found = connection.execute(select).fetchone()
            if found is None:
                try:
                    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                except (errors.FeatureNotSupported, errors.UndefinedFile):
                    return "install pgvector on its server (package postgresql-18-pgvector)"
                except errors.InsufficientPrivilege:
                    return "let its owner run: CREATE EXTENSION vector"
                found = connection.execute(select).fetchone()
            if found and tuple(map(int, found[0].split(".")[:2])) < OLDEST_EXTENSION:
                return f"its version is {found[0]}; let its owner run: ALTER EXTENSION vector UPDATE"
            (may_create,) = connection.execute(
                "SELECT has_schema_privilege(%s, 'CREATE')", [SCHEMA]
            ).fetchone() or (False,)
            if not may_create:
                return f"the user may not create tables: GRANT CREATE ON SCHEMA {SCHEMA} TO its role"
            return ""

        if hint := self._database.run(work):
            raise StoreError(
                f"the database {self._database.shown} cannot store vectors, which fast searches require: "
                f"they need the extension vector {'.'.join(map(str, OLDEST_EXTENSION))} or newer, and a table",
                hint=f"{hint}; searches with mode exact do not require it",
            )

    def create(self, data: bytes, *, dim: int, trained_on: int) -> int:
        """Create a model and its table, after the transactions that do not know it."""

        def work(connection: Connection) -> int:
            # Waits for the writers that have read the models (``VectorWriter``), and makes later ones wait.
            lock_methods(connection, self._collection, exclusive=True)
            methods = read_methods(connection, self._collection)
            if self._method not in methods:
                raise MethodNotIndexedError(self._method, methods)
            method = methods[self._method].key
            connection.execute(
                "DELETE FROM vector_models WHERE collection = %s AND method = %s AND NOT complete",
                [self._collection, method],
            )
            row = connection.execute(
                "INSERT INTO vector_models (collection, method, trained_on, data) VALUES (%s, %s, %s, %s)"
                " RETURNING key",
                [self._collection, method, trained_on, data],
                binary=True,
            ).fetchone()
            assert row is not None  # noqa: S101 - the statement returns a row
            connection.execute(
                f"CREATE TABLE {table_of(row[0])} (key bigint PRIMARY KEY, v halfvec({int(dim)}) NOT NULL,"
                " txid xid8 NOT NULL DEFAULT pg_current_xact_id())"
            )
            # In the row itself: a search then reads one page for each vector.
            connection.execute(f"ALTER TABLE {table_of(row[0])} ALTER COLUMN v SET STORAGE PLAIN")
            return int(row[0])

        return self._database.write(work)

    def missing(self, model: int, *, after: int = -1, limit: int) -> NDArray[np.int64]:
        """Keys of up to ``limit`` features without a vector, ascending, greater than ``after``."""
        rows = self._database.read(
            lambda connection: connection.execute(
                f"SELECT features.key {_missing(model)} AND features.key > %s ORDER BY features.key LIMIT %s",
                [model, after, limit],
                binary=True,
            ).fetchall()
        )
        return np.array([key for (key,) in rows], dtype=np.int64)

    def count_missing(self, model: int) -> int:
        """The number of features without a vector."""
        return self._count(f"SELECT count(*) {_missing(model)}", [model])

    def insert(self, model: int, keys: NDArray[np.int64], vectors: Halves) -> None:
        """Add vectors; existing ones of the same keys are kept."""
        texts = texts_of(vectors)
        self._database.write(lambda connection: insert(connection, model, keys.tolist(), texts))

    def finish(self, model: int, *, gaps: int) -> bool:
        """Mark a model as complete unless there are new gaps, and delete the older ones."""

        def work(connection: Connection) -> bool:
            lock_methods(connection, self._collection, exclusive=True)
            done = connection.execute(
                "UPDATE vector_models SET complete = true WHERE key = %s AND gaps = %s", [model, gaps]
            ).rowcount
            connection.execute(
                "DELETE FROM vector_models USING vector_models AS newer WHERE newer.key = %s AND newer.complete"
                " AND vector_models.collection = newer.collection AND vector_models.method = newer.method"
                " AND vector_models.key < newer.key",
                [model],
            )
            return bool(done)

        done = self._database.write(work)
        drop_tables(self._database)
        return done

    def tidy(self, model: int) -> bool:
        """Delete vectors of removed features, and build the graph of a large table."""
        done, rows = self.delete_removed(model)
        if rows > EXACT_ROWS:
            graph = f"USING hnsw (v halfvec_ip_ops) WITH (m = {LINKS}, ef_construction = {EF_CONSTRUCTION})"
            done |= self.build_index(model, f"{table_of(model)}_graph", graph, rows=rows)
        return done

    def delete_removed(self, model: int) -> tuple[bool, int]:
        """Delete vectors of removed features, if there are many; returns whether, and the number of the others."""
        drop_tables(self._database)
        rows = self._count(f"SELECT count(*) FROM {table_of(model)}", [])
        gone = self._count(f"SELECT count(*) {gone_from(model)}", [model])
        if is_due := gone > _GONE * rows:
            self.delete_gone(model)
        return is_due, rows - gone

    def delete_gone(self, model: int) -> None:
        """Delete vectors of removed features."""
        self._database.write(
            lambda connection: connection.execute(f"DELETE {gone_from(model)}", [model]), seconds=_SECONDS
        )

    def nearest(self, model: int, queries: Halves, n: int, where: Filter | None = None) -> list[Found]:
        """Keys and inner products of the ``n`` best vectors of existing features for each query."""
        texts = texts_of(queries)
        if where is not None:
            return self._database.write(
                lambda connection: [self._matching(connection, model, text, n, where) for text in texts]
            )
        found, wanted = self._near(model, texts, n + SPARE), n + SPARE
        while any(len(keys) == wanted and alive.sum() < n for keys, _, alive in found):
            wanted *= 4
            found = self._near(model, texts, wanted)
        return [best(keys[alive], products[alive], n) for keys, products, alive in found]

    def vectors(self, model: int, keys: Sequence[int]) -> dict[int, Halves]:
        """Key -> vector, of those that exist."""
        return self._database.read(lambda connection: read_vectors(connection, model, keys))

    def verify(self, model: int) -> list[str]:
        """The vectors are searched where they are stored, so there is nothing to compare."""
        del model
        return []

    def nbytes(self, model: int) -> int:
        """Bytes of the vectors and of the graph, on disk."""
        row = self._database.read(
            lambda connection: connection.execute(
                "SELECT pg_total_relation_size(%s::regclass)", [table_of(model)]
            ).fetchone()
        )
        return int(row[0]) if row else 0

    # -- parts ---------------------------------------------------------------------------------------------

    def _near(
        self, model: int, queries: Sequence[str], n: int
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]]:
        """Keys and products of about the ``n`` best vectors for each query, and whether their features exist."""

        def work(connection: Connection) -> tuple[list[list[tuple[int, float]]], set[int]]:
            _search_graph(connection, n)
            rows = [
                connection.execute(
                    f"SELECT key, v <#> %s FROM {table_of(model)} ORDER BY v <#> %s LIMIT %s",
                    [query, query, n],
                    binary=True,
                ).fetchall()
                for query in queries
            ]
            keys = [key for of_query in rows for key, _ in of_query]
            return rows, existing_keys(connection, model, keys)

        found, existing = self._database.write(work)
        results = []
        for rows in found:
            keys = np.array([key for key, _ in rows], dtype=np.int64)
            products = -np.array([distance for _, distance in rows], dtype=np.float64)
            results.append((keys, products, np.array([key in existing for key, _ in rows], dtype=np.bool_)))
        return results

    def _matching(
        self, connection: Connection, model: int, query: str, n: int, where: Filter
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Keys and inner products of the ``n`` best vectors whose images match a filter, or of about as many."""
        (method,) = connection.execute(
            "SELECT method FROM vector_models WHERE key = %s", [model], binary=True
        ).fetchone() or (0,)
        wanted = n
        while True:
            rows = self._preselected(connection, model, query, wanted, where)
            keys = np.array([key for key, _ in rows], dtype=np.int64)
            matching = matching_keys(connection, self._collection, method, keys, where)
            if len(matching) >= n or len(rows) < wanted or wanted >= _MOST_PRESELECTED:
                break
            wanted *= 4
        kept = np.isin(keys, matching)
        return keys[kept][:n], -np.array([distance for _, distance in rows], dtype=np.float64)[kept][:n]

    def _preselected(
        self, connection: Connection, model: int, query: str, n: int, where: Filter
    ) -> list[tuple[int, float]]:
        """Keys and negative products of the ``n`` best vectors whose images may match a filter, best first."""
        condition = sql_filter.on_metadata(where)
        statement = (
            f"SELECT vectors.key, v <#> %s AS distance FROM {table_of(model)} AS vectors"
            " JOIN features ON features.key = vectors.key JOIN vector_models"
            " ON vector_models.collection = features.collection AND vector_models.method = features.method"
            " JOIN images ON images.collection = features.collection AND images.key = features.image"
            f" WHERE vector_models.key = %s AND {condition.sql} ORDER BY v <#> %s LIMIT %s"
        )
        values = [query, model, *condition.values, query, n]
        _search_graph(connection, n)
        connection.execute(
            "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true),"
            " set_config('hnsw.max_scan_tuples', %s, true)",
            [str(SCANNED)],
        )
        rows = connection.execute(statement, values, binary=True).fetchall()
        if len(rows) < n:  # the graph was searched in vain, so few images match: compare all of them
            connection.execute("SELECT set_config('enable_indexscan', 'off', true)")
            rows = connection.execute(statement, values, binary=True).fetchall()
            connection.execute("SELECT set_config('enable_indexscan', 'on', true)")
        return sorted(rows, key=lambda row: (row[1], row[0]))

    def _count(self, statement: str, values: Sequence[object]) -> int:
        """The number that a statement returns, which may take long."""
        row = self._database.write(
            lambda connection: connection.execute(statement, values).fetchone(), seconds=_COUNT_SECONDS
        )
        return int(row[0]) if row else 0

    def has_index(self, name: str) -> bool:
        """Whether an index of the table exists and is complete."""
        row = self._database.read(
            lambda connection: connection.execute(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name]
            ).fetchone()
        )
        return bool(row and row[0])

    def _is_own(self, model: int) -> bool:
        """Whether this user may add an index to the table: it belongs to the user that created the model."""
        row = self._database.read(
            lambda connection: connection.execute(
                "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(%s)",
                [table_of(model)],
            ).fetchone()
        )
        return bool(row and row[0])

    def build_index(self, model: int, name: str, definition: str, *, rows: int) -> bool:
        """Build an index of the table while others read and write; returns whether there was none, and may be.

        Args:
            model: Key of the model.
            name: Name of the index.
            definition: What follows the name of the table in the statement.
            rows: Number of rows.
        """
        if self.has_index(name) or not self._is_own(model):
            return False
        settings = {
            "statement_timeout": "0",
            "lock_timeout": "0",
            "maintenance_work_mem": f"{min(_MEMORY, (64 << 20) + rows * 4096) >> 10}kB",
            "max_parallel_maintenance_workers": "0",  # their shared memory is often limited to 64 MB in containers
        }
        with self._database.connection(seconds=_SECONDS) as connection:
            for setting, value in settings.items():
                connection.execute("SELECT set_config(%s, %s, false)", [setting, value])
            try:
                connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # of an interrupted build
                connection.execute(f"CREATE INDEX CONCURRENTLY {name} ON {table_of(model)} {definition}")
            finally:
                if not connection.closed:
                    for setting in settings:
                        connection.execute(f"RESET {setting}")
        return True


class VectorTables(Protocol):
    """The tables of vectors of a collection, and the engine that searches them."""

    def table(self, method: str) -> VectorTable:
        """The vectors of a method, which need not be registered."""
        ...

    def written(self, features: int) -> None:
        """Register a transaction that wrote this number of features."""
        ...

    def check(self, seconds: float) -> None:
        """Check that the engine answers within ``seconds``.

        Raises:
            StoreError: it does not.
        """
        ...

    def measures(self) -> Mapping[str, float]:
        """Numbers about the engine (``SupportsMonitoring``)."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


class PgVectors:
    """``VectorTables`` that the database itself searches."""

    def __init__(self, database: Database, collection: int) -> None:
        self._database = database
        self._collection = collection

    def table(self, method: str) -> PgVectorTable:
        """The vectors of a method, which need not be registered."""
        return PgVectorTable(self._database, self._collection, method)

    def written(self, features: int) -> None:
        """The transaction wrote the vectors as well."""

    def check(self, seconds: float) -> None:
        """The database is checked by others."""

    def measures(self) -> Mapping[str, float]:
        """There are none besides those of the database."""
        return {}

    def close(self) -> None:
        """The database is closed by others."""


def _missing(model: int) -> str:
    return (
        "FROM vector_models JOIN features ON features.collection = vector_models.collection"
        " AND features.method = vector_models.method WHERE vector_models.key = %s"
        f" AND NOT EXISTS (SELECT FROM {table_of(model)} AS stored WHERE stored.key = features.key)"
    )


def gone_from(model: int) -> str:
    """The part of a statement that names the vectors of removed features as ``stored``."""
    return (
        f"FROM {table_of(model)} AS stored WHERE NOT EXISTS (SELECT FROM features JOIN vector_models"
        " ON vector_models.collection = features.collection AND vector_models.method = features.method"
        " WHERE vector_models.key = %s AND features.key = stored.key)"
    )


def _search_graph(connection: Connection, n: int) -> None:
    """Let this transaction search graphs thoroughly; the limit of pgvector is 1,000."""
    connection.execute("SELECT set_config('hnsw.ef_search', %s, true)", [str(min(1000, max(EF_SEARCH, n)))])


def best(keys: NDArray[np.int64], products: NDArray[np.float64], n: int) -> Found:
    """The ``n`` vectors with the highest products, best first."""
    order = np.argsort(-products, kind="stable")[:n]
    return keys[order], products[order]

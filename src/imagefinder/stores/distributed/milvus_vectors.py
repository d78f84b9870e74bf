"""Tables of vectors that are searched by Milvus: the tables stay in PostgreSQL, and Milvus has a copy of each.

Writers write to PostgreSQL only, in the transaction of the image. When thousands of vectors are new, one process,
under a lease, copies them to Milvus, lets it build their graph, and moves the watermark. A search finds what is
before the watermark with Milvus, and compares the vectors after it one by one in PostgreSQL. It leaves out those
of removed features.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ShortlistUnavailableError, StoreError
from imagefinder.core.filters import Filter
from imagefinder.core.store_parts import Lease
from imagefinder.core.vector_table import Halves
from imagefinder.stores.distributed import leases, watermarks
from imagefinder.stores.distributed.feature_rows import matching_keys
from imagefinder.stores.distributed.milvus import MOST_FOUND, MilvusServer
from imagefinder.stores.distributed.monitoring import Probe
from imagefinder.stores.distributed.pool import Connection, Database
from imagefinder.stores.distributed.vector_models import existing_keys, read_vectors, table_of, texts_of
from imagefinder.stores.distributed.vectors import SPARE, Found, PgVectorTable, best, gone_from
from imagefinder.stores.distributed.watermarks import NOTHING, Watermark

MOST_BEHIND = 100_000
"""Maximum number of vectors that a search compares in PostgreSQL because Milvus lacks them; it fails if there are
more."""

FOLLOWED_FROM = 10_000
"""Number of new vectors from which they are copied. Until Milvus has built a graph of vectors, it finds only about
half of the nearest ones, so they are copied in large parts; up to this number, comparing all takes as long."""

_COPIED_AT_ONCE = 1000
_LEASE_SECONDS = 60.0
_MOST_COUNTED = 1_000_000
_POLLED_SECONDS, _LOADED_SECONDS = 0.5, 3.0
_PAUSE = 10.0  # seconds after a failure
_SAMPLE = 64
_TOLERANCE = 1e-3


class MilvusCopies:
    """The copies of the vectors of a collection in Milvus; thread-safe."""

    def __init__(self, server: MilvusServer, database: Database, collection: int) -> None:
        """Copy nothing yet.

        Args:
            server: The server.
            database: The database with the vectors.
            collection: Key of the collection.
        """
        self.server = server
        self._database = database
        self._collection = collection
        self._probe = Probe(server.check, self._silent)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._not_before = 0.0
        self._written = 0

    def table(self, method: str) -> MilvusVectorTable:
        """The vectors of a method, which need not be registered."""
        return MilvusVectorTable(self, self._database, self._collection, method)

    def written(self, features: int) -> None:
        """Register a transaction that wrote features; from time to time, copy their vectors in the background."""
        with self._lock:
            self._written += features
            is_due = self._written >= _COPIED_AT_ONCE
        if is_due:
            self.start()

    def start(self) -> None:
        """Copy in the background what Milvus lacks, unless this process does so already; returns immediately."""
        with self._lock:
            is_busy = self._thread is not None and self._thread.is_alive()
            if is_busy or self._stop.is_set() or time.monotonic() < self._not_before:
                return
            self._written = 0
            self._thread = threading.Thread(target=self._follow_all, name="copy to Milvus", daemon=True)
            self._thread.start()

    def check(self, seconds: float) -> None:
        """Check that Milvus answers within ``seconds``.

        Raises:
            ShortlistUnavailableError: it does not, or refuses.
        """
        self._probe.check(seconds)

    def measures(self) -> Mapping[str, float]:
        """The number of vectors that Milvus lacks."""

        def work(connection: Connection) -> float:
            models = connection.execute(
                "SELECT key FROM vector_models WHERE collection = %s", [self._collection]
            ).fetchall()
            return float(
                sum(
                    watermarks.count_behind(
                        connection, table_of(model), watermarks.read(connection, model), _MOST_COUNTED
                    )
                    for (model,) in models
                )
            )

        return {"vectors_behind": self._database.read(work)}

    def close(self) -> None:
        """End the background thread; what it has not copied yet, a later one copies."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(5.0)

    def follow(self, model: int, *, finish: bool = True) -> bool:
        """Copy what is new of the vectors of a model, if it is much, unless another process does so.

        Args:
            model: Key of the model.
            finish: Let Milvus build the graph of what was copied; else, only continue a first copy.

        Returns:
            Whether there was anything to copy.

        Raises:
            ShortlistUnavailableError: the server does not answer in time, or refuses.
        """
        mark = self.watermark(model)
        if mark != NOTHING and not self.server.has(mark.name):
            self._database.run(partial(watermarks.delete, model=model))
            mark = NOTHING
        table = table_of(model)
        count = self._database.read(
            lambda connection: watermarks.count_behind(connection, table, mark, FOLLOWED_FROM)
        )
        lease = None
        if count >= FOLLOWED_FROM:
            lease = leases.obtain(self._database, self._collection, f"copy-{model}", _LEASE_SECONDS)
        if lease is None:
            return False
        try:
            if mark == NOTHING:
                mark = self._create(model)
            else:
                mark = self.watermark(model)  # now that no other process moves it
                self.server.load(mark.name)
            self._copy(model, mark, lease, finish=finish)
            return True
        finally:
            lease.release()

    def watermark(self, model: int) -> Watermark:
        """The watermark of the copy of a model; ``NOTHING`` if it is that of a lost state of the database."""
        mark = self._database.read(lambda connection: watermarks.read(connection, model))
        return mark if mark.name == self.name_of(model) else NOTHING

    def name_of(self, model: int) -> str:
        """The name of the copy of a model; another one after the database was restored from a backup."""
        row = self._database.read(
            lambda connection: connection.execute(
                "SELECT replace(history::text, '-', '') FROM collections WHERE key = %s", [self._collection]
            ).fetchone()
        )
        return f"imagefinder_{row[0] if row else ''}_{int(model)}"

    def drop_unused(self) -> None:
        """Delete the copies of models that do not exist any more, of all collections in the database."""
        for model, name in self._database.read(watermarks.without_model):
            self.server.drop(name)
            self._database.run(partial(watermarks.delete, model=model))

    def _silent(self, seconds: float) -> ShortlistUnavailableError:
        return ShortlistUnavailableError(
            f"the vector database {self.server.place} did not answer within {seconds:g} s",
            hint="check that it runs",
        )

    def _create(self, model: int) -> Watermark:
        """An empty copy, and its watermark."""
        name, table = self.name_of(model), table_of(model)

        def work(connection: Connection) -> tuple[int, int]:
            (dim,) = connection.execute(
                "SELECT atttypmod FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'v'", [table]
            ).fetchone() or (0,)
            return int(dim), watermarks.running(connection)

        dim, since = self._database.read(work)
        self.server.drop(name)
        self.server.create(name, dim)
        mark = Watermark(name, since, -1, 0)
        self._database.run(partial(watermarks.write, model=model, mark=mark))
        return mark

    def _copy(self, model: int, mark: Watermark, lease: Lease, *, finish: bool) -> None:
        """Copy all vectors behind a watermark, first those of earlier transactions."""
        while mark.copied is not None and (rows := self._rows(model, "key > %s ORDER BY key", [mark.copied])):
            if not self._renew(lease):
                return
            seen = self._send(model, mark, rows)
            mark = self._moved(model, replace(mark, copied=rows[-1][0], seen=seen))
        if not finish:
            return
        since, last = self._database.read(watermarks.running), (-1, mark.since)
        while rows := self._rows(
            model, "(txid, key) > (%s::text::xid8, %s) ORDER BY txid, key", [str(last[1]), last[0]]
        ):
            if not self._renew(lease):
                return
            mark, last = replace(mark, seen=self._send(model, mark, rows)), rows[-1]
        self.server.flush(mark.name)
        while not self.server.is_indexed(mark.name):
            if self._stop.wait(_POLLED_SECONDS) or not lease.renew():
                return
        # The nodes that search take some seconds to load the graph.
        if not self._stop.wait(_LOADED_SECONDS):
            self._moved(model, replace(mark, since=since, copied=None))

    def _renew(self, lease: Lease) -> bool:
        return not self._stop.is_set() and lease.renew()

    def _rows(self, model: int, condition: str, values: Sequence[object]) -> list[tuple[int, int]]:
        """Keys and transactions of the next vectors that match a condition, in its order."""
        statement = f"SELECT key, txid::text::bigint FROM {table_of(model)} WHERE {condition}"
        return self._database.read(
            lambda connection: connection.execute(
                f"{statement} LIMIT {_COPIED_AT_ONCE}", list(values), binary=True
            ).fetchall()
        )

    def _send(self, model: int, mark: Watermark, rows: Sequence[tuple[int, int]]) -> int:
        """Copy the vectors of rows; returns the time of the last change."""
        keys = [key for key, _ in rows]
        vectors = self._database.read(lambda connection: read_vectors(connection, model, keys))
        if not vectors:
            return mark.seen
        return max(mark.seen, self.server.put(mark.name, list(vectors), np.stack([*vectors.values()])))

    def _moved(self, model: int, mark: Watermark) -> Watermark:
        self._database.run(partial(watermarks.write, model=model, mark=mark))
        return mark

    def _follow_all(self) -> None:
        """Follow all models of the collection; a search reports what fails."""
        try:
            rows = self._database.read(
                lambda connection: connection.execute(
                    "SELECT key FROM vector_models WHERE collection = %s ORDER BY key", [self._collection]
                ).fetchall()
            )
            for (model,) in rows:
                self.follow(model)
        except StoreError:
            self._not_before = time.monotonic() + _PAUSE


class MilvusVectorTable(PgVectorTable):
    """A ``VectorTable`` in PostgreSQL that Milvus searches."""

    def __init__(self, copies: MilvusCopies, database: Database, collection: int, method: str) -> None:
        """Create the table of a method, which need not be registered yet; nothing is read.

        Args:
            copies: The copies of the collection in Milvus.
            database: The database.
            collection: Key of the collection.
            method: Name of the method.
        """
        super().__init__(database, collection, method)
        self._copies = copies
        self._server = copies.server
        self._inserted = 0  # vectors since the last ones were copied

    def check_support(self) -> None:
        """Check that PostgreSQL can store vectors, and that Milvus answers."""
        super().check_support()
        self._server.check()

    def create(self, data: bytes, *, dim: int, trained_on: int) -> int:
        """Create a model and its table, with an index of what is new."""
        model = super().create(data, dim=dim, trained_on=trained_on)
        self._index_transactions(model, 0)
        return model

    def insert(self, model: int, keys: NDArray[np.int64], vectors: Halves) -> None:
        """Add vectors, and begin to copy them."""
        super().insert(model, keys, vectors)
        self._inserted += len(keys)
        if self._inserted >= _COPIED_AT_ONCE:
            self._inserted = 0
            self._copies.follow(model, finish=False)

    def finish(self, model: int, *, gaps: int) -> bool:
        """Mark a model as complete unless there are new gaps, and delete the older ones with their copies."""
        self._copies.follow(model)
        while self._is_far_behind(model):  # another process copies
            time.sleep(_POLLED_SECONDS)
            self._copies.follow(model)
        done = super().finish(model, gaps=gaps)
        self._copies.drop_unused()
        return done

    def tidy(self, model: int) -> bool:
        """Delete vectors of removed features, and copy what is new, if it is much.

        Returns:
            Whether there was anything to delete or to copy.
        """
        done, rows = self.delete_removed(model)
        self._index_transactions(model, rows)
        done |= self._copies.follow(model)
        self._copies.drop_unused()
        return done

    def delete_gone(self, model: int) -> None:
        """Delete vectors of removed features, in Milvus first."""
        mark = self._copies.watermark(model)
        rows = self._database.read(
            lambda connection: connection.execute(f"SELECT stored.key {gone_from(model)}", [model]).fetchall()
        )
        keys = [key for (key,) in rows] if mark != NOTHING else []
        for begin in range(0, len(keys), _COPIED_AT_ONCE):
            self._server.delete(mark.name, keys[begin : begin + _COPIED_AT_ONCE])
        super().delete_gone(model)

    def nearest(self, model: int, queries: Halves, n: int, where: Filter | None = None) -> list[Found]:
        """Keys and inner products of the ``n`` best vectors of existing features for each query.

        With a filter, Milvus proposes more and more vectors, up to its limit. If too few of them match, so few
        images match that PostgreSQL compares all of those.
        """
        wanted = min(MOST_FOUND, n + SPARE if where is None else 4 * n)
        while True:
            found = [
                (keys, products, self._wanted(model, keys, where))
                for keys, products in self._found(model, queries, wanted)
            ]
            if not any(len(keys) >= wanted and kept.sum() < n for keys, _, kept in found):
                return [best(keys[kept], products[kept], n) for keys, products, kept in found]
            if wanted == MOST_FOUND:
                return super().nearest(model, queries, n, where)
            wanted = min(MOST_FOUND, 8 * wanted)

    def verify(self, model: int) -> list[str]:
        """Compare the number of vectors in Milvus, and some of them, with PostgreSQL."""
        mark, table = self._copies.watermark(model), table_of(model)
        if mark == NOTHING:
            return []  # all are compared one by one
        if not self._server.has(mark.name):
            return [f"Milvus has lost its copy of the {self._method} vectors"]
        condition, values = mark.behind()
        expected = self._count(f"SELECT count(*) FROM {table} WHERE NOT ({condition})", values)
        problems, count = [], self._server.count(mark.name, since=mark.seen)
        if count < expected:
            problems.append(f"Milvus has {count} of {expected} {self._method} vectors")
        rows = self._database.read(
            lambda connection: connection.execute(
                f"SELECT key FROM {table} WHERE NOT ({condition}) ORDER BY hashint8(key) LIMIT {_SAMPLE}", values
            ).fetchall()
        )
        keys = [key for (key,) in rows]
        copies = self._server.vectors(mark.name, keys, since=mark.seen) if keys else {}
        for key, vector in self.vectors(model, keys).items():
            if key not in copies or not np.allclose(copies[key], vector.astype(np.float32), atol=_TOLERANCE):
                problems.append(f"a {self._method} vector in Milvus is missing or wrong")
                break
        return problems

    # -- parts ---------------------------------------------------------------------------------------------

    def _is_far_behind(self, model: int) -> bool:
        """Whether Milvus lacks too many vectors for a search."""
        table, mark = table_of(model), self._copies.watermark(model)
        return (
            self._database.read(
                lambda connection: watermarks.count_behind(connection, table, mark, MOST_BEHIND + 1)
            )
            > MOST_BEHIND
        )

    def _index_transactions(self, model: int, rows: int) -> None:
        self.build_index(model, f"{table_of(model)}_by_txid", "(txid, key)", rows=rows)

    def _found(self, model: int, queries: Halves, n: int) -> list[Found]:
        """Keys and products of the best vectors in Milvus, and of those that it lacks."""
        mark = self._copies.watermark(model)
        behind = self._behind(model, mark, texts_of(queries), n)
        if mark.copied is not None or mark == NOTHING:
            return behind
        try:
            found = self._server.nearest(mark.name, queries, n, since=mark.seen)
        except ShortlistUnavailableError:
            self._copies.start()  # perhaps the copy is lost
            raise
        return [_merged(*both) for both in zip(behind, found, strict=True)]

    def _wanted(self, model: int, keys: NDArray[np.int64], where: Filter | None) -> NDArray[np.bool_]:
        """Which keys are those of existing features, whose images match a filter."""

        def work(connection: Connection) -> Iterable[int]:
            if where is None:
                return existing_keys(connection, model, keys.tolist())
            row = connection.execute("SELECT method FROM vector_models WHERE key = %s", [model]).fetchone()
            return matching_keys(connection, self._collection, row[0] if row else 0, keys, where)

        return np.isin(keys, list(self._database.read(work)))

    def _behind(self, model: int, mark: Watermark, texts: Sequence[str], n: int) -> list[Found]:
        """Keys and products of the best vectors that Milvus lacks.

        Raises:
            ShortlistUnavailableError: it lacks more than ``MOST_BEHIND``.
        """
        table, (condition, values) = table_of(model), mark.behind()

        def work(connection: Connection) -> tuple[int, list[list[tuple[int, float]]]]:
            count = watermarks.count_behind(connection, table, mark, MOST_BEHIND + 1)
            if not 0 < count <= MOST_BEHIND:
                return count, [[] for _ in texts]
            # Not by a graph of this table, which would compare some of them only.
            statement = f"SELECT key, v <#> %s FROM {table} WHERE {condition} ORDER BY (v <#> %s) + 0 LIMIT %s"
            return count, [
                connection.execute(statement, [text, *values, text, n], binary=True).fetchall() for text in texts
            ]

        count, rows = self._database.read(work)
        if count >= FOLLOWED_FROM:
            self._copies.start()
        if count > MOST_BEHIND:
            raise ShortlistUnavailableError(
                f"Milvus lacks more than {MOST_BEHIND:,} of the {self._method} vectors",
                hint="they are being copied; try again later, or run imagefinder build-index",
            )
        return [
            (
                np.array([key for key, _ in of_query], dtype=np.int64),
                -np.array([distance for _, distance in of_query], dtype=np.float64),
            )
            for of_query in rows
        ]


def _merged(one: Found, other: Found) -> Found:
    """Two lists without repetitions, best first."""
    keys, products = (np.concatenate(parts) for parts in zip(one, other, strict=True))
    order = np.argsort(-products, kind="stable")
    keys, products = keys[order], products[order]
    first = np.sort(np.unique(keys, return_index=True)[1])
    return keys[first], products[first]

"""The distributed store: a collection in PostgreSQL, which many machines read and write at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import MethodNotIndexedError, StoreError, UnknownImageError
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.filters import Filter
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import (
    Changes,
    Cursor,
    Damage,
    DerivedData,
    Entry,
    GalleryBlock,
    ImageRecord,
    ImageStatus,
    MethodInfo,
    StoreInfo,
    SweepReport,
)
from imagefinder.core.store_parts import Lease
from imagefinder.core.vector_table import VectorTable
from imagefinder.stores import validation
from imagefinder.stores.cache import FeatureCache
from imagefinder.stores.digests import image_digest
from imagefinder.stores.distributed import (
    check,
    derived,
    feature_rows,
    feed,
    image_rows,
    kept_rows,
    leases,
    method_rows,
    monitoring,
    schema,
    sweep,
    thumbnail_rows,
    writing,
)
from imagefinder.stores.distributed.feature_reading import FeatureRows
from imagefinder.stores.distributed.listings import Listings
from imagefinder.stores.distributed.method_rows import RegisteredMethod
from imagefinder.stores.distributed.object_payloads import InObjects, in_rows
from imagefinder.stores.distributed.parallel import Parallel
from imagefinder.stores.distributed.payloads import Payloads
from imagefinder.stores.distributed.pool import Connection, Database
from imagefinder.stores.distributed.vector_models import drop_vectors
from imagefinder.stores.distributed.vector_writer import PreparedVectors, ReadModel, VectorWriter
from imagefinder.stores.distributed.vectors import PgVectors, VectorTables

T = TypeVar("T")


class DistributedStore(Listings, thumbnail_rows.ThumbnailTable, kept_rows.KeptTable):
    """A collection in a database; the arrays it returns are read-only and may be shared with other threads."""

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        create: bool,
        cache_bytes: int,
        payloads: Callable[[Database, int], Payloads] = in_rows,
        vectors: Callable[[Database, int], VectorTables] = PgVectors,
    ) -> None:
        """Open a collection.

        Args:
            database: The database, which ``close`` closes.
            name: Name of the collection.
            create: Create the collection if it does not exist.
            cache_bytes: Memory for features cached between scans, bytes.
            payloads: Returns where the bytes of features and thumbnails are, for the key of the collection in the
                database; default: in the rows.
            vectors: Returns the tables of vectors, for the key of the collection; default: the database searches
                them.

        Raises:
            CollectionNotFoundError: there is no such collection, and ``create`` is false.
            CollectionFormatError: a newer version of imagefinder made the tables.
            StoreUnavailableError: the database does not answer.
            SettingsError: the features are in an object store, and ``payloads`` are in the rows.
        """
        self._database = database
        self._name = name
        self._cache = FeatureCache(cache_bytes)
        self._parallel = Parallel(FeatureRows.PARTS, "features")
        self._registered: dict[str, str] = {}
        self._known: dict[str, RegisteredMethod] = {}
        self._collection = schema.open_collection(database, name, create=create)
        self._payloads = payloads(database, self._collection)
        self._objects = monitoring.of_objects(self._payloads)
        self._vectors = VectorWriter(self._collection, None)
        self._tables = vectors(database, self._collection)

    def use_models(self, read_model: ReadModel) -> None:
        """Read models of vectors this way; without it, a put leaves them incomplete."""
        self._vectors = VectorWriter(self._collection, read_model)

    def vector_table(self, method: str) -> VectorTable:
        """The vectors of a method, which need not be registered."""
        return self._tables.table(method)

    # -- methods -------------------------------------------------------------------------------------------

    def register(self, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
        """Register a method; from then on ``put`` of this object rejects other fingerprints."""
        name = validation.check_text("method name", fingerprint.method)
        stored = self._read(method_rows.read_methods).get(name)
        if stored is None or _mismatch(stored, fingerprint, spec):
            self._database.write(lambda connection: self._register(connection, fingerprint, spec))
        self._registered[name] = fingerprint.to_json()

    def unregister(self, method: str) -> None:
        """Delete a method and all its features; an unknown method is ignored."""
        self._registered.pop(method, None)
        if validation.is_valid_id(method):
            for key in self._database.write(lambda connection: self._unregister(connection, method)):
                drop_vectors(self._database, self._collection, key)
                writing.delete_orphans(self._database, self._collection, key)

    # -- writing -------------------------------------------------------------------------------------------

    def put(self, entries: Sequence[Entry], *, replacing: Sequence[str] = (), copied: bool = False) -> None:
        """Add or replace images in one durable transaction, after removing the ids in ``replacing``.

        Raises:
            FingerprintMismatchError: another process has since registered a method differently.
        """
        plain = validation.normalise_entries(entries)
        gone = validation.valid_ids(replacing)
        if not plain and not gone:
            return
        self._check_features(plain, self._read(method_rows.read_methods))  # before objects are written
        batch = writing.prepare(plain, gone, self._payloads, copied=copied)
        vectors = self._vectors.prepare(
            [(new.method, plain[new.image].features[new.method]) for new in batch.features]
        )
        self._database.write(
            lambda connection: self._put(connection, batch, vectors), pipelined=True, repeat_on=writing.CONFLICTS
        )
        self._tables.written(len(batch.features))

    def put_features(self, image_id: str, features: Mapping[str, Features]) -> None:
        """Add or replace features of a stored image in one durable transaction.

        Raises:
            FingerprintMismatchError: another process has since registered a method differently.
        """
        validation.check_one_image(image_id, features)
        if not validation.is_valid_id(image_id):
            raise UnknownImageError(image_id)
        self._check_specs(features, self._read(method_rows.read_methods))
        record = self.get(image_id)
        new = feature_rows.prepare([(image_id, record.sha256, features)], self._payloads)
        vectors = self._vectors.prepare([(one.method, features[one.method]) for one in new])

        def work(connection: Connection) -> None:
            method_rows.lock_methods(connection, self._collection, exclusive=False)
            methods = method_rows.read_methods(connection, self._collection)
            self._check_specs(features, methods)
            keys = writing.replace_features(connection, self._collection, image_id, new, methods)
            self._vectors.write(connection, methods, vectors, keys)

        self._database.write(work, pipelined=True, repeat_on=writing.CONFLICTS)
        self._tables.written(len(new))

    def touch(self, image_id: str, *, uri: str, stamp: str) -> None:
        """Update the URI and stamp of an unchanged image; an unknown id is ignored."""
        validation.check_text("uri", uri)
        validation.check_text("stamp", stamp)
        if validation.is_valid_id(image_id):
            self._write(image_rows.update_location, image_id, uri, stamp)

    def delete(self, ids: Sequence[str], *, remember: bool = False) -> int:
        """Delete images; returns how many existed."""
        valid = validation.valid_ids(ids)
        return self._write(writing.delete, valid, remember) if valid else 0

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, image_id: str) -> ImageRecord:
        """The record of an image."""
        return _only(self.records([image_id]), image_id)

    def thumbnail(self, image_id: str) -> bytes:
        """The JPEG thumbnail of an image; empty if it has none."""
        return _only(self.thumbnails([image_id]), image_id)

    def features(self, image_id: str, method: str) -> Features:
        """The features of one image and method (a batch of one)."""
        if not validation.is_valid_id(image_id):
            raise UnknownImageError(image_id)
        spec, row = self._read(feature_rows.read_one, image_id, method)
        return feature_rows.block_of(method, spec, [row], self._payloads)[1].features

    def records(self, ids: Sequence[str]) -> dict[str, ImageRecord]:
        """The records of the images that exist, by id."""
        valid = validation.valid_ids(ids)
        return self._read(image_rows.read_records, valid) if valid else {}

    def thumbnails(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The JPEG thumbnails of the images that exist, by id; empty for an image without one."""
        valid = validation.valid_ids(ids)
        rows = self._read(image_rows.read_thumbnails, valid) if valid else []
        return image_rows.checked_thumbnails(rows, self._payloads)

    def entry(self, image_id: str) -> Entry:
        """An image with its features and thumbnail, in one consistent state."""
        if not validation.is_valid_id(image_id):
            raise UnknownImageError(image_id)

        def work(connection: Connection) -> Entry:
            record = _only(image_rows.read_records(connection, self._collection, [image_id]), image_id)
            thumbnails = image_rows.read_thumbnails(connection, self._collection, [image_id])
            rows = feature_rows.read_all(connection, self._collection, image_id)
            features = {
                name: feature_rows.block_of(name, spec, [row], self._payloads)[1].features
                for name, (spec, row) in rows.items()
            }
            return Entry(record, features, image_rows.checked_thumbnails(thumbnails, self._payloads)[image_id])

        return self._database.snapshot(work)

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        """Digests of the images that exist, by id, from stored checksums."""
        valid = validation.valid_ids(ids)
        parts = self._read(feature_rows.read_digest_parts, valid) if valid else []
        return {record.id: image_digest(record, thumbnail, features) for record, thumbnail, features in parts}

    def sample(self, method: str, n: int) -> list[str]:
        """Ids of the images with the smallest hashes of their content, in the order of the hashes."""
        return self._read(feature_rows.read_sample, self._method(method, fresh=True).key, n)

    def status(self, ids: Sequence[str]) -> dict[str, ImageStatus]:
        """The status of the images that exist, by id."""
        valid = validation.valid_ids(ids)
        return self._read(image_rows.read_status, valid) if valid else {}

    def images(
        self,
        *,
        after: str = "",
        limit: int = 100,
        source: str | None = None,
        where: Filter | None = None,
        contains: str = "",
    ) -> list[ImageRecord]:
        """A page of matching records ordered by id, after the id ``after``."""
        validation.check_text("start id", after)
        if limit <= 0:
            return []
        if source is not None:
            validation.check_text("source", source)
        if where is None and not contains:
            return self._read(image_rows.read_page, after, limit, source)
        return self._database.snapshot(
            lambda connection: list(
                islice(
                    image_rows.read_matching(
                        connection, self._collection, after, source=source, where=where, contains=contains
                    ),
                    limit,
                )
            )
        )

    def scan(self, method: str) -> Iterator[GalleryBlock]:
        """Yield all images with features of a method in blocks of about 32 MB, cached as far as memory allows."""
        row = self._method(method, fresh=True)
        return self._cache.scan(self._features(method, row), [known.key for known in self._known.values()])

    def select(self, method: str, ids: Sequence[str]) -> GalleryBlock:
        """The features of the given images in this order; images without any are skipped."""
        row, valid = self._method(method), validation.valid_ids(ids)
        rows = self._read(feature_rows.read_ids, row.key, valid)
        if not rows:
            row = self._method(method, fresh=True)
            rows = self._read(feature_rows.read_ids, row.key, valid)
        by_id = {one[1].decode(): one for one in rows}
        found = [by_id[image_id] for image_id in valid if image_id in by_id]
        return feature_rows.block_of(method, row.spec, found, self._payloads)[1]

    def changes(self, method: str, since: Cursor | None) -> Changes:
        """Changes of the features of a method since a cursor, as of one transaction."""
        return self._read(feed.read_changes, method, since)[0]

    def load(
        self, method: str, keys: NDArray[np.int64], *, where: Filter | None = None
    ) -> tuple[NDArray[np.int64], GalleryBlock]:
        """The existing keys whose images match the filter, ascending, and their features."""
        row = self._method(method)
        if where is not None:
            keys = np.sort(np.array(self._read(feature_rows.matching_keys, row.key, keys, where), dtype=np.int64))
        found, block = self._features(method, row).load(keys)
        if not block.ids:
            self._method(method, fresh=True)  # raises if it is not registered any more
        return found, block

    def checksums(self, method: str, keys: NDArray[np.int64]) -> dict[int, int]:
        """Checksums of the existing keys, by key."""
        return self._read(feature_rows.read_checksums, self._method(method, fresh=True).key, keys)

    def info(self) -> StoreInfo:
        """Counts, sizes and methods."""
        images, failures, methods = self._read(method_rows.read_summary)
        infos = {
            name: MethodInfo(Fingerprint.from_json(row.fingerprint), row.spec, count, size)
            for name, (row, count, size) in methods.items()
        }
        size = sum(info.bytes for info in infos.values())
        return StoreInfo(self.location, len(schema.STORE.versions), images, failures, infos, size)

    @property
    def location(self) -> str:
        """The location of the collection, without user, password and parameters."""
        return f"{self._database.shown}/{self._name}"

    # -- derived data and upkeep ---------------------------------------------------------------------------

    def derived(self, name: str) -> DerivedData | None:
        """Derived data by name, with their version; ``None`` if there are none."""
        validation.check_derived_name(name)
        return self._read(derived.read, name)

    def put_derived(self, name: str, data: bytes, *, replaces: str | None = None) -> str | None:
        """Store derived data under a name; ``None`` if ``replaces`` is not the stored version."""
        return derived.write(self._database, self._collection, name, data, replaces)

    def lease(self, name: str, seconds: float) -> Lease | None:
        """Obtain the lease of a name; ``None`` while another thread or process holds it."""
        return leases.obtain(self._database, self._collection, name, seconds)

    def is_in_place(self) -> bool:
        """Whether the collection was not deleted, or deleted and created again, since it was opened."""
        query = "SELECT 1 FROM collections WHERE key = %s"
        row = self._database.read(lambda connection: connection.execute(query, [self._collection]).fetchone())
        return row is not None

    def check(
        self,
        *,
        repair: bool = False,
        sound_thumbnail: Callable[[bytes], bool] = bool,
        sound_derived: Callable[[str, bytes], bool] = lambda _name, _data: True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Damage]:
        """Check the contents of all rows, and repair them if ``repair``."""
        checked = check.Check(self._database, self._collection, self._payloads, repair=repair)
        found = checked.contents(sound_thumbnail, progress)
        return found + derived.check(self._database, self._collection, sound_derived, repair=repair)

    def sweep(
        self,
        *,
        seconds: float = 86400.0,
        delete: bool = True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> SweepReport | None:
        """Mark unused objects and delete old ones; ``None`` while another process does so.

        Raises:
            StoreError: the features are in rows.
        """
        if not isinstance(self._payloads, InObjects):
            raise StoreError(
                f"the features of {self.location} are in rows, not in an object store",
                hint="there is nothing to sweep",
            )
        lease = self.lease(sweep.LEASE, sweep.LEASE_SECONDS)
        if lease is None:
            return None
        try:
            work = sweep.Sweep(self._database, self._collection, self._payloads, lease)
            return work.run(seconds=seconds, delete=delete, progress=progress)
        finally:
            lease.release()

    def probe(self, seconds: float) -> None:
        """Check that the database, the object store and the vector database answer."""
        monitoring.probe_database(self._database, seconds)
        if self._objects is not None:
            self._objects.check(seconds)
        self._tables.check(seconds)

    def measures(self) -> Mapping[str, float]:
        """Numbers of connections, of the standbys, and of vectors that Milvus lacks."""
        return {**monitoring.measures(self._database), **self._tables.measures()}

    def close(self) -> None:
        """Release all resources; repeated calls are allowed."""
        self._tables.close()
        self._database.close()
        self._parallel.close()

    # -- parts ---------------------------------------------------------------------------------------------

    def _method(self, name: str, *, fresh: bool = False) -> RegisteredMethod:
        """A registered method, read again if it is not known or ``fresh``.

        Raises:
            MethodNotIndexedError: the method is not registered.
        """
        if fresh or name not in self._known:
            self._known = self._read(method_rows.read_methods)
        if name not in self._known:
            raise MethodNotIndexedError(name, self._known)
        return self._known[name]

    def _features(self, method: str, row: RegisteredMethod) -> FeatureRows:
        return FeatureRows(self._database, self._collection, method, row, self._payloads, self._parallel)

    def _register(self, connection: Connection, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
        method_rows.lock_methods(connection, self._collection, exclusive=True)
        stored = method_rows.read_methods(connection, self._collection).get(fingerprint.method)
        error = stored and _mismatch(stored, fingerprint, spec)
        if stored and error:
            if method_rows.read_counts(connection, self._collection).get(stored.key, (0, 0))[0]:
                raise error
            # Another key, because other processes keep the spec of this one.
            method_rows.delete_method(connection, stored.key)
        if stored is None or error:
            method_rows.insert_method(connection, self._collection, fingerprint, spec)

    def _unregister(self, connection: Connection, name: str) -> list[int]:
        method_rows.lock_methods(connection, self._collection, exclusive=True)
        row = method_rows.read_methods(connection, self._collection).get(name)
        if row is None:
            return []
        method_rows.delete_method(connection, row.key)
        return [row.key]

    def _put(self, connection: Connection, batch: writing.Batch, vectors: PreparedVectors) -> None:
        reserved = writing.make_room(connection, self._collection, batch)
        methods = method_rows.read_methods(connection, self._collection)
        self._check_features(batch.entries, methods)
        keys = writing.insert(connection, self._collection, batch, reserved, methods)
        self._vectors.write(connection, methods, vectors, keys)

    def _check_features(self, entries: Sequence[Entry], methods: Mapping[str, RegisteredMethod]) -> None:
        for entry in entries:
            self._check_specs(entry.features, methods)

    def _check_specs(self, features: Mapping[str, Features], methods: Mapping[str, RegisteredMethod]) -> None:
        for name in features:
            registered = self._registered.get(name)
            if registered and name in methods and registered != methods[name].fingerprint:
                error = _mismatch(methods[name], Fingerprint.from_json(registered), methods[name].spec)
                if error:
                    raise error
        validation.check_registered(features, {name: method.spec for name, method in methods.items()})


def _mismatch(stored: RegisteredMethod, fingerprint: Fingerprint, spec: FeatureSpec) -> Exception | None:
    return validation.fingerprint_mismatch(
        Fingerprint.from_json(stored.fingerprint), stored.spec, fingerprint, spec
    )


def _only(found: Mapping[str, T], image_id: str) -> T:
    """The value of the only id.

    Raises:
        UnknownImageError: it is missing.
    """
    if image_id not in found:
        raise UnknownImageError(image_id)
    return found[image_id]

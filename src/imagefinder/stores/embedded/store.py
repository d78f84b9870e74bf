"""The embedded store: one folder, one process writing, many reading."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from imagefinder.core.errors import (
    CollectionFormatError,
    MethodNotIndexedError,
    StoreError,
    UnknownImageError,
)
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.filters import Filter, says
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import (
    Entry,
    Failure,
    GalleryBlock,
    ImageRecord,
    ImageStatus,
    MethodInfo,
    StoreInfo,
)
from imagefinder.stores import checks
from imagefinder.stores.embedded import codec, condition, schema
from imagefinder.stores.embedded.cache import Changes, FeatureCache, Keys
from imagefinder.stores.embedded.connections import Connections, connect, translated_errors

_RECORD = (
    "images.id, images.uri, images.sha256, images.size_bytes, images.width, images.height, images.format, "
    "images.source, images.stamp, images.metadata, images.added_at"
)
_IDS_PER_QUERY = 500

DERIVED = "index"
"""Folder of what can be computed again; it may be deleted at any time."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Method:
    key: int
    fingerprint: Fingerprint
    spec: FeatureSpec
    images: int
    bytes: int


class EmbeddedStore:
    """A collection in a folder. Arrays it hands out are read-only and may be shared with other threads.

    ``collection.sqlite`` (with its ``-wal`` and ``-shm`` while in use) is the system of record. The folder must be
    on a local disk: SQLite's log needs memory shared between the processes.
    """

    def __init__(self, folder: Path, *, create: bool, cache_bytes: int) -> None:
        """Open the collection in a folder.

        Args:
            folder: Where it is.
            create: Make it if it is not there.
            cache_bytes: How many bytes of features are kept in memory between scans.

        Raises:
            CollectionNotFoundError: there is none, and ``create`` is false.
            CollectionFormatError: the folder holds something else, or a collection of another format.
            CollectionCorruptError: the database is damaged.
            StoreError: the files cannot be read and written.
        """
        self._folder = folder = folder.absolute()
        self._cache = FeatureCache(cache_bytes)
        self._announced: dict[str, str] = {}
        file = folder / schema.FILE_NAME
        _prepare_folder(folder, create=create)
        with translated_errors(file), closing(connect(file, create=create)) as database:
            schema.prepare(database, folder, create=create)
        self._connections = Connections(file)

    # -- methods -------------------------------------------------------------------------------------------

    def register(self, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
        """See ``Store``. What this object has registered, its ``put`` holds on to."""
        name = checks.text("method name", fingerprint.method)
        with self._connections.reading() as database:
            stored = _methods(database).get(name)
        if stored is None or checks.mismatch(stored.fingerprint, stored.spec, fingerprint, spec):
            with self._connections.writing() as database:
                stored = _methods(database).get(name)
                error = stored and checks.mismatch(stored.fingerprint, stored.spec, fingerprint, spec)
                if stored and stored.images and error:
                    raise error
                database.execute(
                    "INSERT INTO methods (name, fingerprint, kind, dim, dtype) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, kind = excluded.kind,"
                    " dim = excluded.dim, dtype = excluded.dtype",
                    (name, fingerprint.to_json(), spec.kind, spec.dim, spec.dtype),
                )
        self._announced[name] = fingerprint.to_json()

    def unregister(self, method: str) -> None:
        """See ``Store``."""
        self._announced.pop(method, None)
        if checks.is_id(method):
            with self._connections.writing() as database:
                database.execute("DELETE FROM methods WHERE name = ?", (method,))

    # -- changing ------------------------------------------------------------------------------------------

    def put(self, entries: Sequence[Entry]) -> None:
        """See ``Store``.

        Raises:
            FingerprintMismatchError: another process has since registered a method differently.
        """
        plain = checks.plain_entries(entries)
        encoded = [_encode(entry.image.id, entry.features) for entry in plain]
        if not plain:
            return
        with self._connections.writing() as database:
            methods = _methods(database)
            for entry in plain:
                self._check_features(entry.features, methods)
            for entry, blobs in zip(plain, encoded, strict=True):
                self._put_one(database, entry, blobs, methods)

    def put_features(self, image_id: str, features: Mapping[str, Features]) -> None:
        """See ``Store``.

        Raises:
            FingerprintMismatchError: another process has since registered a method differently.
        """
        checks.check_one_image(image_id, features)
        if not checks.is_id(image_id):
            raise UnknownImageError(image_id)
        encoded = _encode(image_id, features)
        with self._connections.writing() as database:
            methods = _methods(database)
            self._check_features(features, methods)
            row = database.execute("SELECT key FROM images WHERE id = ?", (image_id,)).fetchone()
            if row is None:
                raise UnknownImageError(image_id)
            for method in encoded:
                database.execute(
                    "DELETE FROM features WHERE image = ? AND method = ?", (row[0], methods[method].key)
                )
            _insert_features(database, row[0], encoded, methods)

    def touch(self, image_id: str, *, uri: str, stamp: str) -> None:
        """See ``Store``."""
        checks.text("uri", uri)
        checks.text("stamp", stamp)
        if checks.is_id(image_id):
            with self._connections.writing() as database:
                database.execute("UPDATE images SET uri = ?, stamp = ? WHERE id = ?", (uri, stamp, image_id))

    def delete(self, ids: Sequence[str]) -> int:
        """See ``Store``."""
        wanted = checks.ids_of(ids)
        if not wanted:
            return 0
        with self._connections.writing() as database:
            return database.executemany("DELETE FROM images WHERE id = ?", [(i,) for i in wanted]).rowcount

    def record_failures(self, failures: Sequence[Failure]) -> None:
        """See ``Store``."""
        rows = [
            (failure.id, failure.uri, failure.code, failure.message, time.time(), failure.source)
            for failure in checks.plain_failures(failures)
        ]
        if rows:
            with self._connections.writing() as database:
                database.executemany(
                    "INSERT INTO failures (id, uri, code, message, attempts, at, source)"
                    " VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT (id) DO UPDATE SET uri = excluded.uri,"
                    " code = excluded.code, message = excluded.message, attempts = attempts + 1,"
                    " at = excluded.at, source = excluded.source",
                    rows,
                )

    def forget_failures(self, ids: Sequence[str]) -> None:
        """See ``Store``."""
        wanted = checks.ids_of(ids)
        if wanted:
            with self._connections.writing() as database:
                database.executemany("DELETE FROM failures WHERE id = ?", [(i,) for i in wanted])

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, image_id: str) -> ImageRecord:
        """See ``Store``."""
        query = f"SELECT {_RECORD} FROM images WHERE id = ?"  # noqa: S608 - column names
        return self._of_image(image_id, query, _record)

    def thumbnail(self, image_id: str) -> bytes:
        """See ``Store``."""
        query = "SELECT jpeg FROM images LEFT JOIN thumbnails ON thumbnails.image = images.key WHERE id = ?"
        return self._of_image(image_id, query, lambda row: row[0] or b"")

    def features(self, image_id: str, method: str) -> Features:
        """See ``Store``."""
        if not checks.is_id(image_id):
            raise UnknownImageError(image_id)
        with self._connections.reading() as database:
            rows = database.execute(
                "SELECT methods.name, features.key FROM images LEFT JOIN features ON features.image = images.key"
                " LEFT JOIN methods ON methods.key = features.method WHERE images.id = ?",
                (image_id,),
            ).fetchall()
            if not rows:
                raise UnknownImageError(image_id)
            keys = {name: key for name, key in rows if name is not None}
            if method not in keys:
                raise MethodNotIndexedError(method, keys, image_id)
            blobs = database.execute(
                "SELECT data, keypoints, checksum FROM features WHERE key = ?", (keys[method],)
            ).fetchone()
            spec = _methods(database)[method].spec
        return codec.decode(method, spec, [image_id], [codec.Blobs(*blobs)])

    def status(self, ids: Sequence[str]) -> dict[str, ImageStatus]:
        """See ``Store``."""
        found: dict[str, tuple[str, str, str, set[str]]] = {}
        wanted = checks.ids_of(ids)
        with self._connections.reading() as database:
            names = {method.key: name for name, method in _methods(database).items()}
            for begin in range(0, len(wanted), _IDS_PER_QUERY):
                some = wanted[begin : begin + _IDS_PER_QUERY]
                query = (
                    "SELECT id, sha256, stamp, uri, method FROM images"  # noqa: S608 - question marks
                    " LEFT JOIN features ON features.image = images.key"
                    f" WHERE id IN ({', '.join('?' * len(some))})"
                )
                for image_id, sha256, stamp, uri, method in database.execute(query, some):
                    there = found.setdefault(image_id, (sha256, stamp, uri, set()))
                    if method is not None:
                        there[3].add(names[method])
        return {
            image_id: ImageStatus(sha256, stamp, uri, frozenset(methods))
            for image_id, (sha256, stamp, uri, methods) in found.items()
        }

    def images(
        self,
        *,
        after: str = "",
        limit: int = 100,
        source: str | None = None,
        where: Filter | None = None,
        contains: str = "",
    ) -> list[ImageRecord]:
        """See ``Store``."""
        checks.text("id to begin behind", after)
        if where is not None or contains:
            return self._filtered(after, limit, source, where, contains)
        of_source, values = ("", [after]) if source is None else (" AND source = ?", [after, source])
        with self._connections.reading() as database:
            rows = database.execute(
                # UTF-8 keeps the order of code points.
                f"SELECT {_RECORD} FROM images WHERE id > ?{of_source} ORDER BY id LIMIT ?",  # noqa: S608 - names
                [*values, min(max(limit, 0), 2**31)],
            )
            return [_record(row) for row in rows]

    def scan(self, method: str) -> Iterator[GalleryBlock]:
        """See ``Store``. Blocks of about 32 MB; those that fit into the cache are read from disk only once."""
        with self._connections.reading() as database:
            methods = _methods(database)
        if method not in methods:
            raise MethodNotIndexedError(method, methods)
        source = _StoredFeatures(self._connections, method, methods[method].key, methods[method].spec)
        return self._cache.scan(source, [known.key for known in methods.values()])

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """See ``Store``."""
        checks.text("id to begin behind", after)
        most = -1 if limit is None else min(max(limit, 0), 2**31)
        with self._connections.reading() as database:
            rows = database.execute(
                "SELECT id, uri, code, message, attempts, at, source FROM failures WHERE id > ?"
                " ORDER BY id LIMIT ?",
                (after, most),
            ).fetchall()
        return [Failure(*row) for row in rows]

    def info(self) -> StoreInfo:
        """See ``Store``."""
        with self._connections.reading() as database:
            (images,) = database.execute("SELECT images FROM totals").fetchone()
            (failures,) = database.execute("SELECT count(*) FROM failures").fetchone()
            methods = {
                name: MethodInfo(method.fingerprint, method.spec, method.images, method.bytes)
                for name, method in _methods(database).items()
            }
        return StoreInfo(
            str(self._folder), schema.FORMAT, images, failures, methods, _bytes_of_files(self._folder)
        )

    def derived(self, name: str) -> bytes | None:
        """See ``Store``."""
        try:
            return self._derived(name).read_bytes()
        except OSError:  # what cannot be read is computed again
            return None

    def put_derived(self, name: str, data: bytes) -> None:
        """See ``Store``."""
        target = self._derived(name)
        try:
            target.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f"{name}.", delete=False) as file:
                file.write(data)
            Path(file.name).replace(target)
        except OSError:  # read-only or full: it is computed again next time
            logging.getLogger(__name__).info("could not keep %s", target, exc_info=True)

    def close(self) -> None:
        """See ``Store``."""
        self._connections.close()

    # -- parts ---------------------------------------------------------------------------------------------

    def _filtered(
        self, after: str, limit: int, source: str | None, where: Filter | None, contains: str
    ) -> list[ImageRecord]:
        """The page of what matches: SQLite leaves out what surely does not, the rest is looked at one by one."""
        likely = condition.likely(where)
        # What SQLite takes for no JSON, because it is damaged or goes very deep, is left for Python to read.
        tests = ["id > ?", f"CASE WHEN json_valid(metadata) THEN {likely.sql} ELSE 1 END"]
        values = [after, *likely.values]
        if source is not None:
            tests.append("source = ?")
            values.append(source)
        query = f"SELECT {_RECORD} FROM images WHERE {' AND '.join(tests)} ORDER BY id"  # noqa: S608 - question marks
        found: list[ImageRecord] = []
        with self._connections.reading() as database:
            for row in database.execute(query, values) if limit > 0 else ():
                record = _record(row)
                if (where is None or where.matches(record.metadata)) and (
                    not contains or says(contains, record.id, record.metadata)
                ):
                    found.append(record)
                    if len(found) == limit:
                        break
        return found

    def _derived(self, name: str) -> Path:
        return self._folder / DERIVED / checks.derived_name(name)

    def _check_features(self, features: Mapping[str, Features], methods: Mapping[str, _Method]) -> None:
        for name in features:
            announced = self._announced.get(name)
            if announced and name in methods:
                spec = methods[name].spec
                error = checks.mismatch(methods[name].fingerprint, spec, Fingerprint.from_json(announced), spec)
                if error:
                    raise error
        checks.check_registered(features, {name: method.spec for name, method in methods.items()})

    def _put_one(
        self,
        database: sqlite3.Connection,
        entry: Entry,
        blobs: Mapping[str, codec.Blobs],
        methods: Mapping[str, _Method],
    ) -> None:
        image = entry.image
        database.execute("DELETE FROM images WHERE id = ?", (image.id,))
        database.execute("DELETE FROM failures WHERE id = ?", (image.id,))
        key = database.execute(
            "INSERT INTO images (id, uri, sha256, size_bytes, width, height, format, source, stamp, metadata,"
            " added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                image.id,
                image.uri,
                image.sha256,
                image.size_bytes,
                image.width,
                image.height,
                image.format,
                image.source,
                image.stamp,
                checks.metadata_text(image),
                time.time(),
            ),
        ).lastrowid
        if entry.thumbnail:
            database.execute("INSERT INTO thumbnails (image, jpeg) VALUES (?, ?)", (key, entry.thumbnail))
        _insert_features(database, key, blobs, methods)

    def _of_image(self, image_id: str, query: str, read: Callable[[Sequence[Any]], _T]) -> _T:
        if checks.is_id(image_id):
            with self._connections.reading() as database:
                row = database.execute(query, (image_id,)).fetchone()
                if row:
                    return read(row)
        raise UnknownImageError(image_id)


@dataclass(frozen=True, slots=True)
class _StoredFeatures:
    """The features of one method, for the cache."""

    connections: Connections
    method: str
    key: int
    spec: FeatureSpec

    def changes(self, revision: int, last: int, count: int) -> Changes | None:
        """See ``Source``."""
        with self.connections.reading() as database:
            row = database.execute("SELECT revision, images FROM methods WHERE key = ?", (self.key,)).fetchone()
            now, images = row or (-1, 0)  # the method went just now, and its features with it
            if now == revision:
                return None
            listing = database.execute(
                "SELECT key, bytes FROM features WHERE method = ? AND key > ? ORDER BY key", (self.key, last)
            ).fetchall()
            pairs = np.array(listing, dtype=np.int64).reshape(-1, 2)
            alive: Keys | None = None
            if count + len(pairs) != images:
                rows = database.execute("SELECT key FROM features WHERE method = ? ORDER BY key", (self.key,))
                alive = np.fromiter((key for (key,) in rows), dtype=np.int64)
        return Changes(now, pairs[:, 0].copy(), pairs[:, 1].copy(), alive)

    def load(self, first: int, last: int) -> tuple[Keys, GalleryBlock]:
        """See ``Source``."""
        with self.connections.reading() as database:
            rows = database.execute(
                "SELECT features.key, images.id, data, keypoints, checksum"
                " FROM features JOIN images ON images.key = features.image"
                " WHERE features.method = ? AND features.key BETWEEN ? AND ? ORDER BY features.key",
                (self.key, first, last),
            ).fetchall()
        keys = np.array([row[0] for row in rows], dtype=np.int64)
        ids = tuple(row[1] for row in rows)
        features = codec.decode(self.method, self.spec, ids, [codec.Blobs(*row[2:]) for row in rows])
        return keys, GalleryBlock(ids, features)


def _methods(database: sqlite3.Connection) -> dict[str, _Method]:
    rows = database.execute(
        "SELECT name, key, fingerprint, kind, dim, dtype, images, bytes FROM methods ORDER BY name"
    )
    return {
        name: _Method(key, Fingerprint.from_json(fingerprint), FeatureSpec(kind, dim, dtype), images, size)
        for name, key, fingerprint, kind, dim, dtype, images, size in rows
    }


def _encode(image_id: str, features: Mapping[str, Features]) -> dict[str, codec.Blobs]:
    return {method: codec.encode(image_id, method, batch) for method, batch in features.items()}


def _insert_features(
    database: sqlite3.Connection,
    image: int | None,
    encoded: Mapping[str, codec.Blobs],
    methods: Mapping[str, _Method],
) -> None:
    database.executemany(
        "INSERT INTO features (image, method, bytes, checksum, data, keypoints) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (image, methods[method].key, blobs.nbytes, blobs.checksum, blobs.data, blobs.keypoints)
            for method, blobs in encoded.items()
        ],
    )


def _record(row: Sequence[Any]) -> ImageRecord:
    *values, metadata, added_at = row
    return replace(ImageRecord(*values), metadata=json.loads(metadata), added_at=added_at)


def _prepare_folder(folder: Path, *, create: bool) -> None:
    """See to it that there is a folder that may hold a collection.

    Raises:
        CollectionNotFoundError: there is none, and ``create`` is false.
        CollectionFormatError: it is a file, or holds other things.
        StoreError: it cannot be read or made.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise CollectionFormatError(f"{folder} is a file; a collection is a folder")
        if (folder / schema.FILE_NAME).exists():
            return
        if folder.exists() and any(_is_foreign(path.name) for path in folder.iterdir()):
            raise CollectionFormatError(
                f"{folder} holds other files and no collection", hint="name a new or an empty folder"
            )
        if not create:
            raise schema.not_found(folder)
        _make_durably(folder)
    except OSError as error:
        raise StoreError(f"the collection {folder} cannot be opened: {error.strerror}") from error


def _is_foreign(name: str) -> bool:
    # A freshly formatted volume is empty in the eyes of its owner.
    return not (name.startswith((".", schema.FILE_NAME)) or name == "lost+found")


def _make_durably(folder: Path) -> None:
    """Make a folder that is still there after a power loss."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _bytes_of_files(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).stat().st_size
            except FileNotFoundError:  # the log comes and goes
                continue
    return total

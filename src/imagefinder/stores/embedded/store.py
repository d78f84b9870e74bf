"""The embedded store: one folder, one process writing, many reading."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import (
    CollectionCorruptError,
    CollectionFormatError,
    MethodNotIndexedError,
    SourceError,
    StoreError,
    UnknownImageError,
)
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.filters import Filter, says
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import (
    SHORTLIST,
    Changes,
    Damage,
    Entry,
    Failure,
    GalleryBlock,
    ImageRecord,
    ImageStatus,
    MethodInfo,
    StoreInfo,
)
from imagefinder.stores import checks
from imagefinder.stores.embedded import codec, condition, inspection, schema
from imagefinder.stores.embedded.cache import FeatureCache, Keys
from imagefinder.stores.embedded.connections import Connections, DamagedTextError, connect, translated_errors
from imagefinder.stores.embedded.files import copy_database, make_folder, sync_folder
from imagefinder.stores.embedded.salvage import salvage

_RECORD = f"{schema.RECORD}, checksum"
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
                row = database.execute(f"SELECT {_RECORD} FROM images WHERE id = ?", (image_id,)).fetchone()  # noqa: S608 - column names
                if row:
                    values = _whole(row)
                    values[1], values[8] = uri, stamp
                    database.execute(
                        "UPDATE images SET uri = ?, stamp = ?, checksum = ? WHERE id = ?",
                        (uri, stamp, codec.record_checksum(values), image_id),
                    )

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
        query = (
            "SELECT id, thumbnail, jpeg FROM images"
            " LEFT JOIN thumbnails ON thumbnails.image = images.key WHERE id = ?"
        )
        return self._of_image(image_id, query, _thumbnail)

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
        return self._cache.scan(self._source(method, methods), [known.key for known in methods.values()])

    def select(self, method: str, ids: Sequence[str]) -> GalleryBlock:
        """See ``Store``."""
        source, wanted = self._source(method), checks.ids_of(ids)
        found: dict[str, Sequence[Any]] = {}
        for some in _portions(wanted):
            for row in source.rows(f"images.id IN ({', '.join('?' * len(some))})", some):
                found[row[1]] = row
        return source.block([found[image_id] for image_id in wanted if image_id in found])[1]

    def changes(self, method: str, *, revision: int, last: int, count: int) -> Changes | None:
        """See ``Store``."""
        try:
            source = self._source(method)
        except MethodNotIndexedError:
            none = np.empty(0, dtype=np.int64)
            return Changes(-1, none, none, none) if count else None
        return source.changes(revision, last, count)

    def load(self, method: str, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], GalleryBlock]:
        """See ``Store``."""
        source = self._source(method)
        rows: list[Sequence[Any]] = []
        for some in _portions(keys.tolist()):
            rows += source.rows(f"features.key IN ({', '.join('?' * len(some))})", some)
        rows.sort(key=lambda row: int(row[0]))
        return source.block(rows)

    def checksums(self, method: str, keys: NDArray[np.int64]) -> dict[int, int]:
        """See ``Store``."""
        source = self._source(method)
        found: dict[int, int] = {}
        with self._connections.reading() as database:
            for some in _portions(keys.tolist()):
                query = (
                    "SELECT key, checksum FROM features"  # noqa: S608 - question marks
                    f" WHERE method = ? AND key IN ({', '.join('?' * len(some))})"
                )
                found.update(database.execute(query, [source.key, *some]).fetchall())
        return found

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
            images, mirror = database.execute("SELECT images, mirror FROM totals").fetchone() or (0, 1)
            if images != -mirror:
                raise CollectionCorruptError("the number of images is damaged", hint=codec.REPAIR_HINT)
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

    def check(
        self,
        *,
        repair: bool = False,
        sound_thumbnail: Callable[[bytes], bool] = bool,
        sound_derived: Callable[[str, bytes], bool] = lambda _name, _data: True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Damage]:
        """See ``Store``. Where tables are damaged, what can be read is saved into a new database.

        Raises:
            CollectionBusyError: ... which needs the collection for itself, and another program has it open.
        """
        found = inspection.structure(self._connections, repair=repair)
        if any(not damage.mended for damage in found):
            if not repair:
                return found  # what the rows hold cannot be told
            self._connections.close()
            found = [salvage(self._folder)]
            self._connections = Connections(self._folder / schema.FILE_NAME)
            self._cache = FeatureCache(self._cache.limit)
        found += inspection.contents(
            self._connections, repair=repair, sound_thumbnail=sound_thumbnail, progress=progress
        )
        return found + self._check_derived(sound_derived, repair=repair)

    def backup(self, destination: Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """See ``Store``."""
        destination = destination.absolute()
        try:
            if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
                raise SourceError(f"{destination} is there already", hint="name a new or an empty folder")
            make_folder(destination.parent)
            with tempfile.TemporaryDirectory(
                dir=destination.parent, prefix=f".{destination.name}.", suffix=".half"
            ) as half:
                self._copy_to(Path(half) / "copy", progress)
                (Path(half) / "copy").replace(destination)
                sync_folder(destination.parent)
        except OSError as error:
            raise StoreError(f"cannot write the backup {destination}: {error.strerror}") from error

    def derived_folder(self) -> Path | None:
        """See ``Store``."""
        return self._folder / DERIVED

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

    def _source(self, method: str, methods: Mapping[str, _Method] | None = None) -> _StoredFeatures:
        if methods is None:
            with self._connections.reading() as database:
                methods = _methods(database)
        if method not in methods:
            raise MethodNotIndexedError(method, methods)
        return _StoredFeatures(self._connections, method, methods[method].key, methods[method].spec)

    def _derived(self, name: str) -> Path:
        return self._folder / DERIVED / checks.derived_name(name)

    def _copy_to(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        folder.mkdir()
        with (
            translated_errors(self._folder / schema.FILE_NAME),
            closing(connect(self._folder / schema.FILE_NAME)) as database,
        ):
            copy_database(database, folder / schema.FILE_NAME, progress)
        with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as copy:
            found = copy.check()
        if found:
            raise CollectionCorruptError(
                f"the collection {self._folder} is damaged, and so would be its backup: {found[0].message}",
                hint=codec.REPAIR_HINT,
            )
        sync_folder(folder)

    def _check_derived(self, sound: Callable[[str, bytes], bool], *, repair: bool) -> list[Damage]:
        folder = self._folder / DERIVED
        if folder.exists() and not folder.is_dir():
            damaged = [folder]
        else:
            paths = sorted(folder.iterdir()) if folder.exists() else []
            with self._connections.reading() as database, inspection.tolerant(database):
                rows = database.execute("SELECT name FROM methods").fetchall()
            indexes = {f"{SHORTLIST}{name}" for (name,) in rows}  # they check themselves
            damaged = [path for path in paths if not _is_sound(path, sound, indexes)]
        found = []
        for path in damaged:
            mended = ""
            if repair:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
                mended = "it was dropped and is made again when needed"
            found.append(Damage("derived", f"{path} cannot be used", mended=mended))
        return found

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
        values = (
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
            codec.thumbnail_checksum(image.id, entry.thumbnail) if entry.thumbnail else None,
        )
        key = database.execute(
            f"INSERT INTO images ({_RECORD}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - names
            (*values, codec.record_checksum(values)),
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
            now, images = self._state(database)
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
                # Both come from one index; where it is damaged they need not agree.
                if now >= 0 and (len(alive) != images or not np.array_equal(alive[alive > last], pairs[:, 0])):
                    raise CollectionCorruptError(
                        f"{images} images with {self.method} features are counted, and others are listed",
                        hint=codec.REPAIR_HINT,
                    )
        return Changes(now, pairs[:, 0].copy(), pairs[:, 1].copy(), alive)

    def _state(self, database: sqlite3.Connection) -> tuple[int, int]:
        """Revision and number of images; (-1, 0) when the method is gone, and its features with it."""
        row = database.execute("SELECT revision, images FROM methods WHERE key = ?", (self.key,)).fetchone()
        # With the key: a method that is announced anew counts from the beginning.
        return (row[0] + (self.key << 40), row[1]) if row else (-1, 0)

    def load(self, listed: Keys, revision: int) -> tuple[Keys, GalleryBlock]:
        """See ``Source``.

        Raises:
            CollectionCorruptError: the index lists others than the table holds; features have not their checksum.
        """
        with self.connections.reading() as database:
            # By the table alone: a damaged index must not shorten an answer.
            query = _features_where("features.key BETWEEN ? AND ?", "features NOT INDEXED")
            rows = database.execute(query, (self.key, int(listed[0]), int(listed[-1]))).fetchall()
            now, _ = self._state(database)
        keys, block = self.block(rows)
        if now == revision and not np.array_equal(keys, listed):
            raise CollectionCorruptError(
                f"{len(listed)} {self.method} features are listed, and {len(keys)} are there",
                hint=codec.REPAIR_HINT,
            )
        return keys, block

    def rows(self, condition: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        """(key, id, data, keypoints, checksum) of the features that a condition names, in order of keys."""
        with self.connections.reading() as database:
            return database.execute(_features_where(condition), (self.key, *values)).fetchall()

    def block(self, rows: Sequence[Sequence[Any]]) -> tuple[Keys, GalleryBlock]:
        """Such rows as keys and features."""
        keys = np.array([row[0] for row in rows], dtype=np.int64)
        ids = tuple(row[1] for row in rows)
        features = codec.decode(self.method, self.spec, ids, [codec.Blobs(*row[2:]) for row in rows])
        return keys, GalleryBlock(ids, features)


def _features_where(condition: str, table: str = "features") -> str:
    return (
        "SELECT features.key, images.id, data, keypoints, features.checksum"  # noqa: S608 - conditions are our own
        # An image that is missing here is damage, and must not shorten an answer: no inner join.
        f" FROM {table} LEFT JOIN images ON images.key = features.image"
        f" WHERE features.method = ? AND {condition} ORDER BY features.key"
    )


def _portions(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(values), _IDS_PER_QUERY):
        yield values[begin : begin + _IDS_PER_QUERY]


def _methods(database: sqlite3.Connection) -> dict[str, _Method]:
    rows = database.execute(
        "SELECT name, key, fingerprint, kind, dim, dtype, images, bytes FROM methods ORDER BY name"
    )
    try:
        return {
            name: _Method(key, Fingerprint.from_json(fingerprint), _spec(kind, dim, dtype), images, size)
            for name, key, fingerprint, kind, dim, dtype, images, size in rows
        }
    except ValueError as error:
        raise DamagedTextError(str(error)) from error


def _spec(kind: str, dim: int, dtype: str) -> FeatureSpec:
    if kind not in ("global", "local") or dtype not in ("float32", "uint8", "int8") or dim < 1:
        raise ValueError(f"there are no {kind} features of {dim} {dtype}")
    return FeatureSpec(kind, dim, dtype)  # type: ignore[arg-type]  # checked just now


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


def _whole(row: Sequence[Any]) -> list[Any]:
    """The columns of a record, without their checksum.

    Raises:
        CollectionCorruptError: they do not have it.
    """
    *values, checksum = row
    if not codec.is_record(values, checksum):
        raise CollectionCorruptError(f"the record of image {values[0]!r} is damaged", hint=codec.REPAIR_HINT)
    return values


def _thumbnail(row: Sequence[Any]) -> bytes:
    image_id, checksum, jpeg = row
    if not codec.is_thumbnail(image_id, checksum, jpeg):
        raise CollectionCorruptError(f"the thumbnail of image {image_id!r} is damaged", hint=codec.REPAIR_HINT)
    return jpeg or b""


def _record(row: Sequence[Any]) -> ImageRecord:
    *values, metadata, added_at, _ = _whole(row)
    kept = json.loads(metadata)
    if not isinstance(kept, dict):
        raise DamagedTextError(f"the metadata of image {values[0]!r} are no object")
    return replace(ImageRecord(*values), metadata=kept, added_at=added_at)


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
        make_folder(folder)
    except OSError as error:
        raise StoreError(f"the collection {folder} cannot be opened: {error.strerror}") from error


def _is_foreign(name: str) -> bool:
    # A freshly formatted volume is empty in the eyes of its owner.
    return not (name.startswith((".", schema.FILE_NAME)) or name == "lost+found")


def _is_sound(path: Path, sound: Callable[[str, bytes], bool], indexes: Set[str]) -> bool:
    if path.name in indexes and path.is_dir() and not path.is_symlink():
        return True
    if not path.is_file() or path.name in indexes:
        return False
    try:
        return sound(path.name, path.read_bytes())
    except OSError:
        return False


def _bytes_of_files(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).stat().st_size
            except FileNotFoundError:  # the log comes and goes
                continue
    return total

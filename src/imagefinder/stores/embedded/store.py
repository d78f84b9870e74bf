"""The embedded store: one folder, one process writing, many reading."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import (
    CollectionCorruptError,
    MethodNotIndexedError,
    SourceError,
    StoreError,
    UnknownImageError,
)
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.filters import Filter
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import (
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
from imagefinder.stores.embedded import codec, feature_rows, image_rows, inspection, schema
from imagefinder.stores.embedded.cache import FeatureCache
from imagefinder.stores.embedded.connections import Connections, connect, translated_errors
from imagefinder.stores.embedded.derived import DerivedFiles
from imagefinder.stores.embedded.failure_rows import read_failures, write_failures
from imagefinder.stores.embedded.files import copy_database, make_folder, sync_folder
from imagefinder.stores.embedded.folder import bytes_of_files, prepare_folder
from imagefinder.stores.embedded.method_rows import MethodRow, read_methods, write_method
from imagefinder.stores.embedded.salvage import salvage

DERIVED = "index"
"""Folder of what can be computed again; it may be deleted at any time."""


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
        self._derived = DerivedFiles(folder / DERIVED)
        self._announced: dict[str, str] = {}
        file = folder / schema.FILE_NAME
        prepare_folder(folder, create=create)
        with translated_errors(file), closing(connect(file, create=create)) as database:
            schema.prepare(database, folder, create=create)
        self._connections = Connections(file)

    # -- methods -------------------------------------------------------------------------------------------

    def register(self, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
        """See ``Store``. This object's ``put`` refuses another fingerprint from then on."""
        name = checks.text("method name", fingerprint.method)
        with self._connections.reading() as database:
            stored = read_methods(database).get(name)
        if stored is None or checks.mismatch(stored.fingerprint, stored.spec, fingerprint, spec):
            with self._connections.writing() as database:
                stored = read_methods(database).get(name)
                error = stored and checks.mismatch(stored.fingerprint, stored.spec, fingerprint, spec)
                if stored and stored.images and error:
                    raise error
                write_method(database, fingerprint, spec)
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
        encoded = [feature_rows.encode(entry.image.id, entry.features) for entry in plain]
        if not plain:
            return
        with self._connections.writing() as database:
            methods = read_methods(database)
            for entry in plain:
                self._check_features(entry.features, methods)
            for entry, blobs in zip(plain, encoded, strict=True):
                feature_rows.insert_features(database, image_rows.insert_image(database, entry), blobs, methods)

    def put_features(self, image_id: str, features: Mapping[str, Features]) -> None:
        """See ``Store``.

        Raises:
            FingerprintMismatchError: another process has since registered a method differently.
        """
        checks.check_one_image(image_id, features)
        if not checks.is_id(image_id):
            raise UnknownImageError(image_id)
        encoded = feature_rows.encode(image_id, features)
        with self._connections.writing() as database:
            methods = read_methods(database)
            self._check_features(features, methods)
            feature_rows.replace_features(database, image_rows.key_of(database, image_id), encoded, methods)

    def touch(self, image_id: str, *, uri: str, stamp: str) -> None:
        """See ``Store``."""
        checks.text("uri", uri)
        checks.text("stamp", stamp)
        if checks.is_id(image_id):
            with self._connections.writing() as database:
                image_rows.update_place(database, image_id, uri, stamp)

    def delete(self, ids: Sequence[str]) -> int:
        """See ``Store``."""
        wanted = checks.ids_of(ids)
        if not wanted:
            return 0
        with self._connections.writing() as database:
            return database.executemany("DELETE FROM images WHERE id = ?", [(i,) for i in wanted]).rowcount

    def record_failures(self, failures: Sequence[Failure]) -> None:
        """See ``Store``."""
        plain = checks.plain_failures(failures)
        if plain:
            with self._connections.writing() as database:
                write_failures(database, plain)

    def forget_failures(self, ids: Sequence[str]) -> None:
        """See ``Store``."""
        wanted = checks.ids_of(ids)
        if wanted:
            with self._connections.writing() as database:
                database.executemany("DELETE FROM failures WHERE id = ?", [(i,) for i in wanted])

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, image_id: str) -> ImageRecord:
        """See ``Store``."""
        with self._reading_image(image_id) as database:
            return image_rows.read_record(database, image_id)

    def thumbnail(self, image_id: str) -> bytes:
        """See ``Store``."""
        with self._reading_image(image_id) as database:
            return image_rows.read_thumbnail(database, image_id)

    def features(self, image_id: str, method: str) -> Features:
        """See ``Store``."""
        with self._reading_image(image_id) as database:
            return feature_rows.read_features(database, image_id, method)

    def status(self, ids: Sequence[str]) -> dict[str, ImageStatus]:
        """See ``Store``."""
        wanted = checks.ids_of(ids)
        with self._connections.reading() as database:
            return image_rows.read_status(database, wanted)

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
        with self._connections.reading() as database:
            if where is None and not contains:
                return image_rows.read_page(database, after, limit, source)
            matching = image_rows.read_matching(database, after, source, where, contains)
            return list(islice(matching, max(limit, 0)))

    def scan(self, method: str) -> Iterator[GalleryBlock]:
        """See ``Store``. Blocks of about 32 MB; those that fit into the cache are read from disk only once."""
        with self._connections.reading() as database:
            methods = read_methods(database)
        return self._cache.scan(self._source(method, methods), [known.key for known in methods.values()])

    def select(self, method: str, ids: Sequence[str]) -> GalleryBlock:
        """See ``Store``."""
        return self._source(method).of_ids(checks.ids_of(ids))

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
        return self._source(method).of_keys(keys)

    def checksums(self, method: str, keys: NDArray[np.int64]) -> dict[int, int]:
        """See ``Store``."""
        return self._source(method).checksums(keys)

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """See ``Store``."""
        checks.text("id to begin behind", after)
        with self._connections.reading() as database:
            return read_failures(database, after, limit)

    def info(self) -> StoreInfo:
        """See ``Store``."""
        with self._connections.reading() as database:
            count = image_rows.count_images(database)
            (failures,) = database.execute("SELECT count(*) FROM failures").fetchone()
            methods = {
                name: MethodInfo(method.fingerprint, method.spec, method.images, method.bytes)
                for name, method in read_methods(database).items()
            }
        return StoreInfo(str(self._folder), schema.FORMAT, count, failures, methods, bytes_of_files(self._folder))

    def derived(self, name: str) -> bytes | None:
        """See ``Store``."""
        return self._derived.read(name)

    def put_derived(self, name: str, data: bytes) -> None:
        """See ``Store``."""
        self._derived.write(name, data)

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
        if any(not damage.repaired for damage in found):
            if not repair:
                return found  # rows cannot be read while tables are damaged
            self._connections.close()
            found = [salvage(self._folder)]
            self._connections = Connections(self._folder / schema.FILE_NAME)
            self._cache = FeatureCache(self._cache.limit)
        found += inspection.contents(
            self._connections, repair=repair, sound_thumbnail=sound_thumbnail, progress=progress
        )
        with self._connections.reading() as database, inspection.tolerant(database):
            names = {name for (name,) in database.execute("SELECT name FROM methods")}
        return found + self._derived.check(sound_derived, names, repair=repair)

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
        return self._derived.folder

    def close(self) -> None:
        """See ``Store``."""
        self._connections.close()

    # -- parts ---------------------------------------------------------------------------------------------

    @contextmanager
    def _reading_image(self, image_id: str) -> Iterator[sqlite3.Connection]:
        if not checks.is_id(image_id):
            raise UnknownImageError(image_id)
        with self._connections.reading() as database:
            yield database

    def _source(self, method: str, methods: Mapping[str, MethodRow] | None = None) -> feature_rows.StoredFeatures:
        if methods is None:
            with self._connections.reading() as database:
                methods = read_methods(database)
        if method not in methods:
            raise MethodNotIndexedError(method, methods)
        return feature_rows.StoredFeatures(self._connections, method, methods[method].key, methods[method].spec)

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

    def _check_features(self, features: Mapping[str, Features], methods: Mapping[str, MethodRow]) -> None:
        for name in features:
            announced = self._announced.get(name)
            if announced and name in methods:
                spec = methods[name].spec
                error = checks.mismatch(methods[name].fingerprint, spec, Fingerprint.from_json(announced), spec)
                if error:
                    raise error
        checks.check_registered(features, {name: method.spec for name, method in methods.items()})

"""The embedded store: a collection in a folder, shared by several processes."""

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
    NO_FEATURES,
    Changes,
    Cursor,
    Damage,
    DerivedData,
    Entry,
    Failure,
    GalleryBlock,
    ImageRecord,
    ImageStatus,
    MethodInfo,
    Removal,
    StoreInfo,
)
from imagefinder.core.scratch import SCRATCH
from imagefinder.core.store_parts import Lease
from imagefinder.stores import codec, validation
from imagefinder.stores.cache import FeatureCache
from imagefinder.stores.embedded import (
    check,
    digest_rows,
    feature_rows,
    feed,
    file_metadata_rows,
    image_rows,
    kept_rows,
    leases,
    listing_rows,
    removal_rows,
    sample_rows,
    schema,
    thumbnail_rows,
)
from imagefinder.stores.embedded.connections import Connections, connect, translated_errors
from imagefinder.stores.embedded.derived import DerivedFiles
from imagefinder.stores.embedded.failure_rows import copy_failures, read_failures, write_failures
from imagefinder.stores.embedded.files import copy_database, make_folder, sync_folder
from imagefinder.stores.embedded.folder import bytes_of_files, prepare_folder
from imagefinder.stores.embedded.lookups import Lookups
from imagefinder.stores.embedded.method_rows import MethodRow, read_methods, read_spec, write_method
from imagefinder.stores.embedded.recovery import recover


class EmbeddedStore(Lookups):
    """A collection in a folder; the arrays it returns are read-only and may be shared with other threads.

    ``collection.sqlite`` (with ``-wal`` and ``-shm`` while in use) is the system of record. The folder must be on
    a local disk: SQLite's write-ahead log needs shared memory.
    """

    def __init__(self, folder: Path, *, create: bool, cache_bytes: int) -> None:
        """Open the collection in a folder.

        Args:
            folder: The folder.
            create: Create the collection if it does not exist.
            cache_bytes: Memory for features cached between scans, bytes.

        Raises:
            CollectionNotFoundError: there is no collection, and ``create`` is false.
            CollectionFormatError: the folder contains other files, or a collection of another format.
            CollectionCorruptError: the database is damaged.
            StoreError: the files cannot be read and written.
        """
        self._folder = folder = folder.absolute()
        self._cache = FeatureCache(cache_bytes)
        self._derived = DerivedFiles(folder / SCRATCH)
        self._registered: dict[str, str] = {}
        file = folder / schema.FILE_NAME
        prepare_folder(folder, create=create)
        with translated_errors(file), closing(connect(file, create=create)) as database:
            schema.prepare(database, folder, create=create)
        self._connections = Connections(file)

    # -- methods -------------------------------------------------------------------------------------------

    def register(self, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
        """Register a method; from then on ``put`` of this object rejects other fingerprints."""
        name = validation.check_text("method name", fingerprint.method)
        with self._connections.reading() as database:
            stored = read_methods(database).get(name)
        if stored is None or validation.fingerprint_mismatch(stored.fingerprint, stored.spec, fingerprint, spec):
            with self._connections.writing() as database:
                stored = read_methods(database).get(name)
                error = stored and validation.fingerprint_mismatch(
                    stored.fingerprint, stored.spec, fingerprint, spec
                )
                if stored and stored.images and error:
                    raise error
                write_method(database, fingerprint, spec)
        self._registered[name] = fingerprint.to_json()

    def unregister(self, method: str) -> None:
        """Delete a method and all its features; an unknown method is ignored."""
        self._registered.pop(method, None)
        if validation.is_valid_id(method):
            with self._connections.writing() as database:
                database.execute("DELETE FROM methods WHERE name = ?", (method,))

    # -- writing -------------------------------------------------------------------------------------------

    def put(self, entries: Sequence[Entry], *, replacing: Sequence[str] = (), copied: bool = False) -> None:
        """Add or replace images in one durable transaction, after removing the ids in ``replacing``.

        Raises:
            FingerprintMismatchError: another process has since registered a method differently.
        """
        plain = validation.stamped(validation.normalise_entries(entries), copied=copied)
        encoded = [feature_rows.encode(entry.image.id, entry.features) for entry in plain]
        of_thumbnails = [thumbnail_rows.encode(entry.image.id, entry.thumbnail_features) for entry in plain]
        gone = validation.valid_ids(replacing)
        if not plain and not gone:
            return
        with self._connections.writing() as database:
            methods = read_methods(database)
            for entry in plain:
                self._check_features(entry.features, methods)
            image_rows.delete_images(database, gone)
            removal_rows.clear_removals(database, [entry.image for entry in plain])
            for entry, blobs, of_thumbnail in zip(plain, encoded, of_thumbnails, strict=True):
                key = image_rows.insert_image(database, entry)
                thumbnail_rows.insert(database, key, of_thumbnail)
                file_metadata_rows.insert(database, key, entry.image.id, entry.image.file_metadata)
                kept_rows.insert(database, key, entry.image.id, entry.kept)
                listing_rows.write(database, key, entry.image)
                feature_rows.insert_features(database, key, blobs, methods)
                if not entry.image.sha256:
                    sample_rows.insert_contents(database, key, entry.image.id, blobs, methods)

    def put_features(self, image_id: str, features: Mapping[str, Features]) -> None:
        """Add or replace features of a stored image in one durable transaction.

        Raises:
            FingerprintMismatchError: another process has since registered a method differently.
        """
        validation.check_one_image(image_id, features)
        if not validation.is_valid_id(image_id):
            raise UnknownImageError(image_id)
        encoded = feature_rows.encode(image_id, features)
        with self._connections.writing() as database:
            methods = read_methods(database)
            self._check_features(features, methods)
            key = image_rows.key_of(database, image_id)
            feature_rows.replace_features(database, key, encoded, methods)
            sample_rows.insert_contents(database, key, image_id, encoded, methods)

    def touch(self, image_id: str, *, uri: str, stamp: str) -> None:
        """Update the URI and stamp of an unchanged image; an unknown id is ignored."""
        validation.check_text("uri", uri)
        validation.check_text("stamp", stamp)
        if validation.is_valid_id(image_id):
            with self._connections.writing() as database:
                image_rows.update_location(database, image_id, uri, stamp)

    def delete(self, ids: Sequence[str], *, remember: bool = False) -> int:
        """Delete images; returns how many existed. Their data are overwritten in the database and its log."""
        valid = validation.valid_ids(ids)
        if not valid:
            return 0
        with self._connections.writing(purge=True) as database:
            if remember:
                removal_rows.record_removals(database, valid)
            return image_rows.delete_images(database, valid)

    def forget_removals(self, ids: Sequence[str]) -> int:
        """Delete recorded removals; returns how many there were."""
        valid = validation.valid_ids(ids)
        if not valid:
            return 0
        with self._connections.writing() as database:
            return removal_rows.forget_removals(database, valid)

    def record_removals(self, removals: Sequence[Removal]) -> None:
        """Record removals of another store."""
        validation.check_removals(removals)
        if removals:
            with self._connections.writing() as database:
                removal_rows.copy_removals(database, removals)

    def move_removal(self, removal: Removal, moved: Removal) -> None:
        """Replace a recorded removal by that of the new id and URI of its file; an unknown one is ignored."""
        with self._connections.writing() as database:
            removal_rows.move_removal(database, removal, moved)

    def record_failures(self, failures: Sequence[Failure], *, copied: bool = False) -> None:
        """Record images that could not be indexed; a repeated id counts another attempt."""
        plain = validation.normalise_failures(failures)
        if plain:
            with self._connections.writing() as database:
                (copy_failures if copied else write_failures)(database, plain)

    def forget_failures(self, ids: Sequence[str]) -> None:
        """Delete recorded failures; unknown ids are ignored."""
        valid = validation.valid_ids(ids)
        if valid:
            with self._connections.writing() as database:
                database.executemany("DELETE FROM failures WHERE id = ?", [(i,) for i in valid])

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, image_id: str) -> ImageRecord:
        """The record of an image."""
        with self._reading_image(image_id) as database:
            return image_rows.read_record(database, image_id)

    def thumbnail(self, image_id: str) -> bytes:
        """The JPEG thumbnail of an image; empty if it has none."""
        with self._reading_image(image_id) as database:
            return image_rows.read_thumbnail(database, image_id)

    def features(self, image_id: str, method: str) -> Features:
        """The features of one image and method (a batch of one)."""
        with self._reading_image(image_id) as database:
            return feature_rows.read_features(database, image_id, method)

    def records(self, ids: Sequence[str]) -> dict[str, ImageRecord]:
        """The records of the images that exist, by id."""
        with self._connections.reading() as database:
            return image_rows.read_records(database, validation.valid_ids(ids))

    def thumbnails(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The JPEG thumbnails of the images that exist, by id; empty for an image without one."""
        valid = validation.valid_ids(ids)
        with self._connections.reading() as database:
            return image_rows.read_thumbnails(database, valid)

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        """Digests of the images that exist, by id, from stored checksums."""
        valid = validation.valid_ids(ids)
        with self._connections.reading() as database:
            return digest_rows.read_digests(database, valid)

    def count(self, where: Filter | None = None, *, stacks: bool = False) -> int:
        """The number of images, or stacks, that match the filter."""
        with self._connections.reading() as database:
            if where is None:
                repeated = file_metadata_rows.repeated(database) if stacks else 0
                return image_rows.count_images(database) - repeated
            found = image_rows.matching_ids(database, where)
            return len({stack or (i,) for i, stack in found}) if stacks else sum(1 for _ in found)

    def matching(self, where: Filter, ids: Sequence[str] | None = None) -> dict[str, str]:
        """The ids, among the given ones, of the images that match the filter, with their stacks."""
        valid = None if ids is None else validation.valid_ids(ids)
        with self._connections.reading() as database:
            return dict(image_rows.matching_ids(database, where, valid))

    def entry(self, image_id: str) -> Entry:
        """An image with its features and thumbnail, in one consistent state."""
        with self._reading_image(image_id) as database:
            record = image_rows.read_record(database, image_id)
            features = feature_rows.read_all_features(database, image_id)
            return Entry(record, features, image_rows.read_thumbnail(database, image_id))

    def copies(self, sha256: str) -> list[ImageRecord]:
        """The images with these bytes, ordered by id."""
        validation.check_text("sha256", sha256)
        with self._connections.reading() as database:
            return image_rows.read_copies(database, sha256)

    def sample(self, method: str, n: int) -> list[str]:
        """Ids of the images with the smallest hashes of their content, in the order of the hashes."""
        with self._connections.reading() as database:
            return sample_rows.read_sample(database, method, n)

    def equivalents(self, image_id: str) -> list[str]:
        """The stored ids that differ from this one at most in Unicode normalisation."""
        if not validation.is_valid_id(image_id):
            return []
        with self._connections.reading() as database:
            return image_rows.read_equivalents(database, image_id)

    def removals(
        self,
        *,
        after: str = "",
        limit: int | None = None,
        ids: Sequence[str] | None = None,
        sha256: str | None = None,
    ) -> list[Removal]:
        """Recorded removals, ordered by id and URI."""
        validation.check_text("start id", after)
        valid = None if ids is None else validation.valid_ids(ids)
        with self._connections.reading() as database:
            return removal_rows.read_removals(database, after, limit, valid, sha256)

    def status(self, ids: Sequence[str]) -> dict[str, ImageStatus]:
        """The status of the images that exist, by id."""
        valid = validation.valid_ids(ids)
        with self._connections.reading() as database:
            return image_rows.read_status(database, valid)

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
        with self._connections.reading() as database:
            if where is None and not contains:
                return image_rows.read_page(database, after, limit, source)
            matching = image_rows.read_matching(database, after, source, where, contains)
            return list(islice(matching, max(limit, 0)))

    def scan(self, method: str) -> Iterator[GalleryBlock]:
        """Yield all images with features of a method in blocks of about 32 MB, cached as far as memory allows."""
        with self._connections.reading() as database:
            methods = read_methods(database)
        return self._cache.scan(self._source(method), [stored.key for stored in methods.values()])

    def select(self, method: str, ids: Sequence[str]) -> GalleryBlock:
        """The features of the given images in this order; images without any are skipped."""
        return self._source(method).of_ids(validation.valid_ids(ids))

    def changes(self, method: str, since: Cursor | None) -> Changes:
        """Changes of the features of a method since a cursor, as of one transaction."""
        with self._connections.reading() as database:
            try:
                key, _ = read_spec(database, method)
            except MethodNotIndexedError:
                return NO_FEATURES
            return feed.read_changes(database, key, since)

    def load(
        self, method: str, keys: NDArray[np.int64], *, where: Filter | None = None
    ) -> tuple[NDArray[np.int64], GalleryBlock]:
        """The existing keys whose images match the filter, ascending, and their features."""
        source = self._source(method)
        if where is not None:
            with self._connections.reading() as database:
                found = image_rows.matching_keys(database, source.key, keys.tolist(), where)
            keys = np.array(found, dtype=np.int64)
        return source.of_keys(keys)

    def checksums(self, method: str, keys: NDArray[np.int64]) -> dict[int, int]:
        """Checksums of the existing keys, by key."""
        return self._source(method).checksums(keys)

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """Recorded failures ordered by id, after the id ``after``."""
        validation.check_text("start id", after)
        with self._connections.reading() as database:
            return read_failures(database, after, limit)

    def info(self) -> StoreInfo:
        """Counts, sizes and methods."""
        with self._connections.reading() as database:
            count = image_rows.count_images(database)
            (failures,) = database.execute("SELECT count(*) FROM failures").fetchone()
            methods = {
                name: MethodInfo(method.fingerprint, method.spec, method.images, method.bytes)
                for name, method in read_methods(database).items()
            }
        return StoreInfo(str(self._folder), schema.FORMAT, count, failures, methods, bytes_of_files(self._folder))

    def derived(self, name: str) -> DerivedData | None:
        """Derived data by name, with their version; ``None`` if there are none."""
        self._connections.check_place()
        return self._derived.read(name)

    def put_derived(self, name: str, data: bytes, *, replaces: str | None = None) -> str | None:
        """Store derived data under a name; ``None`` if ``replaces`` is not the stored version."""
        with self._connections.writing():  # no other writer comes between comparing the version and writing
            return self._derived.write(name, data, replaces)

    def lease(self, name: str, seconds: float) -> Lease | None:
        """Obtain the lease of a name; ``None`` while another thread or process holds it."""
        return leases.obtain(self._connections, name, seconds)

    def is_in_place(self) -> bool:
        """Whether the files in the folder are still those that were opened."""
        return self._connections.is_in_place()

    def check(
        self,
        *,
        repair: bool = False,
        sound_thumbnail: Callable[[bytes], bool] = bool,
        sound_derived: Callable[[str, bytes], bool] = lambda _name, _data: True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Damage]:
        """Check everything, and repair it if ``repair``; damaged tables are recovered into a new database.

        Raises:
            CollectionBusyError: the recovery needs exclusive access, and another program has the collection open.
        """
        found = check.check_structure(self._connections, repair=repair)
        if any(not damage.repaired for damage in found):
            if not repair:
                return found  # the rows of damaged tables cannot be read
            self._connections.close()
            found = [recover(self._folder)]
            self._connections = Connections(self._folder / schema.FILE_NAME)
            self._cache = FeatureCache(self._cache.limit)
        found += check.check_contents(
            self._connections, repair=repair, sound_thumbnail=sound_thumbnail, progress=progress
        )
        with self._connections.reading() as database, check.lenient_text(database):
            names = {name for (name,) in database.execute("SELECT name FROM methods")}
        return found + self._derived.check(sound_derived, names, repair=repair)

    def backup(self, destination: Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Copy a consistent state to a new folder, which appears complete and checked, or not at all."""
        destination = destination.absolute()
        with self._connections.reading():
            pass  # checks that the files are in place
        try:
            if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
                raise SourceError(
                    f"{destination} already exists and is not an empty folder", hint="use a new or empty folder"
                )
            make_folder(destination.parent)
            with tempfile.TemporaryDirectory(
                dir=destination.parent, prefix=f".{destination.name}.", suffix=".half"
            ) as half:
                self._copy_to(Path(half) / "copy", progress)
                (Path(half) / "copy").replace(destination)
                sync_folder(destination.parent)
        except OSError as error:
            raise StoreError(f"cannot write the backup {destination}: {error.strerror}") from error

    def close(self) -> None:
        """Release all resources; repeated calls are allowed."""
        self._connections.close()

    # -- parts ---------------------------------------------------------------------------------------------

    @contextmanager
    def _reading_image(self, image_id: str) -> Iterator[sqlite3.Connection]:
        if not validation.is_valid_id(image_id):
            raise UnknownImageError(image_id)
        with self._connections.reading() as database:
            yield database

    def _source(self, method: str) -> feature_rows.StoredFeatures:
        with self._connections.reading() as database:
            return feature_rows.StoredFeatures(self._connections, method, *read_spec(database, method))

    def _copy_to(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        folder.mkdir()
        file = self._folder / schema.FILE_NAME
        with translated_errors(file), closing(connect(file)) as database:
            copy_database(database, folder / schema.FILE_NAME, progress)
            with closing(connect(folder / schema.FILE_NAME)) as copied:
                schema.begin_history(copied)
        self._connections.check_place()
        with closing(EmbeddedStore(folder, create=False, cache_bytes=0)) as copy:
            found = copy.check()
        if found:
            raise CollectionCorruptError(
                f"the collection {self._folder} is damaged, so no backup was written: {found[0].message}",
                hint=codec.REPAIR_HINT,
            )
        sync_folder(folder)

    def _check_features(self, features: Mapping[str, Features], methods: Mapping[str, MethodRow]) -> None:
        for name in features:
            registered = self._registered.get(name)
            if registered and name in methods:
                spec = methods[name].spec
                error = validation.fingerprint_mismatch(
                    methods[name].fingerprint, spec, Fingerprint.from_json(registered), spec
                )
                if error:
                    raise error
        validation.check_registered(features, {name: method.spec for name, method in methods.items()})

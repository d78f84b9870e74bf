"""Open the collection at a location, with the options of the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from imagefinder.core import home
from imagefinder.core.blobs import Blobs
from imagefinder.core.errors import SettingsError
from imagefinder.core.location import as_location, scheme_of, shown
from imagefinder.core.settings import Settings
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.folder_objects import FolderObjects
from imagefinder.stores.distributed.milvus_address import MilvusAddress
from imagefinder.stores.distributed.object_cache import ObjectCache
from imagefinder.stores.distributed.object_payloads import InObjects, in_rows
from imagefinder.stores.distributed.payloads import Payloads
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.store import DistributedStore
from imagefinder.stores.distributed.vectors import PgVectors, VectorTables


def open_store(location: str, settings: Settings, *, create: bool) -> DistributedStore:
    """The store of a collection.

    Raises:
        SettingsError: the location or a setting is not valid.
        StoreError: the collection cannot be opened.
    """
    address = Address.of_collection(location)
    database = Database(address.database, options_of(settings))
    try:
        return DistributedStore(
            database,
            address.collection,
            create=create,
            cache_bytes=settings.cache_bytes,
            payloads=payloads_of(settings),
            vectors=vectors_of(settings),
        )
    except BaseException:
        database.close()
        raise


def options_of(settings: Settings) -> Options:
    """The options of databases in the settings."""
    file = settings.database_password_file
    return Options(
        seconds=settings.database_seconds,
        connections=settings.database_connections,
        password_file=home.expand(file) if file else None,
    )


def payloads_of(settings: Settings) -> Callable[[Database, int], Payloads]:
    """Where features and thumbnails are: in rows, or in the object store of the setting ``objects``.

    Raises:
        SettingsError: the setting is malformed, or a file that it names cannot be read.
    """
    if settings.objects == "rows":
        return in_rows
    cache = None
    if settings.objects_cache_bytes:
        cache = ObjectCache(settings.folder("scratch") / "objects", settings.objects_cache_bytes)
    return partial(InObjects, open_objects(settings.objects), cache=cache)


def vectors_of(settings: Settings) -> Callable[[Database, int], VectorTables]:
    """Who searches the vectors: the database, or the Milvus server of the setting ``vectors``.

    Raises:
        SettingsError: the setting is malformed, a file that it names cannot be read, or the client is missing.
    """
    if settings.vectors == "rows":
        return PgVectors
    address = MilvusAddress.of(settings.vectors)
    try:
        from imagefinder.stores.distributed.milvus import MilvusServer  # noqa: PLC0415 - loads the client
        from imagefinder.stores.distributed.milvus_vectors import MilvusCopies  # noqa: PLC0415 - loads the client
    except ImportError as error:
        raise SettingsError(
            f"vectors in Milvus need a package that is not installed: {error.name}",
            hint="pip install 'imagefinder[cluster,milvus]'",
        ) from error
    return partial(MilvusCopies, MilvusServer(address))


_opened: WeakValueDictionary[str, Blobs] = WeakValueDictionary()
_opened_lock = threading.Lock()


def open_objects(location: str) -> Blobs:
    """The object store at a location, shared by all collections of the process.

    Raises:
        SettingsError: the location is malformed, or a file that it names cannot be read.
    """
    with _opened_lock:
        found = _opened.get(location)
        if found is None:
            found = _opened[location] = _open_objects(location)
        return found


def _open_objects(location: str) -> Blobs:
    if scheme_of(location) == "s3":
        from imagefinder.stores.distributed.objects import (  # noqa: PLC0415 - loads the client
            BucketAddress,
            BucketObjects,
        )

        return BucketObjects(BucketAddress.of(location))
    if scheme_of(location) != "file":
        raise SettingsError(
            f"objects: {shown(location)} is not an object store",
            hint="write rows, s3://BUCKET/PREFIX?endpoint=https://HOST, or file:///FOLDER for a shared folder",
        )
    return FolderObjects(Path(as_location(location)))

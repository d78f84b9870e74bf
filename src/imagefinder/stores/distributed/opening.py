"""Open the collection at a location, with the options of the settings."""

from __future__ import annotations

from imagefinder.core import home
from imagefinder.core.settings import Settings
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.store import DistributedStore


def open_store(location: str, settings: Settings, *, create: bool) -> DistributedStore:
    """The store of a collection.

    Raises:
        SettingsError: the location or a setting is not valid.
        StoreError: the collection cannot be opened.
    """
    address = Address.of_collection(location)
    database = Database(address.database, options_of(settings))
    try:
        return DistributedStore(database, address.collection, create=create, cache_bytes=settings.cache_bytes)
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

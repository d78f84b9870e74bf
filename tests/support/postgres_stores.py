"""Stores in PostgreSQL for tests; processes that tests start can import this module."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.object_payloads import InObjects
from imagefinder.stores.distributed.objects import BucketAddress, BucketObjects
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.store import DistributedStore


def open_store(url: str, cache_bytes: int, location: Path) -> DistributedStore:
    """The collection of a test: named by a folder, because the store suite names locations so."""
    database = Database(Address.of_database(url), Options(connections=8))
    return DistributedStore(database, collection_name(location), create=True, cache_bytes=cache_bytes)


def open_store_with_objects(url: str, cache_bytes: int, objects: str, location: Path) -> DistributedStore:
    """The collection of a test with all features and thumbnails, however small, in an object store."""
    payloads = partial(InObjects, BucketObjects(BucketAddress.of(objects)), in_row=0)
    database = Database(Address.of_database(url), Options(connections=8))
    return DistributedStore(
        database, collection_name(location), create=True, cache_bytes=cache_bytes, payloads=payloads
    )


def collection_name(location: Path) -> str:
    """The name of the collection for a location."""
    return hashlib.sha256(str(location).encode()).hexdigest()[:20]

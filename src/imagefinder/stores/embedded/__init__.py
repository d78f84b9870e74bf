"""A collection in one folder: SQLite is the system of record, everything else in it is derived."""

from imagefinder.stores.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore"]

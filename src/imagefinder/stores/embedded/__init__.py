"""A store in one folder: an SQLite database, and derived files that can be recomputed."""

from imagefinder.stores.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore"]

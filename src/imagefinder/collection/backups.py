"""Backups of collections whose store can copy itself."""

from __future__ import annotations

from imagefinder.core.contracts import Store
from imagefinder.core.errors import StoreError
from imagefinder.core.store_parts import SupportsBackup


def with_backups(store: Store) -> SupportsBackup:
    """The store, as one that can be backed up.

    Raises:
        StoreError: it cannot copy itself.
    """
    if not isinstance(store, SupportsBackup):
        raise StoreError(
            f"the collection {store.info().location} cannot be backed up: its store has no backups",
            hint="use the backups of the database it is in, or export its features: imagefinder export",
        )
    return store

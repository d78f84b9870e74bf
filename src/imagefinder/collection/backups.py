"""Backups of collections whose store can copy itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from imagefinder.core import home
from imagefinder.core.contracts import Store
from imagefinder.core.errors import StoreError
from imagefinder.core.store_parts import SupportsBackup


def back_up(store: Store, destination: str | os.PathLike[str], progress: Callable[[int, int], None]) -> Path:
    """Copy a store to a folder (``SupportsBackup.backup``) and return the folder.

    Raises:
        StoreError: this kind of store cannot copy itself, or the copy cannot be written.
    """
    if not isinstance(store, SupportsBackup):
        raise StoreError(
            f"the collection {store.info().location} cannot be backed up: its store has no backups",
            hint="use the backups of the database it is in, or export its features: imagefinder export",
        )
    folder = home.expand(destination).absolute()
    store.backup(folder, progress)
    return folder

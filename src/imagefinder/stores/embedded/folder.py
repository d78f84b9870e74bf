"""The folder of a collection."""

from __future__ import annotations

import os
from pathlib import Path

from imagefinder.core.errors import CollectionFormatError, StoreError
from imagefinder.stores.embedded import schema
from imagefinder.stores.embedded.files import make_folder


def prepare_folder(folder: Path, *, create: bool) -> None:
    """Make sure that a folder exists and may hold a collection.

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


def bytes_of_files(folder: Path) -> int:
    """Bytes of all files in and below a folder."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).stat().st_size
            except FileNotFoundError:  # the log comes and goes
                continue
    return total

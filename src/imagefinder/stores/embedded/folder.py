"""Check and create the folder of a collection."""

from __future__ import annotations

import os
from pathlib import Path

from imagefinder.core.errors import CollectionFormatError, StoreError
from imagefinder.stores.embedded import schema
from imagefinder.stores.embedded.files import make_folder


def prepare_folder(folder: Path, *, create: bool) -> None:
    """Make sure that a folder exists and is a collection, or empty so that it can become one.

    Raises:
        CollectionNotFoundError: there is no collection, and ``create`` is false.
        CollectionFormatError: the path is a file, or the folder contains other files.
        StoreError: the folder cannot be read or created.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise CollectionFormatError(
                f"{folder} is a file, but a collection is a folder", hint="use a new or empty folder"
            )
        if (folder / schema.FILE_NAME).exists():
            return
        if folder.exists() and any(_is_foreign(path.name) for path in folder.iterdir()):
            raise CollectionFormatError(
                f"{folder} is not an imagefinder collection, but contains other files",
                hint="use a new or empty folder"
                if create
                else f"check the path: a collection contains the file {schema.FILE_NAME}",
            )
        if not create:
            raise schema.not_found(folder)
        make_folder(folder)
    except OSError as error:
        raise StoreError(f"the collection {folder} cannot be opened: {error.strerror}") from error


def _is_foreign(name: str) -> bool:
    # A newly formatted volume contains lost+found and counts as empty.
    return not (name.startswith((".", schema.FILE_NAME)) or name == "lost+found")


def bytes_of_files(folder: Path) -> int:
    """Total size of all files in a folder and its subfolders, bytes."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).stat().st_size
            except FileNotFoundError:  # SQLite creates and deletes its log at any time
                continue
    return total

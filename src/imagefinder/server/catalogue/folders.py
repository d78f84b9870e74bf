"""Collections in the subfolders of one folder."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path

from imagefinder.core.collection_names import COLLECTION_NAME
from imagefinder.core.errors import CollectionProtectedError, StoreError

_DELETED = ".deleted-"


class FolderCatalogue:
    """The collections in a folder, one subfolder each."""

    def __init__(self, folder: Path) -> None:
        """Store the folder, which need not exist."""
        self._folder = folder

    def names(self) -> list[str]:
        """The names of all collections, sorted."""
        try:
            return sorted(
                path.name
                for path in self._folder.iterdir()
                if re.fullmatch(COLLECTION_NAME, path.name) and path.is_dir()
            )
        except OSError:  # the folder does not exist yet
            return []

    def exists(self, name: str) -> bool:
        """Whether there is a collection with this name."""
        return (self._folder / name).is_dir()

    def location(self, name: str) -> str:
        """The folder of the collection with this name."""
        return str(self._folder / name)

    def check_deletable(self, name: str) -> None:
        """Check that a collection is not a symbolic link.

        Raises:
            CollectionProtectedError: it is.
        """
        if (self._folder / name).is_symlink():
            raise CollectionProtectedError(
                f"the collection {name!r} is a symbolic link on the server",
                hint="let the server's operator delete it",
            )

    def delete(self, name: str) -> None:
        """Delete the folder of a collection.

        Raises:
            StoreError: its files cannot be deleted.
        """
        folder = self._folder / name
        renamed = self._folder / f"{_DELETED}{secrets.token_hex(8)}"
        try:
            if folder.is_dir():
                folder.rename(renamed)  # atomic: no other process sees a half-deleted collection
                shutil.rmtree(renamed)
        except OSError as error:
            raise StoreError(f"the collection {name!r} cannot be deleted: {error.strerror}") from error

    def remove_leftovers(self) -> None:
        """Remove the files that interrupted deletions left behind."""
        for path in self._folder.glob(f"{_DELETED}*"):
            shutil.rmtree(path, ignore_errors=True)

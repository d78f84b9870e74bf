"""Files of derived data, which can be recomputed and may be deleted at any time."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Set
from pathlib import Path

from imagefinder.core.files import write_atomically
from imagefinder.core.records import SHORTLIST, Damage, DerivedData
from imagefinder.stores import validation
from imagefinder.stores.versions import may_replace, version_of

_log = logging.getLogger(__name__)


class DerivedFiles:
    """A folder of derived data; names are plain words."""

    def __init__(self, folder: Path) -> None:
        """Set the folder, which is created with the first file."""
        self.folder = folder
        self._warned = False

    def read(self, name: str) -> DerivedData | None:
        """Read data by name; ``None`` if they are missing or unreadable."""
        try:
            data = self._path(name).read_bytes()
        except OSError:  # unreadable data are recomputed
            return None
        return DerivedData(data, version_of(data))

    def write(self, name: str, data: bytes, replaces: str | None = None) -> str | None:
        """Write data under a name, if the folder is writable; call it within a write transaction of the database.

        Returns:
            Their version; ``None`` if ``replaces`` is not the stored version.
        """
        target = self._path(name)
        if not may_replace(self.read(name), replaces):
            return None
        try:
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, [data])
        except OSError as error:  # read-only or full
            self._warn(error)
        return version_of(data)

    def _warn(self, error: OSError) -> None:
        """Log once that the folder cannot be written."""
        if not self._warned:
            self._warned = True
            reason = error.strerror or error
            _log.warning(
                "%s cannot be written (%s), so calibration is not kept, and repeated by every command; make the "
                "folder writable",
                self.folder,
                reason,
            )

    def check(self, is_valid: Callable[[str, bytes], bool], methods: Set[str], *, repair: bool) -> list[Damage]:
        """Find damaged files, and delete them if ``repair``.

        Args:
            is_valid: Whether these bytes are valid data of this name.
            methods: Names of the methods; the folders of their indexes are checked elsewhere.
            repair: Delete damaged files.
        """
        if self.folder.exists() and not self.folder.is_dir():
            damaged = [self.folder]
        else:
            paths = sorted(self.folder.iterdir()) if self.folder.exists() else []
            indexes = {f"{SHORTLIST}{name}" for name in methods}
            damaged = [path for path in paths if not _is_usable(path, is_valid, indexes)]
        found = []
        for path in damaged:
            repaired = ""
            if repair:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
                repaired = "deleted; it is recomputed when needed"
            found.append(Damage("derived", f"{path} is damaged", repaired=repaired))
        return found

    def _path(self, name: str) -> Path:
        return self.folder / validation.check_derived_name(name)


def _is_usable(path: Path, is_valid: Callable[[str, bytes], bool], indexes: Set[str]) -> bool:
    if path.name in indexes and path.is_dir() and not path.is_symlink():
        return True
    if not path.is_file() or path.name in indexes:
        return False
    try:
        return is_valid(path.name, path.read_bytes())
    except OSError:
        return False

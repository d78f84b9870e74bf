"""Files of what can be computed again; all of them may be deleted at any time."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Set
from pathlib import Path

from imagefinder.core.files import write_atomically
from imagefinder.core.records import SHORTLIST, Damage
from imagefinder.stores import checks

_log = logging.getLogger(__name__)


class DerivedFiles:
    """A folder of derived data, each under a plain word."""

    def __init__(self, folder: Path) -> None:
        """Only stores; the folder is made with the first file."""
        self.folder = folder

    def read(self, name: str) -> bytes | None:
        """What was written under a name; ``None`` if it is not there or cannot be read."""
        try:
            return self._path(name).read_bytes()
        except OSError:  # what cannot be read is computed again
            return None

    def write(self, name: str, data: bytes) -> None:
        """Keep data under a name, if the folder can be written."""
        target = self._path(name)
        try:
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, [data])
        except OSError:  # read-only or full: it is computed again next time
            _log.info("could not keep %s", target, exc_info=True)

    def check(self, sound: Callable[[str, bytes], bool], methods: Set[str], *, repair: bool) -> list[Damage]:
        """Find files that cannot be used, and delete them if ``repair``.

        Args:
            sound: Whether a file of this name may hold these bytes.
            methods: Names of the methods; the folders of their indexes verify themselves.
            repair: Delete what is found.
        """
        if self.folder.exists() and not self.folder.is_dir():
            damaged = [self.folder]
        else:
            paths = sorted(self.folder.iterdir()) if self.folder.exists() else []
            indexes = {f"{SHORTLIST}{name}" for name in methods}
            damaged = [path for path in paths if not _is_sound(path, sound, indexes)]
        found = []
        for path in damaged:
            repaired = ""
            if repair:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
                repaired = "it was dropped and is made again when needed"
            found.append(Damage("derived", f"{path} cannot be used", repaired=repaired))
        return found

    def _path(self, name: str) -> Path:
        return self.folder / checks.derived_name(name)


def _is_sound(path: Path, sound: Callable[[str, bytes], bool], indexes: Set[str]) -> bool:
    if path.name in indexes and path.is_dir() and not path.is_symlink():
        return True
    if not path.is_file() or path.name in indexes:
        return False
    try:
        return sound(path.name, path.read_bytes())
    except OSError:
        return False

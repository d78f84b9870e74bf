"""Scratch space: local files that are derived from a store."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

SCRATCH = "index"
"""Name of the scratch folder in the folder of a collection."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder of this machine for files that can be rebuilt from a store, and deleted at any time.

    A store does not know it: processes on several machines that share a store have one each.

    Attributes:
        root: The folder; it is created with the first file.
    """

    root: Path

    def folder(self, name: str) -> Path:
        """The folder of one kind of files; it may not exist yet."""
        return self.root / name

    def delete(self, name: str) -> None:
        """Delete the folder of one kind of files, as far as possible."""
        shutil.rmtree(self.folder(name), ignore_errors=True)

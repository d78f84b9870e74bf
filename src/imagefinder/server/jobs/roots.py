"""The folders that jobs may index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from imagefinder.indexing.guard import Guard
from imagefinder.server.errors import Problem


def real_roots(roots: Sequence[Path]) -> tuple[str, ...]:
    """The folders the operator allowed, links followed; those that are not there (yet) too."""
    return tuple(os.path.realpath(root) for root in roots)


def allowed(folder: str, roots: Sequence[str]) -> str:
    """The real path of what a job shall index.

    Whatever lies outside is refused in the same words, there or not, so that nobody learns what the server has.

    Raises:
        Problem: ``folder_not_allowed``: it is outside of the folders; ``folder_not_found``: it is not there.
    """
    if not roots:
        raise Problem(
            "folder_not_allowed",
            "this server indexes no folders of its own",
            hint="its operator can allow some with the setting job_roots",
            field="folder",
        )
    try:
        real = os.path.realpath(folder) if Path(folder).is_absolute() else ""
    except ValueError:  # what no file system can hold
        real = ""
    if not real:
        raise Problem("folder_not_allowed", f"{folder[:200]!a} is no absolute path", field="folder")
    if not Guard(within=tuple(roots)).allows(real):
        raise Problem(
            "folder_not_allowed",
            f"{folder[:200]!a} is outside of the folders allowed here",
            hint="GET /v1/info lists them as job_roots",
            field="folder",
        )
    if not Path(real).exists():
        raise Problem("folder_not_found", f"there is nothing at {folder[:200]!a}", field="folder")
    return real

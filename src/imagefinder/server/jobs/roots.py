"""The folders from which jobs may add images (setting ``job_roots``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from imagefinder.indexing.guard import Guard
from imagefinder.server.errors import Problem


def resolve_roots(roots: Sequence[Path]) -> tuple[str, ...]:
    """The real paths of the allowed folders, with symbolic links resolved; a folder need not exist yet."""
    return tuple(os.path.realpath(root) for root in roots)


def resolve_folder(folder: str, roots: Sequence[str]) -> str:
    """The real path of the folder, archive or list that a job should add.

    The error for a path outside the allowed folders does not depend on whether the path exists, so that it reveals
    nothing about the server's files.

    Raises:
        Problem: ``folder_not_allowed``: the path is outside ``roots``; ``folder_not_found``: it does not exist.
    """
    if not roots:
        raise Problem(
            "folder_not_allowed",
            "this server does not add images from its own folders",
            hint="the operator can allow folders with the setting job_roots",
            field="folder",
        )
    try:
        real = os.path.realpath(folder) if Path(folder).is_absolute() else ""
    except ValueError:  # for example, a null character
        real = ""
    if not real:
        raise Problem("folder_not_allowed", f"{folder[:200]!a} is not an absolute path", field="folder")
    if not Guard(within=tuple(roots)).allows(real):
        raise Problem(
            "folder_not_allowed",
            f"{folder[:200]!a} is not in job_roots",
            hint="GET /v1/info lists the allowed folders as job_roots",
            field="folder",
        )
    if not Path(real).exists():
        raise Problem("folder_not_found", f"{folder[:200]!a} does not exist on the server", field="folder")
    return real

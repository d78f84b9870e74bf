"""The user's home folder, which a service or a container may lack."""

from __future__ import annotations

import os
from pathlib import Path

from imagefinder.core.errors import SettingsError

HOME = "~"
"""First part of a path in a home folder that does not exist."""


def home_folder() -> Path | None:
    """The home folder: ``HOME``, else that of the user database; ``None`` without either.

    A relative ``HOME`` is ignored: it would name another folder in each working directory.
    """
    folder = os.environ.get("HOME", "")
    if os.name == "nt":  # HOME is not used on Windows
        folder = os.path.expanduser(HOME)  # noqa: PTH111 - returns "~" instead of raising an error
    elif not Path(folder).is_absolute():
        folder = _from_user_database()
    return Path(folder) if Path(folder).is_absolute() else None


def expand(path: str | os.PathLike[str]) -> Path:
    """The path with a leading ``~`` replaced by the home folder; unchanged if there is none."""
    path = Path(path)
    if path.parts[:1] == (HOME,):
        folder = home_folder()
        return path if folder is None else folder.joinpath(*path.parts[1:])
    return Path(os.path.expanduser(path))  # noqa: PTH111 - ~user: unchanged if there is no such user


def check(path: Path, name: str, *, hint: str) -> Path:
    """The path, for use.

    Args:
        path: A path that ``expand`` returned.
        name: What it is, for the message.
        hint: How to name another folder.

    Raises:
        SettingsError: it is in the home folder, and there is none.
    """
    if path.parts[:1] == (HOME,):
        raise SettingsError(
            f"{name} is in the home folder ({path}), but HOME is not set and this user has no home folder",
            hint=hint,
        )
    return path


def _from_user_database() -> str:
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):
        return ""

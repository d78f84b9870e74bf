"""The environment variables of the Hugging Face model hub: cache, address, offline mode, timeouts, token.

The names and defaults are those of the package ``huggingface_hub``, so both use the same files. It is not a
dependency because it takes 27 MB to install and its downloads do not resume across calls.
"""

from __future__ import annotations

import os
from pathlib import Path

from imagefinder.core import home
from imagefinder.core.errors import ModelError

_TIMEOUT = 10.0
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def cache_folder() -> Path:
    """Folder of downloaded repositories (``HF_HUB_CACHE``, else ``hub`` in ``HF_HOME``)."""
    default = os.environ.get("HUGGINGFACE_HUB_CACHE") or str(_home() / "hub")
    return _path(os.environ.get("HF_HUB_CACHE") or default)


def check_cache_folder() -> None:
    """Check that downloads have a folder.

    Raises:
        SettingsError: it is in the home folder of a user who has none.
    """
    hint = "set HF_HOME to a folder that this user can write"
    home.check(cache_folder(), "the cache of the model hub", hint=hint)


def endpoint() -> str:
    """Address of the hub or of a mirror (``HF_ENDPOINT``), without a slash at the end."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """Whether downloads are forbidden (``HF_HUB_OFFLINE`` or ``TRANSFORMERS_OFFLINE``)."""
    return _is_true(os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE"))


def metadata_timeout() -> float:
    """Seconds without a byte after which a request about a file fails (``HF_HUB_ETAG_TIMEOUT``, 10).

    Raises:
        ModelError: the variable is not a number.
    """
    return _seconds("HF_HUB_ETAG_TIMEOUT")


def download_timeout() -> float:
    """Seconds without a byte after which a download fails (``HF_HUB_DOWNLOAD_TIMEOUT``, 10).

    Raises:
        ModelError: the variable is not a number.
    """
    return _seconds("HF_HUB_DOWNLOAD_TIMEOUT")


def token() -> str | None:
    """Access token: ``HF_TOKEN``, else the file that ``hf auth login`` writes; ``None`` without one.

    ``HF_HUB_DISABLE_IMPLICIT_TOKEN`` forbids to send it.

    Raises:
        OSError: the file exists and cannot be read.
    """
    if _is_true(os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN")):
        return None
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if value := os.environ.get(name, "").strip():
            return value
    try:
        path = _path(os.environ.get("HF_TOKEN_PATH") or str(_home() / "token"))
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def _home() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~") / ".cache")
    return _path(os.environ.get("HF_HOME") or str(Path(base) / "huggingface"))


def _seconds(name: str) -> float:
    try:
        return float(os.environ.get(name) or _TIMEOUT) or _TIMEOUT
    except ValueError as error:
        raise ModelError(
            f"the environment variable {name} is not a number of seconds: {os.environ[name]!r}",
            hint=f"unset {name}, or set it to a number such as 30",
        ) from error


def _path(text: str) -> Path:
    return home.expand(os.path.expandvars(text))


def _is_true(value: str | None) -> bool:
    return (value or "").upper() in _TRUE

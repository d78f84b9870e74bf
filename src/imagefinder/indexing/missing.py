"""Find out which images have lost their file, in bounded time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from imagefinder.indexing.source_item import local_path

_SECONDS = 0.5


def is_gone(uri: str) -> bool:
    """Whether the local file of a URI, or its archive, no longer exists; false if that cannot be determined."""
    path = local_path(uri)
    if path is None:
        return False
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def gone_uris(uris: Iterable[str]) -> frozenset[str]:
    """The URIs among these whose local file no longer exists.

    After half a second, as on a network disk that does not respond, the result is empty: nothing is known.
    """
    wanted = tuple(uri for uri in uris if local_path(uri) is not None)
    if not wanted:
        return frozenset()
    future = _thread().submit(lambda: frozenset(filter(is_gone, wanted)))
    try:
        return future.result(_SECONDS)
    except TimeoutError:
        future.cancel()
        return frozenset()


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="imagefinder-missing")

"""Copies a collection into another store, while the original goes on searching and adding.

The copy gets records, thumbnails, features of all methods, features of thumbnails, recorded failures and removals,
and the null model. It lacks what is recomputed: ANN indexes and duplicate reports.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from imagefinder.core.contracts import Store
from imagefinder.core.errors import SourceError
from imagefinder.runtime import Runtime
from imagefinder.search import null_model
from imagefinder.stores.transfer import Step, Stopped, Transfer, checksum_of

MARKER = "copy.json"
"""Name of the derived data by which a copy is recognised."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """The result of copying a collection.

    Attributes:
        source: Location of the original.
        target: Location of the copy.
        images: Number of images in the copy.
        copied: Number of images that were written.
        unchanged: Number of images that the copy had already, with the same checksums.
        removed: Number of images removed from the copy because the original no longer has them.
        failures: Number of recorded failures in the copy.
        removals: Number of recorded removals in the copy.
        null_model: Whether the null model was copied; without one, the copy is calibrated again.
        verified: Whether counts and checksums of all images are the same in both.
        problems: Why they are not, one sentence each; at most 20.
        seconds: Duration, seconds.
        interrupted: Whether the run was stopped early; ``resume`` continues it.
    """

    source: str
    target: str
    images: int
    copied: int
    unchanged: int
    removed: int
    failures: int
    removals: int
    null_model: bool
    verified: bool
    problems: tuple[str, ...]
    seconds: float
    interrupted: bool


def copy(
    source: Store,
    target: Store,
    runtime: Runtime,
    *,
    resume: bool = False,
    progress: Step | None = None,
    stop: threading.Event | None = None,
) -> CopyReport:
    """Copy a store; arguments and errors as for ``Collection.copy_to``."""
    begin = time.monotonic()
    origin, place = source.info().location, target.info().location
    _check_target(target, place, origin, resume=resume)
    _mark(target, origin, None)
    extractor = runtime.thumbnail_method.extractor
    thumbnails = extractor.fingerprint(), extractor.spec
    transfer = Transfer(source, target, thumbnails, progress or _silent, stop or threading.Event())
    verified = model = interrupted = False
    failures = removals = 0
    try:
        verified = transfer.images()
        failures, removals = transfer.failures_and_removals()
        verified = verified and not transfer.problems
        model = _copy_null_model(source, target, runtime)
    except Stopped:
        interrupted = True
    if verified:
        _mark(target, origin, transfer.checksum())
    return CopyReport(
        source=origin,
        target=place,
        images=target.count(),
        copied=transfer.copied,
        unchanged=transfer.unchanged,
        removed=transfer.removed,
        failures=failures,
        removals=removals,
        null_model=model,
        verified=verified,
        problems=tuple(transfer.problems),
        seconds=time.monotonic() - begin,
        interrupted=interrupted,
    )


def _silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""


def _check_target(target: Store, place: str, origin: str, *, resume: bool) -> None:
    """Check that nothing is lost if the target is made equal to the original."""
    info = target.info()
    if not info.images and not info.failures and not target.removals(limit=1):
        return
    if not resume:
        raise SourceError(
            f"{place} is not empty: it has {info.images} image{'s' * (info.images != 1)}",
            hint="copy to a new collection; --resume continues an interrupted copy",
        )
    marker = _marker(target)
    if marker.get("source") != origin:
        of = f"a copy of {marker['source']}, not" if "source" in marker else "not a copy"
        raise SourceError(
            f"{place} is {of} of {origin}, so the copy cannot be resumed", hint="copy to a new collection"
        )
    if marker.get("checksum") not in (None, checksum_of(target)):
        raise SourceError(
            f"{place} has changed since it was copied, and resuming would undo these changes",
            hint="copy to a new collection",
        )


def _mark(target: Store, origin: str, checksum: int | None) -> None:
    """Mark the target as a copy; unfinished without a checksum."""
    target.put_derived(MARKER, json.dumps({"source": origin, "checksum": checksum}).encode())


def _marker(target: Store) -> dict[str, Any]:
    """What ``_mark`` stored; empty if there is no readable marker."""
    stored = target.derived(MARKER)
    try:
        content = json.loads(stored.data) if stored else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _copy_null_model(source: Store, target: Store, runtime: Runtime) -> bool:
    stored = source.derived(null_model.NAME)
    if stored is None or not null_model.is_intact(stored.data, runtime.calibrator):
        return False
    return target.put_derived(null_model.NAME, stored.data) is not None

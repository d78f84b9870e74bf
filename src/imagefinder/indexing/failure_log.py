"""The failures that a store has on record, brought up to date by a run."""

from __future__ import annotations

from collections.abc import Collection

from imagefinder.core.contracts import Store
from imagefinder.core.records import Failure


class FailureLog:
    """Records new failures in batches and removes those that are over."""

    def __init__(self, store: Store) -> None:
        """Reads what earlier runs have recorded."""
        self._store = store
        self._earlier = {failure.id: failure.source for failure in store.failures()}
        self._unwritten: list[Failure] = []

    def add(self, failure: Failure) -> None:
        """Record a failure with the next ``flush``."""
        self._earlier.pop(failure.id, None)
        self._unwritten.append(failure)

    def clear(self, image_id: str) -> None:
        """The image is there: an earlier failure of it is over."""
        if image_id in self._earlier:
            self._store.forget_failures([image_id])
            del self._earlier[image_id]

    def flush(self, *, at_least: int = 1) -> None:
        """Write what was added, if there is so much of it."""
        if len(self._unwritten) >= at_least:
            self._store.record_failures(self._unwritten)
            self._unwritten = []

    def clear_sources(self, sources: Collection[str]) -> None:
        """Remove the earlier failures of sources that were read completely and no longer have those images."""
        self._store.forget_failures([image_id for image_id, source in self._earlier.items() if source in sources])

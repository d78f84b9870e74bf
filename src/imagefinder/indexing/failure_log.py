"""Update the failures recorded in a store."""

from __future__ import annotations

from collections.abc import Callable, Collection

from imagefinder.core.contracts import Store
from imagefinder.core.records import Failure


class FailureLog:
    """Records new failures in batches and removes resolved ones."""

    def __init__(self, store: Store) -> None:
        """Read the failures of earlier runs."""
        self._store = store
        self._earlier = {failure.id: (failure.source, failure.code) for failure in store.failures()}
        self._unwritten: list[Failure] = []

    def add(self, failure: Failure) -> bool:
        """Add a failure; the next ``flush`` records it.

        Returns:
            Whether the same image of the same source failed with the same error code in an earlier run.
        """
        earlier = self._earlier.pop(failure.id, None)
        self._unwritten.append(failure)
        return earlier == (failure.source, failure.code)

    def clear(self, image_id: str) -> None:
        """Remove the failure of an image that is stored now, if any."""
        if image_id in self._earlier:
            self._store.forget_failures([image_id])
            del self._earlier[image_id]

    def flush(self, *, at_least: int = 1) -> None:
        """Record the failures that were added, if there are ``at_least`` that many."""
        if len(self._unwritten) >= at_least:
            self._store.record_failures(self._unwritten)
            self._unwritten = []

    def clear_sources(
        self, sources: Collection[str], *, keep: Callable[[str, str], bool] = lambda _source, _image_id: False
    ) -> None:
        """Remove earlier failures of fully read sources that no longer contain the image.

        Args:
            sources: URIs of the sources.
            keep: Whether a source, by URI, contains an image, by id.
        """
        self._store.forget_failures(
            [
                image_id
                for image_id, (source, _) in self._earlier.items()
                if source in sources and not keep(source, image_id)
            ]
        )

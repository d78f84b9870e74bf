"""Compute the features of thumbnails while adding images, within a budget of bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.records import Entry, ThumbnailFeatures
from imagefinder.core.results import Size
from imagefinder.extractors.thumbnails import thumbnail_features
from imagefinder.images.decoding.decode import decode_thumbnail
from imagefinder.runtime import Runtime

COMPLETED = 1000
"""Number of images of earlier versions that one run completes: about 20 seconds of CPU time."""

_BATCH = 32


class ThumbnailIndexer:
    """Computes the features of the thumbnails of new images, and of stored images that lack them.

    When their budget of bytes is used up, images are stored without them, and searches compute them.
    """

    def __init__(self, store: Store, runtime: Runtime) -> None:
        """Create an indexer; nothing is read or loaded yet.

        Args:
            store: The store of the images.
            runtime: Provides the method that compares thumbnails, and the budget (``thumbnail_features_bytes``).
        """
        self._store = store
        self._runtime = runtime
        self._left: int | None = None

    def with_features(self, entries: Sequence[Entry], origins: Sequence[str] = ()) -> list[Entry]:
        """The entries with the features of their thumbnails, as far as the budget allows.

        Args:
            entries: New or changed images.
            origins: For each of them, the id of a stored image with the same thumbnail and size, whose features
                are used again; empty if there is none.
        """
        method = self._runtime.thumbnail_method
        made_by, spec = method.extractor.fingerprint(), method.extractor.spec
        origins = origins or [""] * len(entries)
        known = [origin for origin in origins if origin]
        stored = self._store.thumbnail_features(known, made_by, spec) if known else {}
        new = [
            number
            for number, entry in enumerate(entries)
            if entry.thumbnail and origins[number] not in stored and self._has_budget()
        ]
        sizes = [(entries[number].image.width, entries[number].image.height) for number in new]
        computed = dict(zip(new, self._computed([entries[n].thumbnail for n in new], sizes), strict=True))
        completed = []
        for number, entry in enumerate(entries):
            features = stored.get(origins[number]) or computed.get(number)
            if isinstance(features, LocalFeatures) and self._takes(features.nbytes):
                entry = replace(entry, thumbnail_features=ThumbnailFeatures(made_by, features))  # noqa: PLW2901
            completed.append(entry)
        return completed

    def complete(
        self, stop: threading.Event, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> int:
        """Compute the features that stored images lack, as many as one run may; returns their number.

        Args:
            stop: Set it to stop early.
            progress: Called with (done, total) images.
        """
        if not self._has_budget():
            return 0
        made_by = self._runtime.thumbnail_method.extractor.fingerprint()
        if self._store.thumbnail_usage(made_by).images >= self._store.info().images:
            return 0
        lacking = self._store.lacking_thumbnail_features(made_by, limit=COMPLETED)
        done = 0
        for start in range(0, len(lacking), _BATCH):
            if stop.is_set() or not self._has_budget():
                break
            progress(start, len(lacking))
            ids = lacking[start : start + _BATCH]
            records, thumbnails = self._store.records(ids), self._store.thumbnails(ids)
            present = [one for one in ids if one in records and one in thumbnails]
            entries = [Entry(records[one], {}, thumbnails[one]) for one in present]
            made = {
                entry.image.id: entry.thumbnail_features
                for entry in self.with_features(entries)
                if entry.thumbnail_features
            }
            self._store.put_thumbnail_features(made, thumbnails)
            done += len(made)
        return done

    def _has_budget(self) -> bool:
        """Whether the budget is not used up; what the store contains is counted once."""
        if self._left is None:
            budget = self._runtime.settings.thumbnail_features_bytes
            made_by = self._runtime.thumbnail_method.extractor.fingerprint()
            self._left = max(0, budget - self._store.thumbnail_usage(made_by).bytes) if budget else 0
        return self._left > 0

    def _takes(self, nbytes: int) -> bool:
        """Whether features of this size fit in the budget, and count them; the first that do not fit end it."""
        fits = self._has_budget() and (self._left or 0) >= nbytes
        self._left = (self._left or 0) - nbytes if fits else 0
        return fits

    def _computed(self, thumbnails: Sequence[bytes], sizes: Sequence[Size]) -> list[Features | None]:
        """The features of encoded thumbnails; ``None`` for those that cannot be decoded."""
        pixels = [decode_thumbnail(thumbnail) for thumbnail in thumbnails]
        good = [number for number, one in enumerate(pixels) if one.size]
        features = thumbnail_features(
            self._runtime.thumbnail_method, [pixels[n] for n in good], [sizes[n] for n in good]
        )
        found = dict(zip(good, features, strict=True))
        return [found.get(number) for number in range(len(thumbnails))]

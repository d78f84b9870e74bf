"""The features of thumbnails for spatial verification: stored ones, and computed ones where they are missing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, rescale
from imagefinder.core.lru import LruCache
from imagefinder.core.method import Method
from imagefinder.extractors.thumbnails import thumbnail_features
from imagefinder.search.candidates import Candidate
from imagefinder.search.encoding import QueryImage, extract


class ThumbnailSource:
    """Provides the features of thumbnails; thread-safe.

    Those of stored images are read in one statement. Features that are missing, as in collections of earlier
    versions, are computed from the thumbnail and cached by its content.
    """

    def __init__(
        self, method: Method, store: Store | None = None, cache: LruCache[Features] | None = None
    ) -> None:
        """Create a source; nothing is read yet.

        Args:
            method: The method that compares thumbnails.
            store: The store of the images; ``None``: images that are not stored.
            cache: Cache of computed features.
        """
        self.method = method
        self._store = store
        self._cache = cache

    def of_candidates(self, candidates: Sequence[Candidate]) -> list[Features | None]:
        """The features of the thumbnail of each candidate; ``None`` for one without a readable thumbnail."""
        found = self._stored([candidate.id for candidate in candidates])
        missing = {one.id: one for one in candidates if one.id not in found}
        for image_id, candidate in missing.items():
            cached = self._cached(candidate)
            if cached is not None:
                found[image_id] = cached
        computed = [one for one in missing.values() if one.id not in found and one.pixels.size]
        features = thumbnail_features(
            self.method, [one.pixels for one in computed], [one.size for one in computed]
        )
        for candidate, one in zip(computed, features, strict=True):
            found[candidate.id] = one
            if self._cache is not None:
                self._cache.put(_key(candidate), one, one.nbytes)
        return [found.get(candidate.id) for candidate in candidates]

    def of_query(self, image: QueryImage) -> Features:
        """The features of a query image with pixels, at the size of thumbnails."""
        if image.id and not image.boxes:
            stored = self._stored([image.id]).get(image.id)
            if stored is not None:
                return stored
        return rescale(extract(self.method, image), image.pixels, image.size)

    def _stored(self, ids: Sequence[str]) -> dict[str, Features]:
        if self._store is None or not ids:
            return {}
        extractor = self.method.extractor
        return {**self._store.thumbnail_features(ids, extractor.fingerprint(), extractor.spec)}

    def _cached(self, candidate: Candidate) -> Features | None:
        return self._cache.get(_key(candidate)) if self._cache is not None and candidate.thumbnail else None


def _key(candidate: Candidate) -> tuple[bytes, int, int]:
    """The content of a thumbnail and the size of its image, which its features depend on."""
    return hashlib.blake2b(candidate.thumbnail, digest_size=16).digest(), *candidate.size

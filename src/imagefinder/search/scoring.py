"""Scoring: the comparison of a query, and of its mirror image, with many images by one method.

Comparing the mirror image takes as long as comparing the query, and hardly any query is a mirrored copy. So where
the number of matches only selects candidates for verification, the mirror image is compared sparingly: with some
of its descriptors first, or by the votes of an ANN index, and with all of them only where it is most likely.
Elsewhere it counts as without a match.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import NearMatcher, Store
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.method import Method
from imagefinder.core.records import GalleryBlock
from imagefinder.search import ranking
from imagefinder.search.encoding import EncodedQuery
from imagefinder.search.null_model import MethodNullModel
from imagefinder.search.scanned import Scanned

MIRROR_DESCRIPTORS = 64
"""Number of descriptors of the mirror image that are compared with every image first."""

MIRROR_DEPTH = 50
"""Number of images with most matches of these, and again with most near matches, that are compared with all."""

KEPT_MATCHES = 500_000
"""Number of matches that are kept for verification, at most: 8 MB. Others are computed again."""


Queries: TypeAlias = tuple[Method, Sequence[EncodedQuery]]
"""A method and the augmentations of the query, encoded by it: the query itself, and possibly its mirror image."""


class Scorer:
    """Compares one query with images by one method.

    Attributes:
        store: The store of the images.
        method: The method.
        queries: The augmentations of the query: the query itself, and possibly its mirror image.
        sparing: Whether the mirror image is compared sparingly.
        images: The images compared so far.
        each: ``(len(queries), B)`` float64, the scores of these images.
        near: ``(len(queries), B)`` float64, the numbers of near matches; ``None`` if they are not counted.
    """

    def __init__(
        self, store: Store, queries: Queries, model: MethodNullModel | None, *, near: bool, sparing: bool
    ) -> None:
        """Create a scorer; no image is compared yet.

        Args:
            store: The store of the images.
            queries: The method and the augmentations of the query.
            model: The null model of the method, which standardises the scores.
            near: Also count near matches, if the matcher can.
            sparing: Compare the mirror image sparingly.
        """
        self.store = store
        self.method, self.queries = queries
        self.sparing = sparing and len(self.queries) > 1
        self.images = Scanned(store, self.method.name)
        self.each = np.empty((len(self.queries), 0))
        matcher = self.method.matcher
        # Once: ``isinstance`` with a protocol takes about 0.1 ms.
        self._near_matcher = matcher if near and isinstance(matcher, NearMatcher) else None
        self.near = self.each if self._near_matcher else None
        self._model = model
        self._hubness: list[NDArray[np.float64]] = []
        self._room = KEPT_MATCHES

    @property
    def is_indexed(self) -> bool:
        """Whether the store has features of the method."""
        return self.queries[0].indexed

    def scan(self, blocks: Iterable[GalleryBlock], *, keep: bool = False) -> None:
        """Compare the images of blocks.

        Args:
            blocks: Images that were not compared before.
            keep: Keep the blocks in memory.
        """
        queries = list(self.queries)
        if self.sparing:
            queries[1] = _shortened(queries[1])
        parts = []
        for block in blocks:
            start = len(self.images.ids)
            self._note(block, keep=keep)
            parts.append(self._compare(queries, block.features, range(start, len(self.images.ids))))
        self._append(parts)
        if self.sparing and queries[1] is not self.queries[1]:
            likely = self._likely_mirrored()
            self.each[1] = 0
            if self.near is not None:
                self.near[1] = 0
            self._compare_mirrored(likely)

    def add(self, block: GalleryBlock, mirrored: Collection[str] | None = None) -> None:
        """Compare the images of a block, and keep them in memory.

        Args:
            block: Images that were not compared before.
            mirrored: Ids of the images to compare the mirror image with, if sparingly; ``None``: all.
        """
        start = len(self.images.ids)
        self._note(block, keep=True)
        rows = range(start, len(self.images.ids))
        if not self.sparing or mirrored is None:
            self._append([self._compare(self.queries, block.features, rows)])
            return
        self._append([self._compare(self.queries[:1], block.features, rows)])
        self._compare_mirrored([start + row for row, image_id in enumerate(block.ids) if image_id in mirrored])

    def standard(self, sample: Features | None = None, total: int | None = None) -> NDArray[np.float64]:
        """The standardised scores of all images compared, ``(B,)`` float64; zeros without a null model.

        Args:
            sample: Features of a sample of all images, if not all of them were compared.
            total: Number of all images; default: the number of images compared.
        """
        scores, model = self.each.max(axis=0), self._model
        if model is None:
            return np.zeros(len(scores))
        among = None
        if sample is not None:
            queries = self.queries[:1] if self.sparing else self.queries  # as most images are compared
            among = self._compare(queries, sample)[0].max(axis=0)
        hubness = np.concatenate(self._hubness) if self._hubness else None
        return model.standardise(scores, hubness, among=among, total=total)

    def _note(self, block: GalleryBlock, *, keep: bool) -> None:
        """Record the images of a block that is compared."""
        self.images.add(block, keep=keep)
        if self._model and (hubness := self._model.hubness(self.method, block.features)) is not None:
            self._hubness.append(hubness)

    def _compare(
        self, queries: Sequence[EncodedQuery], features: Features, rows: Sequence[int] = ()
    ) -> NDArray[np.float64]:
        """Scores and near matches, ``(2, queries, B)``; the matches of images with these rows are kept."""
        if matcher := self._near_matcher:
            return np.array([self._near(matcher, query, features, rows) for query in queries]).swapaxes(0, 1)
        scores = np.array([self.method.matcher.score(query.features, features) for query in queries])
        return np.array([scores, np.zeros_like(scores)])

    def _near(
        self, matcher: NearMatcher, query: EncodedQuery, features: Features, rows: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores and near matches of one query; its matches are kept if it is complete."""
        view = next((number for number, one in enumerate(self.queries) if one is query), None)
        room = self._room if rows and view is not None and self.method.verifier else 0
        found = matcher.score_near(query.features, features, room=room)
        if room and view is not None:
            for number, matches in found.matches.items():
                self.images.keep_matches(view, rows[number], matches)
                self._room -= len(matches)
        return found.scores, found.near

    def _append(self, parts: Sequence[NDArray[np.float64]]) -> None:
        """Append the results of comparisons; the mirror image counts as without a match if it was not compared."""
        if not parts:
            return
        scores, near = np.concatenate(parts, axis=2)
        missing = ((0, len(self.queries) - len(scores)), (0, 0))
        self.each = np.concatenate([self.each, np.pad(scores, missing)], axis=1)
        if self.near is not None:
            self.near = np.concatenate([self.near, np.pad(near, missing)], axis=1)

    def _likely_mirrored(self) -> list[int]:
        """The rows of the images that the first descriptors of the mirror image match best."""
        ids = self.images.ids
        likely = dict.fromkeys(ranking.best_rows(ids, self.each[1], MIRROR_DEPTH))
        if self.near is not None:
            rows = ranking.best_rows(ids, self.near[1], MIRROR_DEPTH)
            likely.update((row, None) for row in rows if self.near[1, row])
        return list(likely)

    def _compare_mirrored(self, rows: Sequence[int]) -> None:
        """Compare the mirror image with the images of these rows."""
        places = {self.images.ids[row]: row for row in rows}
        for block in self.images.blocks(places):
            compared = [places[image_id] for image_id in block.ids]
            scores, near = self._compare(self.queries[1:], block.features, compared)
            self.each[1:, compared] = scores
            if self.near is not None:
                self.near[1:, compared] = near


def _shortened(query: EncodedQuery) -> EncodedQuery:
    """A query with its first descriptors; the same query if it has no more."""
    features = query.features
    if not isinstance(features, LocalFeatures) or len(features.descriptors) <= MIRROR_DESCRIPTORS:
        return query
    first = slice(0, MIRROR_DESCRIPTORS)
    offsets = np.array([0, MIRROR_DESCRIPTORS], dtype=np.int64)
    return replace(query, features=LocalFeatures(features.descriptors[first], features.keypoints[first], offsets))

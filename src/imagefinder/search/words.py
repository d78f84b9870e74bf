"""Searches with words, and with words and an image: every image is scored by the vectors of one method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.errors import FingerprintMismatchError, InputError
from imagefinder.core.features import GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.records import GalleryBlock
from imagefinder.core.results import Hit, Label, SearchResult, WordsInfo
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.core.text_contracts import EncodedText, TextEncoder
from imagefinder.search import ranking
from imagefinder.search.allowed import FEW, Allowed
from imagefinder.search.encoding import NO_PIXELS, EncodedQuery, QueryImage, encode
from imagefinder.search.stacks import best_of_stacks, with_stacks
from imagefinder.search.trace import Trace

NO_IMAGE = QueryImage(NO_PIXELS, (0, 0), (0, 0))
"""The query image of a search with words alone."""

CLASSES = 20
"""Largest number of classes that an answer names."""


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """The images that were searched.

    Attributes:
        ids: Their ids.
        text: ``(B,)`` float64, scores of the text.
        image: ``(B,)`` float64, scores of the query image; ``(0,)`` without one.
    """

    ids: Sequence[str]
    text: NDArray[np.float64]
    image: NDArray[np.float64]


class WordSearcher:
    """Searches the images of a store by words."""

    def __init__(self, store: Store, method: Method, allowed: Allowed | None, *, stacks: bool = False) -> None:
        """Create a searcher; nothing is read yet.

        Args:
            store: The store of the images.
            method: A method with a text encoder.
            allowed: The images to search; ``None``: all images.
            stacks: Whether versions of one picture are one hit.

        Raises:
            ValueError: the method has no text encoder.
        """
        if method.text is None:
            raise ValueError(f"{method.name} has no text encoder")
        self._store = store
        self._method = method
        self._encoder: TextEncoder = method.text
        self._allowed = allowed
        self._stacks = stacks

    def search(self, query: Query, image: QueryImage | None, options: SearchOptions, watch: Stopwatch) -> Trace:
        """Find the images that show a text; with an image, those similar to it that also show the text.

        All images are read in blocks and scored. Nothing is decided, because scores of words are not calibrated.

        Args:
            query: The query; kept in the trace.
            image: The query image; a stored one is excluded from the hits. ``None``: words alone.
            options: The search options.
            watch: Records the stages ``extract`` and ``match``.

        Raises:
            InputError: ``max_evalue`` is given, which no image of a search with words has.
            UnknownWordsError: no word of the text is known.
            FingerprintMismatchError: stored features were made with other parameters or weights.
            ModelMissingError: the weights of the method are not on this machine.
        """
        if options.max_evalue is not None:
            raise InputError("a search with words has no E-values", hint="use min_score instead of max_evalue")
        text = self._encoder.encode(query.text)
        fingerprint = _fingerprint(self._store, self._method)
        encoded = None if image is None else encode(self._store, [self._method], image)[0]
        watch.lap("extract")
        scored = self._scored(text, encoded)
        watch.lap("match")
        shows = scored.text >= text.threshold
        values = (
            scored.text if encoded is None else _standard(text.standard(scored.text)) + _standard(scored.image)
        )
        rows = np.flatnonzero(shows) if encoded is None else np.arange(len(values))
        ids = [scored.ids[row] for row in rows.tolist()]
        whole = NO_IMAGE if image is None else image
        hits = self._hits(ids, values[rows], whole.id, options)
        result = SearchResult(
            hits=hits,
            method=self._method.name,
            mode="exact",
            fingerprints={self._method.name: fingerprint.digest},
            searched=len(scored.ids),
            timings=watch.total(),
            query_size=whole.whole,
            boxes=tuple((x + whole.corner[0], y + whole.corner[1], w, h) for x, y, w, h in whole.boxes),
            words=WordsInfo(
                method=self._method.name,
                words=text.words,
                ignored=text.ignored,
                classes=text.classes[:CLASSES],
                threshold=text.threshold,
                shown=int(shows.sum()),
                best=float(scored.text.max()) if len(scored.text) else None,
            ),
        )
        seen = replace(whole, pixels=NO_PIXELS, thumbnail=b"")
        return Trace(query, options, result, seen, hits={}, local_only=False, vectors={})

    def _hits(
        self, ids: Sequence[str], values: NDArray[np.float64], query_id: str, options: SearchOptions
    ) -> tuple[Hit, ...]:
        """The best images; versions of one picture (stacks) are one hit."""
        scores: dict[str, float] = {}

        def rank(count: int) -> list[str]:
            # One more than needed, because a stored query image finds itself.
            ranked = [pair for pair in ranking.best(ids, values, count + 1) if pair[0] != query_id][:count]
            scores.update(ranked)
            return [image_id for image_id, _ in ranked]

        best = best_of_stacks(self._store, rank, options.k, query_id) if self._stacks else rank(options.k)
        wanted = [one for one in best if options.min_score is None or scores[one] >= options.min_score]
        hits = tuple(Hit(rank=rank, id=one, score=scores[one]) for rank, one in enumerate(wanted, 1))
        return with_stacks(self._store, hits) if self._stacks else hits

    def _scored(self, text: EncodedText, image: EncodedQuery | None) -> _Scored:
        ids: list[str] = []
        by_text, by_image = [np.empty(0)], [np.empty(0)]
        for block in self._blocks():
            if not isinstance(block.features, GlobalFeatures):
                raise TypeError(f"{self._method.name} has a text encoder, but no global features")
            ids += block.ids
            by_text.append(text.score(block.features))
            if image is not None:
                by_image.append(self._method.matcher.score(image.features, block.features))
        return _Scored(ids, np.concatenate(by_text), np.concatenate(by_image))

    def _blocks(self) -> Iterator[GalleryBlock]:
        """The images to search."""
        name, allowed = self._method.name, self._allowed
        if name not in self._store.info().methods:
            return
        if allowed is None or allowed.ids is None:
            yield from self._store.scan(name)
        elif len(allowed.ids) <= FEW:
            yield self._store.select(name, sorted(allowed.ids))
        else:
            for block in self._store.scan(name):
                rows = [row for row, image_id in enumerate(block.ids) if image_id in allowed.ids]
                if rows and isinstance(block.features, GlobalFeatures):
                    vectors = np.ascontiguousarray(block.features.vectors[rows])
                    yield GalleryBlock(tuple(block.ids[row] for row in rows), GlobalFeatures(vectors))


def labels(store: Store, method: Method, image_id: str) -> tuple[Label, ...]:
    """The labels of a stored image by a method with a text encoder, most likely first.

    Raises:
        UnknownImageError: no image has this id.
        MethodNotIndexedError: the image has no features of this method.
        FingerprintMismatchError: stored features were made with other parameters or weights.
        ModelMissingError: the weights of the method are not on this machine.
    """
    features = store.features(image_id, method.name)
    _fingerprint(store, method)
    if method.text is None or not isinstance(features, GlobalFeatures):
        return ()
    return method.text.labels(features)[0]


def _fingerprint(store: Store, method: Method) -> Fingerprint:
    """The fingerprint of the stored vectors, which must be those of the network that the encoder belongs to."""
    own = method.extractor.fingerprint()
    stored = store.info().methods.get(method.name)
    if stored and stored.fingerprint != own:
        raise FingerprintMismatchError(
            f"the stored {method.name} features were made with other parameters or weights: "
            f"{stored.fingerprint.difference(own)} (stored vs. current)",
            hint="use the settings and weights they were made with, or add the images to a new collection",
        )
    return own


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values with mean 0 and spread 1."""
    if not len(values):
        return values
    standard: NDArray[np.float64] = (values - values.mean()) / max(float(values.std()), 1e-9)
    return standard

"""The searching half of a collection: search, explanations, comparisons, duplicates, and what these need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from imagefinder.collection.derived import Derived
from imagefinder.collection.reading import CollectionReader
from imagefinder.core.contracts import Store
from imagefinder.core.errors import InputError
from imagefinder.core.features import GlobalFeatures
from imagefinder.core.query import ImageInput, Query, SearchOptions
from imagefinder.core.records import IndexReport
from imagefinder.core.results import (
    AUTO,
    Box,
    Comparison,
    DuplicateReport,
    Explanation,
    Mode,
    Ranking,
    SearchResult,
)
from imagefinder.core.settings import Settings
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.runtime import Runtime
from imagefinder.search.compare import compare
from imagefinder.search.explain import explain, heat_method
from imagefinder.search.heat import with_heat
from imagefinder.search.retrieval import Gallery
from imagefinder.search.searcher import Searcher
from imagefinder.search.trace import Trace

Count: TypeAlias = Callable[[int, int], None]  # called with (done, total)


class SearchableCollection(CollectionReader):
    """Searches a collection; see ``Collection``."""

    def __init__(self, store: Store, runtime: Runtime, settings: Settings | None = None) -> None:
        super().__init__(store, runtime, settings)
        self._derived = Derived(store, runtime, self._methods)

    def search(  # wide: the keywords of the first release; new options are fields of SearchOptions alone
        self,
        query: ImageInput | Query | None = None,
        options: SearchOptions | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the word users know
        method: str = AUTO,
        k: int = 3,
        ranking: Ranking = "evidence",
        mirror: bool = True,
        boxes: Sequence[Box] = (),
        evalues: bool = True,
        where: Mapping[str, Any] | None = None,
        progress: Count | None = None,
        mode: Mode = "auto",
    ) -> SearchResult:
        """The images that resemble the query most, or the honest answer that there is none.

        ``search("crop.jpg", k=5)`` and ``search(Query("crop.jpg"), SearchOptions(k=5))`` are the same. The first
        search with E-values calibrates the collection, which takes some seconds; it is calibrated again when it
        has grown or shrunk by half. ``calibrate`` does so beforehand.

        Args:
            query: An image, or a ``Query``.
            options: How it is answered; instead of the keywords.
            progress: Called with (done, total) while the collection is calibrated.
            id: See ``Query``.
            boxes: See ``Query``.
            method: See ``SearchOptions``, as for the others.
            k: Number of hits, at most.
            ranking: ``evidence`` or ``matches``.
            mirror: Find mirror images too.
            evalues: With ``matches``: compute E-values.
            where: Filter on metadata.
            mode: ``auto``, ``exact`` or ``fast``.

        Raises:
            InputError: the query image cannot be used, a box lies outside of it, ``auto`` with ``matches``, an
                impossible option or filter, or keywords beside the object that holds them.
            UnknownMethodError: no such method.
            UnknownImageError: no image of that id.
            MethodNotIndexedError: there are images, but none has features of this method.
            FingerprintMismatchError: the stored features were made differently.
            ModelMissingError: the method's weights are not on this machine.
        """
        keywords = SearchOptions(method, k, ranking, mode, mirror, where, evalues)
        if options is not None and keywords != SearchOptions():
            raise InputError("give SearchOptions or keywords, not both")
        return self.trace(_query(query, id, boxes), options or keywords, progress=progress).result

    def trace(self, query: Query, options: SearchOptions, *, progress: Count | None = None) -> Trace:
        """``search``, with what it saw, so that ``explain`` can tell why without searching again.

        Args:
            query: What is searched with.
            options: How it is answered.
            progress: Called with (done, total) while the collection is calibrated.

        Raises:
            ImagefinderError: as ``search``.
        """
        if options.method == AUTO and options.ranking == "matches":
            raise InputError(
                "scores of several methods cannot be compared, so the ranking by matches needs one method",
                hint=f"methods of this collection: {', '.join(self.store.info().methods) or 'none yet'}",
            )
        watch = Stopwatch()
        if query.image is not None and not isinstance(query.image, np.ndarray):
            self.runtime.decoder.start()
        allowed = self._allowed(options.where)
        if allowed is not None:
            watch.lap("filter")
        methods = self._methods.to_search(options.method)  # an unknown one is reported before an image is read
        if query.image is not None:
            self.runtime.preload(methods)
        query, image = self._images.query(query)
        methods = self._methods.to_search(options.method, query.id)
        watch.lap("decode")
        needs_model = options.ranking == "evidence" or options.evalues
        null_model = self._derived.null_model(progress) if needs_model else None
        watch.lap("calibrate")
        ann_indexes = self._derived.ann_indexes(methods, options.mode)
        if ann_indexes is not None:
            watch.lap("index")
        gallery = Gallery(self.store, null_model, allowed, ann_indexes)
        return Searcher(self.runtime, gallery, methods).search(query, image, options, watch)

    def explain(
        self,
        query: ImageInput | Query | Trace,
        id: str,  # noqa: A002 - the word users know
        *,
        method: str = AUTO,
        mirror: bool = True,
        boxes: Sequence[Box] = (),
        where: Mapping[str, Any] | None = None,
    ) -> Explanation:
        """What supports an image: matches, inliers, transform, outlines, heat maps, numbers.

        Args:
            query: The ``Trace`` of a search: its hits are explained as they were found, without searching again.
                Any other image, and one that was replaced since, is compared as a search would. Or a query.
            id: Of the image to explain, found or not.
            method: Name of a method, or ``auto``: all that answered.
            mirror: Without a trace: compare the mirror image of the query too.
            boxes: Without a trace: regions of the query.
            where: Without a trace: the filter that the search had, so that E-values are the same.

        Raises:
            InputError: a query image that cannot be used; features without keypoints.
            UnknownMethodError: no such method.
            UnknownImageError: no image of that id.
            MethodNotIndexedError: the image has no features of this method.
            FingerprintMismatchError: the stored features were made differently.
        """
        version = self.store.get(id).version
        if isinstance(query, Trace):
            trace = query
            options = trace.options if method == AUTO else replace(trace.options, method=method)
            seen = trace.hits.get(id)
            changed = seen is None or seen.version != version or self._images.is_replaced(trace.image)
            if options != trace.options or changed:
                trace = self._assess(trace.query, options, id)
        else:
            options = SearchOptions(method=method, mirror=mirror, where=where)
            trace = self._assess(_query(query, None, boxes), options, id)
        explanation = explain(trace, id)
        pooled = heat_method(trace, id)
        return self._with_heat(explanation, trace, pooled) if pooled else explanation

    def _with_heat(self, explanation: Explanation, trace: Trace, pooled: str) -> Explanation:
        image, theirs = self._images.for_heat(trace), self.store.features(explanation.id, pooled)
        if image.pixels.size == 0 or not isinstance(theirs, GlobalFeatures):
            return explanation
        vectors, stored = (trace.vectors[pooled], theirs), self._images.stored(explanation.id)
        return with_heat(explanation, self.method(pooled), image, vectors, stored)

    def _assess(self, query: Query, options: SearchOptions, image_id: str) -> Trace:
        """The trace of a search for one image alone."""
        methods = self._methods.to_search(options.method, query.id)
        query, image = self._images.query(query)
        allowed, indexes = self._allowed(options.where), self._derived.ann_indexes(methods, options.mode)
        gallery = Gallery(self.store, self._derived.null_model(), allowed, indexes)
        return Searcher(self.runtime, gallery, methods).assess(query, image, options, image_id)

    def draw(self, explanation: Explanation, query: ImageInput | Query) -> bytes:
        """The explanation as a picture: what matches, one image laid on the other, or what contributed.

        The stored image is read again from its file if that has not changed; otherwise its thumbnail is shown.

        Args:
            explanation: What ``explain`` returned.
            query: The same image it was explained with.

        Returns:
            An encoded PNG.

        Raises:
            InputError: an image that cannot be used, or of another size than the one that was explained.
            UnknownImageError: the image has been removed.
        """
        from imagefinder.images import drawing  # noqa: PLC0415 - only those who draw need fonts

        query = _query(query, None, ())
        pixels, size = self._images.whole(query)
        if size != explanation.query_size:
            raise InputError("this is not the image that was explained: it has another size")
        return drawing.draw(pixels, self.stored_pixels(explanation.id), explanation)

    def compare(self, a: ImageInput, b: ImageInput, *, method: str = "sift") -> Comparison:
        """Score two images against each other, and say what supports it; nothing is stored.

        Raises:
            InputError: an image that cannot be used.
            UnknownMethodError: no such method.
            ModelMissingError: the method's weights are not on this machine.
        """
        watch = Stopwatch()
        chosen = self.method(method)
        (_, one), (_, other) = self._images.query(Query(a)), self._images.query(Query(b))
        watch.lap("decode")
        return compare(self.runtime, chosen, one, other, watch=watch)

    def duplicates(
        self, *, mirror: bool = True, progress: Callable[[str, int, int], None] | None = None
    ) -> DuplicateReport:
        """Groups of identical, edited and overlapping images, the best one of each first. Nothing is removed.

        All methods of the collection propose pairs, each image a bounded number; those with keypoints (``sift``)
        verify them. The time grows about as the number of images does.

        Args:
            mirror: Find mirrored copies too.
            progress: Called now and then with the stage (``read``, ``propose``, ``verify``), how much of it is
                done, and how much there is.

        Raises:
            StoreError: the collection cannot be read.
        """
        from imagefinder import dedup  # noqa: PLC0415 - searching does not need it

        return dedup.find(self.store, self._methods.installed(), self.runtime, mirror=mirror, progress=progress)

    # -- derived data --------------------------------------------------------------------------------------

    def calibrate(self, progress: Count | None = None) -> bool:
        """Fit the null model of the collection, if there is none that describes it as it is.

        Args:
            progress: Called with (done, total).

        Returns:
            Whether that was needed.
        """
        return self._derived.calibrate(progress)

    def rebuild_index(
        self, progress: Callable[[str, int, int], None] | None = None, *, rebuild: bool = True
    ) -> IndexReport:
        """Build the ANN indexes that propose candidates in ``fast`` searches, of all methods of this collection.

        Searches go on meanwhile with the former ones.

        Args:
            progress: Called now and then with the name of a method, how many of its images are indexed, and how
                many there are.
            rebuild: Index everything again; otherwise only what is new, and where a collection has outgrown its
                index.

        Raises:
            CollectionCorruptError: stored features are damaged.
        """
        return self._derived.build_indexes(progress, rebuild=rebuild)

    def verify_index(self) -> IndexReport:
        """Compare the ANN indexes with the stored features: files by checksum, some images again."""
        return self._derived.verify_indexes()

    def is_large(self) -> bool:
        """Whether mode ``auto`` uses ANN indexes where they are ready."""
        return self._derived.is_large()


def _query(query: ImageInput | Query | None, image_id: str | None, boxes: Sequence[Box]) -> Query:
    """The query that keywords describe, or the one that was given."""
    if not isinstance(query, Query):
        return Query(query, image_id, tuple(boxes))
    if image_id is not None or boxes:
        raise InputError("give a Query or keywords, not both")
    return query

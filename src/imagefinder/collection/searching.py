"""Searching a collection: search, explanations, comparisons, duplicates, and the derived data they need."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from imagefinder.collection.identity import IdentityCheck
from imagefinder.collection.indexed import IndexedCollection
from imagefinder.core.contracts import Store
from imagefinder.core.errors import InputError
from imagefinder.core.features import GlobalFeatures
from imagefinder.core.query import ImageInput, Query, SearchOptions, as_query
from imagefinder.core.results import (
    AUTO,
    Box,
    Comparison,
    DuplicateKind,
    DuplicateReport,
    Explanation,
    Mode,
    Ranking,
    SearchResult,
)
from imagefinder.core.scratch import Scratch
from imagefinder.core.settings import Settings
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.kernels.threads import computation
from imagefinder.runtime import Runtime
from imagefinder.search.allowed import Allowed
from imagefinder.search.compare import compare
from imagefinder.search.explain import explain, heat_method
from imagefinder.search.heat import with_heat
from imagefinder.search.retrieval import Gallery
from imagefinder.search.searcher import Searcher
from imagefinder.search.trace import Trace
from imagefinder.search.words import WordSearcher


class SearchableCollection(IndexedCollection):
    """The searching methods of a ``Collection``."""

    def __init__(
        self, store: Store, runtime: Runtime, settings: Settings | None = None, scratch: Scratch | None = None
    ) -> None:
        super().__init__(store, runtime, settings, scratch)
        self._identity = IdentityCheck(store, runtime, self.settings)

    def search(  # wide: the keywords of the first release; new options are fields of SearchOptions alone
        self,
        query: ImageInput | Query | None = None,
        options: SearchOptions | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the name in all interfaces
        method: str = AUTO,
        k: int = 3,
        ranking: Ranking = "evidence",
        mirror: bool = True,
        boxes: Sequence[Box] = (),
        evalues: bool = True,
        where: Mapping[str, Any] | None = None,
        mode: Mode = "auto",
        text: str = "",
    ) -> SearchResult:
        """Find the images that match a query, and decide whether any of them is a match at all.

        ``search("crop.jpg", k=5)`` and ``search(Query("crop.jpg"), SearchOptions(k=5))`` are equivalent. A search
        does not wait for calibration: a collection that has not been calibrated, or has outgrown its calibration,
        is calibrated in the background, and until then the answers are cautious.

        Args:
            query: The query image, or a ``Query``.
            options: The search options, instead of keywords.
            id: Id of an image in the collection, instead of a query image.
            boxes: Regions of the query image to search with; empty: the whole image.
            method: Name of a method, or ``auto`` for all methods of the collection together.
            k: Maximum number of hits.
            ranking: ``evidence`` or ``matches``.
            mirror: Also find mirror images.
            evalues: Compute E-values in a ranking by ``matches``.
            where: Search only images whose metadata match this filter (``core.filters``).
            mode: ``auto``, ``exact`` or ``fast``.
            text: What the images must show, in words, alone or with a query image (``search.words``).

        Raises:
            UnknownWordsError: no word of the text is known.
            InputError: the query image cannot be used, a box lies outside it, an option or the filter is not
                valid, ``auto`` is combined with ``matches``, or an object with the keywords that it replaces.
            UnknownMethodError: no method has this name.
            UnknownImageError: no image has this id.
            MethodNotIndexedError: the collection has images, but no features of this method.
            FingerprintMismatchError: the stored features were made with other parameters or weights.
            ModelMissingError: the weights of the method are not on this machine.
        """
        keywords = SearchOptions(method, k, ranking, mode, mirror, where, evalues)
        if options is not None and keywords != SearchOptions():
            raise InputError("give SearchOptions or keywords, not both")
        return self.trace(as_query(query, id, boxes, text), options or keywords).result

    def trace(self, query: Query, options: SearchOptions) -> Trace:
        """Search, and record what ``explain`` needs to explain the hits without another search.

        Args:
            query: The query.
            options: The search options.

        Raises:
            ImagefinderError: as for ``search``.
        """
        if query.text.strip():
            return self._trace_words(query, options)
        if options.method == AUTO and options.ranking == "matches":
            raise InputError(
                "ranking by matches requires a method, because scores of different methods are not comparable",
                hint=f"methods of this collection: {', '.join(self.store.info().methods) or 'none yet'}",
            )
        watch = Stopwatch()
        if query.image is not None and not isinstance(query.image, np.ndarray):
            self.runtime.decoder.start()
        where = self._filter(options.where)
        methods = self._methods.to_search(options.method)  # report an unknown method before reading the image
        if query.image is not None:
            self.runtime.preload(methods)
        query, image = self._images.query(query)
        if query.id is not None:
            methods = self._methods.to_search(options.method, query.id)
        watch.lap("decode")
        needs_model = options.ranking == "evidence" or options.evalues
        null_model = self._null_model() if needs_model else None
        indexes = self._derived.ann_indexes(methods, options.mode)
        if indexes is not None:
            watch.lap("index")
        allowed = Allowed.of(self.store, where, fast=indexes is not None)
        if allowed is not None:
            watch.lap("filter")
        gallery = Gallery(self.store, null_model, allowed, indexes, options.stacks and self.settings.stacks)
        searcher = Searcher(self.runtime, gallery, methods, self._images.in_full)
        with computation():
            return self._identity.of_trace(searcher.search(query, image, options, watch))

    def similar(self, query: ImageInput | Query, *, method: str = AUTO, k: int = 100) -> SearchResult:
        """List images in the order of similarity to a query, by the score of one method, without decisions.

        Args:
            query: The query image, or a ``Query``.
            method: Name of a method; ``auto``: the one with a vector for each image that has features of most
                images.
            k: Maximum number of images.

        Raises:
            ImagefinderError: as for ``search``.
        """
        wanted = replace(as_query(query, None, ()), text="")
        name = self._methods.for_similarity(wanted.id).name if method == AUTO else method
        return self.trace(wanted, SearchOptions(name, k, "matches", evalues=False)).result

    def _trace_words(self, query: Query, options: SearchOptions) -> Trace:
        watch = Stopwatch()
        method = self._methods.to_search_words(options.method)
        where = self._filter(options.where)
        image = None
        if query.has_image:
            read, image = self._images.query(query)
            query = replace(read, text=query.text)
            watch.lap("decode")
        allowed = Allowed.of(self.store, where, fast=False)
        stacks = options.stacks and self.settings.stacks
        with computation():
            return WordSearcher(self.store, method, allowed, stacks=stacks).search(query, image, options, watch)

    def explain(
        self,
        query: ImageInput | Query | Trace,
        id: str,  # noqa: A002 - the name in all interfaces
        *,
        method: str = AUTO,
        mirror: bool = True,
        boxes: Sequence[Box] = (),
        where: Mapping[str, Any] | None = None,
    ) -> Explanation:
        """Explain how an image relates to a query: matches, inliers, transform, outlines, heat maps, numbers.

        Args:
            query: The ``Trace`` of a search, or a query. With a trace, its hits are explained as they were found;
                other images, and those replaced since, are compared as in a search.
            id: Id of the image to explain; it need not be a hit.
            method: Name of a method, or ``auto`` for all methods of the search.
            mirror: Without a trace: also compare the mirror image of the query.
            boxes: Without a trace: regions of the query image.
            where: Without a trace: the filter of the search, which the E-values depend on.

        Raises:
            InputError: the query image cannot be used, or the features have no keypoints.
            UnknownMethodError: no method has this name.
            UnknownImageError: no image has this id.
            MethodNotIndexedError: the image has no features of this method.
            FingerprintMismatchError: the stored features were made with other parameters or weights.
        """
        version = self.store.get(id := self.resolve(id)).version  # noqa: A001 - the name in all interfaces
        if isinstance(query, Trace):
            trace = query
            options = trace.options if method == AUTO else replace(trace.options, method=method)
            seen = trace.hits.get(id)
            changed = seen is None or seen.version != version or self._images.is_replaced(trace.image)
            if options != trace.options or changed:
                trace = self._assess(trace.query, options, id)
        else:
            options = SearchOptions(method=method, mirror=mirror, where=where)
            trace = self._assess(as_query(query, None, boxes), options, id)
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
        """The trace of a search with a single candidate, by the query image alone."""
        if not query.has_image:
            raise InputError("a search with words alone has no explanations")
        methods = self._methods.to_search(options.method, query.id)
        query, image = self._images.query(query)
        where, indexes = self._filter(options.where), self._derived.ann_indexes(methods, options.mode)
        allowed = Allowed.of(self.store, where, fast=indexes is not None)
        stacks = options.stacks and self.settings.stacks
        gallery = Gallery(self.store, self._null_model(), allowed, indexes, stacks)
        searcher = Searcher(self.runtime, gallery, methods, self._images.in_full)
        with computation():
            return self._identity.of_trace(searcher.assess(query, image, options, image_id))

    def draw(self, explanation: Explanation, query: ImageInput | Query) -> bytes:
        """Draw an explanation: matches, an overlay of both images, or heat maps.

        The stored image is read from its file if that is unchanged; otherwise its thumbnail is shown.

        Args:
            explanation: The explanation that ``explain`` returned.
            query: The query that was explained.

        Returns:
            An encoded PNG.

        Raises:
            InputError: the query image cannot be used, or its size differs from that of the explanation.
            UnknownImageError: the image has been removed.
        """
        from imagefinder.images import drawing  # noqa: PLC0415 - only those who draw need fonts

        query = as_query(query, None, ())
        pixels, size = self._images.whole(query)
        if size != explanation.query_size:
            raise InputError("this is not the query image of the explanation: its size is different")
        return drawing.draw(pixels, self.stored_pixels(explanation.id), explanation)

    def compare(self, a: ImageInput, b: ImageInput, *, method: str = "sift") -> Comparison:
        """Compare two images: score, geometric evidence and relation. Nothing is stored.

        Raises:
            InputError: an image cannot be used.
            UnknownMethodError: no method has this name.
            ModelMissingError: the weights of the method are not on this machine.
        """
        watch = Stopwatch()
        chosen = self.method(method)
        (query_a, one), (query_b, other) = self._images.query(Query(a)), self._images.query(Query(b))
        watch.lap("decode")
        compared = compare(self.runtime, chosen, one, other, watch=watch)
        same_bytes = bool(one.sha256) and one.sha256 == other.sha256
        return self._identity.of_comparison(compared, query_a, query_b, same_bytes=same_bytes)

    def duplicates(
        self,
        *,
        kinds: Collection[DuplicateKind] | None = None,
        mirror: bool = True,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> DuplicateReport:
        """Find groups of identical, edited and overlapping images. Nothing is removed.

        All methods of the collection propose a bounded number of pairs per image; those with keypoints (``sift``)
        verify them. The time grows roughly linearly with the number of images.

        Args:
            kinds: Kinds of groups to find, default all; ``["identical"]`` is much faster.
            mirror: Also find mirrored copies.
            progress: Called with (stage, done, total), for example ``("verify", 7, 90)``.
        """
        from imagefinder.dedup.find import KINDS, find  # noqa: PLC0415 - searching does not need it

        parts = self.store, self._methods.installed(), self.runtime, self._images.in_full
        with computation():
            return find(*parts, kinds=kinds or KINDS, mirror=mirror, progress=progress)

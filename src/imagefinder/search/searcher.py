"""The steps of a search: encode, retrieve, verify, calibrate, rank, decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imagefinder.core.errors import MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import GlobalFeatures
from imagefinder.core.method import Method
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.results import AUTO, Hit, SearchResult, decision_of
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.kernels.threads import share
from imagefinder.runtime import Runtime
from imagefinder.search import ranking
from imagefinder.search.calibration import Calibrated, Calibration, calibrate
from imagefinder.search.copies import ReadOriginal
from imagefinder.search.decision import hits_by_evidence, hits_by_score
from imagefinder.search.encoding import NO_PIXELS, QueryImage, encode
from imagefinder.search.null_model import NullModel
from imagefinder.search.retrieval import RERANK_DEPTH, Gallery, Scores, Wanted, candidates, retrieve
from imagefinder.search.stacks import best_of_stacks, count_searched, with_stacks
from imagefinder.search.trace import HitTrace, Trace, trace_hits
from imagefinder.search.verification import verify


class Searcher:
    """Searches one gallery."""

    def __init__(
        self, runtime: Runtime, gallery: Gallery, methods: Sequence[Method], read_original: ReadOriginal
    ) -> None:
        """Create a searcher; nothing is read yet.

        Args:
            runtime: Provides thumbnail method, photometric check and calibrator.
            gallery: The images to search.
            methods: The methods to search with together; exactly one for a ranking by matches.
            read_original: Reads stored images in full resolution.
        """
        self._runtime = runtime
        self._gallery = gallery
        self._methods = methods
        self._read_original = read_original

    def search(self, query: Query, image: QueryImage, options: SearchOptions, watch: Stopwatch) -> Trace:
        """Find the images that match a query.

        Args:
            query: The query; kept in the trace.
            image: The query image; a stored one is excluded from the hits.
            options: The search options.
            watch: Records the stages: ``extract``, ``match`` and, by evidence, ``verify`` and ``decide``.

        Raises:
            ValueError: the gallery has no null model, or the ranking is by matches with several methods.
            UnknownImageError: no image has this id.
            MethodNotIndexedError: the store has images, but no features of a method.
            FingerprintMismatchError: stored features were made with other parameters or weights.
            ModelMissingError: the weights of a method are not on this machine.
        """
        encoded = encode(self._gallery.store, self._methods, image)
        watch.lap("extract")
        by_evidence = options.ranking == "evidence"
        wanted = _wanted(options, by_evidence=by_evidence)
        scores = retrieve(self._gallery, list(zip(self._methods, encoded, strict=True)), wanted)
        watch.lap("match")
        number = count_searched(self._gallery, scores)
        if not by_evidence:
            hits = self._by_matches(scores, number, image, options)
            return self._trace(query, options, scores, self._result(hits, scores, number, options, watch), {})
        ids = candidates(scores, image, options.rerank_depth)
        verified = verify(self._gallery.store, self._runtime, scores, image, ids, mirror=wanted.mirror)
        watch.lap("verify")
        calibration = Calibration.of_search(self._null_model(), scores, number)
        calibrated = calibrate(calibration, scores, verified, image.id)

        def rank(many: int) -> list[str]:
            return ranking.by_evalue(calibrated.ids, calibrated.log10_evalues, calibrated.strength, many)

        stacks = self._gallery.stacks
        ranked = best_of_stacks(self._gallery.store, rank, options.k, image.id) if stacks else rank(options.k)
        hits = self._hits(ranked, calibrated, image)
        found = trace_hits(ranked, calibrated, image)
        watch.lap("decide")
        result = replace(self._result(hits, scores, number, options, watch), verified=len(verified))
        return self._trace(query, options, scores, result, found)

    def assess(self, query: Query, image: QueryImage, options: SearchOptions, image_id: str) -> Trace:
        """Assess one image as if it were a candidate of a search; the trace has this one hit.

        The image need not match the filter.

        Raises:
            MethodNotIndexedError: the image has no features of these methods.
            UnknownImageError, FingerprintMismatchError, ModelMissingError: as for ``search``.
        """
        watch = Stopwatch()
        encoded = encode(self._gallery.store, self._methods, image)
        wanted = replace(_wanted(options, by_evidence=True), only=image_id)
        scores = retrieve(self._gallery, list(zip(self._methods, encoded, strict=True)), wanted)
        if not any(image_id in one.rows for one in scores):
            status = self._gallery.store.status([image_id]).get(image_id)
            if status is None:  # it was deleted in the meantime
                raise UnknownImageError(image_id)
            raise MethodNotIndexedError(self._methods[0].name, status.methods, image_id)
        verified = verify(self._gallery.store, self._runtime, scores, image, [image_id], mirror=options.mirror)
        number = count_searched(self._gallery, scores)
        calibration = Calibration.of_search(self._null_model(), scores, number)
        calibrated = calibrate(calibration, scores, verified, exclude="")
        hits = self._hits([image_id], calibrated, image)
        found = trace_hits([image_id], calibrated, image)
        if image_id not in found:
            raise UnknownImageError(image_id)  # it was deleted in the meantime
        unfiltered = replace(options, min_score=None, max_evalue=None, ranking="evidence")
        return self._trace(query, unfiltered, scores, self._result(hits, scores, number, unfiltered, watch), found)

    def _by_matches(
        self, scores: Sequence[Scores], number: int, image: QueryImage, options: SearchOptions
    ) -> tuple[Hit, ...]:
        """The hits by the scores of one method."""
        if len(scores) != 1:
            raise ValueError("ranking by matches requires exactly one method")
        ids, values, rows = scores[0].ids, scores[0].values, scores[0].rows

        def rank(many: int) -> list[str]:
            # One more than needed, because a stored query image finds itself.
            return [one for one, _ in ranking.best(ids, values, many + 1) if one != image.id][:many]

        stacks = self._gallery.stacks
        best = best_of_stacks(self._gallery.store, rank, options.k, image.id) if stacks else rank(options.k)
        ranked = [(one, float(values[rows[one]])) for one in best]
        model = self._gallery.null_model
        calibration = Calibration(model, number, tests=1) if model else None
        return hits_by_score(ranked, scores[0], calibration)

    def _hits(self, ranked: Sequence[str], calibrated: Calibrated, image: QueryImage) -> tuple[Hit, ...]:
        threads = share(self._runtime.settings.threads)
        return hits_by_evidence(ranked, calibrated, image, self._read_original, threads=threads)

    def _null_model(self) -> NullModel:
        if self._gallery.null_model is None:
            raise ValueError("a ranking by evidence needs a null model")
        return self._gallery.null_model

    def _result(
        self, hits: Sequence[Hit], scores: Sequence[Scores], number: int, options: SearchOptions, watch: Stopwatch
    ) -> SearchResult:
        image = scores[0].queries[0].image
        wanted = tuple(hit for hit in hits if _is_wanted(hit, options))
        if self._gallery.stacks:
            wanted = with_stacks(self._gallery.store, wanted)
        return SearchResult(
            hits=wanted,
            method=self._methods[0].name if len(self._methods) == 1 else AUTO,
            mode="exact" if self._gallery.ann_indexes is None else "fast",
            fingerprints={one.method.name: one.queries[0].fingerprint.digest for one in scores},
            searched=number,
            timings=watch.total(),
            ranking=options.ranking,
            decision=decision_of(wanted, options.ranking),
            null_model=self._gallery.null_model.version if self._gallery.null_model else None,
            query_size=image.whole,
            boxes=tuple((x + image.corner[0], y + image.corner[1], w, h) for x, y, w, h in image.boxes),
        )

    def _trace(
        self,
        query: Query,
        options: SearchOptions,
        scores: Sequence[Scores],
        result: SearchResult,
        hits: dict[str, HitTrace],
    ) -> Trace:
        encoded = {one.method.name: one.queries[0].features for one in scores if one.method.mapper}
        return Trace(
            query=query,
            options=options,
            result=result,
            image=replace(scores[0].queries[0].image, pixels=NO_PIXELS, thumbnail=b""),
            hits={hit.id: hits[hit.id] for hit in result.hits if hit.id in hits},
            local_only=all(method.verifier for method in self._methods),
            vectors={name: one for name, one in encoded.items() if isinstance(one, GlobalFeatures)},
        )


def _wanted(options: SearchOptions, *, by_evidence: bool) -> Wanted:
    """The scores that a search with these options computes."""
    return Wanted(
        k=options.k,
        mirror=options.mirror and by_evidence,
        near=by_evidence,
        rerank_depth=options.rerank_depth or RERANK_DEPTH,
    )


def _is_wanted(hit: Hit, options: SearchOptions) -> bool:
    """Whether a hit passes the thresholds of the options."""
    if options.min_score is not None and hit.score < options.min_score:
        return False
    return options.max_evalue is None or (hit.evalue is not None and hit.evalue <= options.max_evalue)

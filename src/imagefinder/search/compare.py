"""Comparison of two images without a collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.method import Method
from imagefinder.core.results import Comparison, Evidence
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.images.resize import thumbnail
from imagefinder.runtime import Runtime
from imagefinder.search.candidates import Candidate
from imagefinder.search.copies import Settled, Side, settle
from imagefinder.search.encoding import EncodedQuery, QueryImage, augment
from imagefinder.search.thumbnail_source import ThumbnailSource
from imagefinder.search.verification import PairVerifier
from imagefinder.verification.relation import COPIES, STRONG, relation_of_pair


def compare(runtime: Runtime, method: Method, a: QueryImage, b: QueryImage, *, watch: Stopwatch) -> Comparison:
    """Compare two images: score, spatial verification as in a search, and relation as for duplicates.

    There is no E-value, because a null model belongs to a collection.

    Args:
        runtime: Provides thumbnail method and photometric check.
        method: Scores the images. Its keypoints are verified or, if they give no geometry, those of thumbnails.
        a: The first image, the query of the evidence.
        b: The second image.
        watch: Records the stages ``extract``, ``match`` and ``verify``.

    Raises:
        ModelMissingError: the weights of the method are not on this machine.
    """
    features_a, features_b = method.extractor.extract([a.pixels]), method.extractor.extract([b.pixels])
    watch.lap("extract")
    score = float(method.matcher.score(features_a, features_b)[0])
    fingerprint = method.extractor.fingerprint()
    watch.lap("match")
    candidate = Candidate("", b.size, b.sha256, lambda: thumbnail(b.pixels))
    thumbnails = ThumbnailSource(runtime.thumbnail_method)
    verifier = PairVerifier(thumbnails, runtime.photometric_check, a, mirror=True, both_orders=True)
    queries: list[EncodedQuery] = []
    if method.verifier is not None:
        queries = augment(method, EncodedQuery(a, features_a, fingerprint, indexed=True), mirror=True)
    evidence = _evidence(verifier, method, queries, candidate, features_b)
    if verifier.is_same(candidate):
        settled = Settled("identical", next(evidence, None))
    else:
        settled = _settled(evidence, a, b)
    watch.lap("verify")
    return Comparison(
        method=method.name,
        fingerprint=fingerprint.digest,
        score=score,
        features_a=_rows(features_a),
        features_b=_rows(features_b),
        evidence=settled.evidence,
        relation=settled.relation,
        note=settled.note,
        timings=watch.total(),
    )


def _evidence(
    verifier: PairVerifier,
    method: Method,
    queries: Sequence[EncodedQuery],
    candidate: Candidate,
    features: Features,
) -> Iterator[Evidence]:
    """Evidence by the keypoints of the method, then of the thumbnails, then of the whole images."""
    finding = verifier.keypoints(method, queries, [(candidate, features)])[0] if queries else None
    if finding and finding.evidence:
        yield finding.evidence
    finding = verifier.thumbnails([candidate])[0]
    if finding and finding.evidence:
        yield finding.evidence
    whole = verifier.aligned(candidate)
    if whole:
        yield whole


def _settled(every: Iterable[Evidence], a: QueryImage, b: QueryImage) -> Settled:
    """The first evidence that shows a copy or is strong, else one with a relation, else the first one."""
    sides = Side(a.pixels, a.size, lambda: a.pixels), Side(b.pixels, b.size, lambda: b.pixels)
    tried = []
    for evidence in every:
        found = settle(relation_of_pair(evidence), evidence, *sides)
        if found.relation in COPIES or evidence.inliers >= STRONG:
            return found
        tried.append(found)
    return next((found for found in tried if found.relation), tried[0] if tried else Settled(None, None))


def _rows(features: Features) -> int:
    return len(features.descriptors) if isinstance(features, LocalFeatures) else len(features)

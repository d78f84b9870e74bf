"""Comparison of two images without a collection."""

from __future__ import annotations

from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.method import Method
from imagefinder.core.results import Comparison
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.images.resize import thumbnail
from imagefinder.runtime import Runtime
from imagefinder.search.candidates import Candidate
from imagefinder.search.copies import Side, settle
from imagefinder.search.encoding import EncodedQuery, QueryImage, augment
from imagefinder.search.verification import PairVerifier
from imagefinder.verification.relation import relation_of_pair


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
    verifier = PairVerifier(runtime.thumbnail_method, runtime.photometric_check, a, mirror=True)
    finding = None
    if method.verifier is not None:
        query = EncodedQuery(a, features_a, fingerprint, indexed=True)
        finding = verifier.keypoints(method, augment(method, query, mirror=True), candidate, features_b)
    if finding is None or finding.evidence is None:
        finding = verifier.thumbnails(candidate)
    evidence = finding.evidence if finding else None
    relation = relation_of_pair(evidence)
    is_same = verifier.is_same(candidate)
    note = ""
    if evidence and not is_same:
        sides = Side(a.pixels, a.size, lambda: a.pixels), Side(b.pixels, b.size, lambda: b.pixels)
        settled = settle(relation, evidence, *sides)
        relation, evidence, note = settled.relation, settled.evidence, settled.note
    watch.lap("verify")
    return Comparison(
        method=method.name,
        fingerprint=fingerprint.digest,
        score=score,
        features_a=_rows(features_a),
        features_b=_rows(features_b),
        evidence=evidence,
        relation="identical" if is_same else relation,
        note=note,
        timings=watch.total(),
    )


def _rows(features: Features) -> int:
    return len(features.descriptors) if isinstance(features, LocalFeatures) else len(features)

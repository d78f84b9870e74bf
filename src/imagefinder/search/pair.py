"""Two pictures against each other, without a collection: a score, and what speaks for it."""

from __future__ import annotations

from dataclasses import replace

from imagefinder.core.features import Features, LocalFeatures, RgbImage
from imagefinder.core.method import Examiner, Method
from imagefinder.core.results import Comparison, Evidence, Relation
from imagefinder.images.resize import thumbnail
from imagefinder.search.duplicates import relation_of
from imagefinder.search.engine import Stopwatch
from imagefinder.search.evidence import decoded_thumbnail, has_places, look, scaled
from imagefinder.search.question import Asked, Question, views


def compare(method: Method, examiner: Examiner, a: Asked, b: Asked, *, watch: Stopwatch) -> Comparison:
    """Score one picture against another, look for geometry as a search does, name the relation as for duplicates.

    There is no E-value: what chance does can be learned in a collection only.

    Args:
        method: Scores. The geometry of its keypoints is looked for; where there is none, a closer look follows.
        examiner: Looks closely.
        a: One picture; the evidence speaks of it as the query.
        b: The other.
        watch: Gets the stages ``extract``, ``match`` and ``verify``.

    Raises:
        ModelMissingError: the weights of the method are not here.
    """
    features_a, features_b = method.extractor.extract([a.pixels]), method.extractor.extract([b.pixels])
    watch.lap("extract")
    score = float(method.matcher.score(features_a, features_b)[0])
    fingerprint = method.extractor.fingerprint()
    watch.lap("match")
    small = thumbnail(b.pixels)
    reduced = decoded_thumbnail(small)
    same = (bool(a.sha256) and a.sha256 == b.sha256) or (a.size == b.size and thumbnail(a.pixels) == small)
    evidence = None
    if has_places(features_a) and has_places(features_b):
        evidence = _geometry(method, Question(a, features_a, fingerprint, indexed=True), features_b, b)
    if evidence is None and reduced is not None:
        evidence = _closer_look(examiner.closer, a, b, reduced)
    if evidence and reduced is not None:
        agreement = examiner.photometer.agreement(a.pixels, a.size, reduced, b.size, evidence)
        evidence = replace(evidence, agreement=agreement)
    watch.lap("verify")
    return Comparison(
        method=method.name,
        fingerprint=fingerprint.digest,
        score=score,
        features_a=_rows(features_a),
        features_b=_rows(features_b),
        evidence=evidence,
        relation="identical" if same else _relation(evidence),
        timings=watch.total(),
    )


def _geometry(method: Method, a: Question, features: Features, b: Asked) -> Evidence | None:
    if method.verifier is None:
        return None
    return look(method, views(method, a, mirror=True), features, b.size).evidence


def _relation(evidence: Evidence | None) -> Relation | None:
    return None if evidence is None else relation_of(evidence)


def _closer_look(closer: Method, a: Asked, b: Asked, reduced: RgbImage) -> Evidence | None:
    ours = closer.extractor.extract([a.pixels])
    theirs = scaled(closer.extractor.extract([reduced]), reduced, b.size)
    question = Question(a, ours, closer.extractor.fingerprint(), indexed=True)
    found = _geometry(closer, question, theirs, b)
    return found and replace(found, found_by="closer look")


def _rows(features: Features) -> int:
    return len(features.descriptors) if isinstance(features, LocalFeatures) else len(features)

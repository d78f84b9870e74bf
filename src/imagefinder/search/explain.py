"""Why a picture was found, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import AnnIndex, Store
from imagefinder.core.errors import MethodNotIndexedError
from imagefinder.core.features import Features, LocalFeatures, patch_cell
from imagefinder.core.method import Examiner, Method
from imagefinder.core.results import AUTO, Evidence, Explanation, Point, Size
from imagefinder.search import engine, evidence
from imagefinder.search.background import Background
from imagefinder.search.heat import Stored, with_heat
from imagefinder.search.judgement import Judge
from imagefinder.search.question import Asked, Question
from imagefinder.search.scoring import Scores


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """The matches that are shown.

    Attributes:
        method: Whose they are.
        finding: The matches and the view of the query they belong to.
        candidate: Features of the candidate.
    """

    method: Method
    finding: evidence.Finding
    candidate: Features


def explain(
    store: Store,
    methods: Sequence[Method],
    asked: Asked,
    image_id: str,
    *,
    mirror: bool,
    examiner: Examiner,
    background: Background,
    stored: Stored,
    allowed: Set[str] | None = None,
    shortlists: Mapping[str, AnnIndex] | None = None,
) -> Explanation:
    """What speaks for a stored image, found or not.

    Args:
        store: Holds it.
        methods: Those that answer together.
        asked: The query.
        image_id: Of the stored image.
        mirror: Try the mirror image of the query too.
        examiner: Looks closely.
        background: What chance does in this store.
        stored: Reads the stored image, for a heat map.
        allowed: As in ``engine.search``.
        shortlists: Where given, the other images are spoken for by a sample, as in a fast search.

    Raises:
        UnknownImageError: no image of that id.
        MethodNotIndexedError: it has no features of any of the methods.
        InputError: only methods with keypoints were asked, and either side's features have none.
    """
    record = store.get(image_id)
    size = record.width, record.height
    hit, scored, judge = engine.assess(
        store,
        methods,
        asked,
        image_id,
        mirror=mirror,
        examiner=examiner,
        background=background,
        allowed=allowed,
        shortlists=shortlists,
    )
    local = _local(store, scored, image_id, size)
    if not local and all(method.verifier for method in methods):
        raise evidence.no_places(methods[0])
    found = hit.evidence
    shown: _Matched | None = local[0] if local else None
    if found and found.found_by == "closer look":
        shown = _closer(store, examiner, asked, image_id, mirror=mirror)
    elif found:
        shown = max(local, key=lambda one: one.finding.evidence.inliers if one.finding.evidence else 0)
    inliers, outliers = _pairs(shown, found, size) if shown else ((), ())
    corner = asked.corner
    told = Explanation(
        id=image_id,
        method=methods[0].name if len(methods) == 1 else AUTO,
        fingerprint=" ".join(scores.views[0].fingerprint.digest for scores in scored),
        score=hit.score,
        evidence=found,
        matches=len(shown.finding.matches) if shown else 0,
        inliers=_moved(inliers, corner),
        outliers=_moved(outliers, corner),
        query_size=asked.whole,
        candidate_size=size,
        evalue=hit.evalue,
        decision=hit.decision,
        relation=hit.relation,
        numbers=_numbers(scored, judge, found, image_id),
        query_cell=_cell(shown.finding.view.features, asked.size) if shown else (0.0, 0.0),
        candidate_cell=_cell(shown.candidate, size) if shown else (0.0, 0.0),
    )
    pooled = [scores for scores in scored if scores.method.mapper and image_id in scores.rows]
    # Where several methods answer together, a place says more than heat.
    if not pooled or (found and len(methods) > 1):
        return told
    method, view = pooled[0].method, pooled[0].views[0]
    return with_heat(told, method, view, store.features(image_id, method.name), stored)


def _local(store: Store, scored: Sequence[Scores], image_id: str, size: Size) -> list[_Matched]:
    """The matches of each method with keypoints."""
    found = []
    for scores in scored:
        if scores.method.verifier is None:
            continue
        try:
            candidate = store.features(image_id, scores.method.name)
        except MethodNotIndexedError:
            continue
        if evidence.has_places(scores.views[0].features) and evidence.has_places(candidate):
            view = scores.view_of(image_id)
            finding = evidence.look(scores.method, [view], candidate, size)
            found.append(_Matched(scores.method, finding, candidate))
    return found


def _closer(store: Store, examiner: Examiner, asked: Asked, image_id: str, *, mirror: bool) -> _Matched | None:
    cache: dict[str, Features] = {}
    scrutiny = evidence.Scrutiny(store, examiner, asked, mirror=mirror, cache=cache)
    finding = scrutiny.closer_finding(image_id)
    return None if finding is None else _Matched(examiner.closer, finding, cache[image_id])


def _pairs(
    shown: _Matched, found: Evidence | None, size: Size
) -> tuple[list[tuple[Point, Point]], list[tuple[Point, Point]]]:
    """The matches that the geometry explains, and the others, as places."""
    view, matches = shown.finding.view, shown.finding.matches
    inliers = np.empty((0, 2), dtype=np.int64)
    if found:
        verifier = evidence.verifier_of(shown.method)
        inliers = verifier.inliers(
            view.features, shown.candidate, matches, query_size=view.size, candidate_size=size
        )
    explained = set(map(tuple, inliers.tolist()))
    others = np.array([row for row in matches.tolist() if tuple(row) not in explained], dtype=np.int64)
    return _places(view, shown.candidate, inliers), _places(view, shown.candidate, others.reshape(-1, 2))


def _places(view: Question, candidate: Features, rows: NDArray[np.int64]) -> list[tuple[Point, Point]]:
    there, here = _points(candidate, rows[:, 1]), _points(view.features, rows[:, 0])
    if view.mirrored:
        here = [(view.size[0] - 1 - x, y) for x, y in here]
    return list(zip(here, there, strict=True))


def _points(features: Features, rows: NDArray[np.int64]) -> list[Point]:
    assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type; they have keypoints
    return [(float(x), float(y)) for x, y in features.keypoints[rows, :2].tolist()]


def _cell(features: Features, size: Size) -> tuple[float, float]:
    assert isinstance(features, LocalFeatures)  # noqa: S101 - likewise
    return patch_cell(features.keypoints, size)


def _moved(pairs: Sequence[tuple[Point, Point]], corner: Point) -> tuple[tuple[Point, Point], ...]:
    return tuple(((x + corner[0], y + corner[1]), there) for (x, y), there in pairs)


def _numbers(scored: Sequence[Scores], judge: Judge, found: Evidence | None, image_id: str) -> dict[str, float]:
    """What the E-value was computed from."""
    numbers: dict[str, float] = {
        "images compared": judge.searched,
        "images learned from": judge.background.cohort,
        "tests": judge.tests,
    }
    for scores in scored:
        row = scores.rows.get(image_id)
        if row is not None:
            name = scores.method.name
            numbers[f"{name} score"] = float(scores.values[row])
            numbers[f"{name} score in standard deviations above chance"] = float(scores.standard[row])
            alone = judge.of_scores(name, scores.standard[row : row + 1])
            numbers[f"{name} score alone, log10 of its E-value"] = float(alone[0])
    if found:
        numbers["inliers"] = found.inliers
        numbers["log10 of the chance of such a geometry, matches placed at random"] = found.log10_chance
        if found.agreement is not None:
            numbers["agreement"] = found.agreement
            numbers["log10 of the chance of such an agreement"] = judge.of_agreement(found.agreement)
    return numbers

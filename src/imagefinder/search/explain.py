"""Why a picture was found, as data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, LocalFeatures, RgbImage, patch_cell
from imagefinder.core.method import Method
from imagefinder.core.results import Explanation, Point, Size
from imagefinder.search import evidence
from imagefinder.search.heat import Stored, with_heat
from imagefinder.search.question import Question


def explain(
    store: Store, method: Method, views: Sequence[Question], image_id: str, *, query: RgbImage, stored: Stored
) -> Explanation:
    """What speaks for a stored image.

    Args:
        store: Holds it.
        method: Compares; must have a verifier or a mapper.
        views: The query, and perhaps its mirror image.
        image_id: Of the stored image.
        query: The picture that was asked with.
        stored: Reads a stored picture; called for methods with a mapper only.

    Raises:
        UnknownImageError: no image of that id.
        MethodNotIndexedError: it has no features of this method.
        InputError: the method has nothing to show, or either side lacks keypoints.
    """
    if method.mapper is None:
        evidence.verifier_of(method)
    record, candidate = store.get(image_id), store.features(image_id, method.name)
    size = record.width, record.height
    if method.mapper is not None:
        told = Explanation(
            id=image_id,
            method=method.name,
            fingerprint=views[0].fingerprint.digest,
            score=float(method.matcher.score(views[0].features, candidate)[0]),
            evidence=None,
            matches=0,
            inliers=(),
            query_size=views[0].size,
            candidate_size=size,
        )
        mapper, ours = method.mapper, views[0].features
        return with_heat(told, mapper, query=query, ours=ours, theirs=candidate, stored=stored)
    return _matched(method, views, candidate, image_id, size)


def _matched(
    method: Method, views: Sequence[Question], candidate: Features, image_id: str, size: Size
) -> Explanation:
    """The matches, and what geometry says of them."""
    verifier = evidence.verifier_of(method)
    if not (evidence.has_places(views[0].features) and evidence.has_places(candidate)):
        raise evidence.no_places(method)
    finding = evidence.look(method, views, candidate, size)
    view = finding.view
    inliers = verifier.inliers(
        view.features, candidate, finding.matches, query_size=view.size, candidate_size=size
    )
    explained = set(map(tuple, inliers.tolist()))
    others = np.array([row for row in finding.matches.tolist() if tuple(row) not in explained], dtype=np.int64)
    return Explanation(
        id=image_id,
        method=method.name,
        fingerprint=view.fingerprint.digest,
        score=float(method.matcher.score(view.features, candidate)[0]),
        evidence=finding.evidence,
        matches=len(finding.matches),
        inliers=_places(view, candidate, inliers),
        query_size=view.size,
        candidate_size=size,
        outliers=_places(view, candidate, others.reshape(-1, 2)),
        query_cell=_cell(view.features, view.size),
        candidate_cell=_cell(candidate, size),
    )


def _places(view: Question, candidate: Features, rows: NDArray[np.int64]) -> tuple[tuple[Point, Point], ...]:
    here, there = _points(view.features, rows[:, 0]), _points(candidate, rows[:, 1])
    if view.mirrored:
        here = [(view.size[0] - 1 - x, y) for x, y in here]
    return tuple(zip(here, there, strict=True))


def _points(features: Features, rows: NDArray[np.int64]) -> list[Point]:
    assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type; they have keypoints
    return [(float(x), float(y)) for x, y in features.keypoints[rows, :2].tolist()]


def _cell(features: Features, size: Size) -> tuple[float, float]:
    assert isinstance(features, LocalFeatures)  # noqa: S101 - likewise
    return patch_cell(features.keypoints, size)

"""Why a picture was found, as data."""

from __future__ import annotations

from collections.abc import Sequence

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.method import Method
from imagefinder.core.results import Explanation, Point
from imagefinder.search import evidence
from imagefinder.search.question import Question


def explain(store: Store, method: Method, views: Sequence[Question], image_id: str) -> Explanation:
    """What speaks for a stored image.

    Args:
        store: Holds it.
        method: Compares; must have a verifier.
        views: The query, and perhaps its mirror image.
        image_id: Of the stored image.

    Raises:
        UnknownImageError: no image of that id.
        MethodNotIndexedError: it has no features of this method.
        InputError: the method cannot verify, or either side lacks keypoints.
    """
    verifier = evidence.verifier_of(method)
    record, candidate = store.get(image_id), store.features(image_id, method.name)
    if not (evidence.has_places(views[0].features) and evidence.has_places(candidate)):
        raise evidence.no_places(method)
    size = record.width, record.height
    finding = evidence.look(method, views, candidate, size)
    view = finding.view
    inliers = verifier.inliers(
        view.features, candidate, finding.matches, query_size=view.size, candidate_size=size
    )
    there = _places(candidate, inliers[:, 1].tolist())
    here = _places(view.features, inliers[:, 0].tolist())
    if view.mirrored:
        here = [(view.size[0] - 1 - x, y) for x, y in here]
    return Explanation(
        id=image_id,
        method=method.name,
        fingerprint=view.fingerprint.digest,
        score=float(method.matcher.score(view.features, candidate)[0]),
        evidence=finding.evidence,
        matches=len(finding.matches),
        inliers=tuple(zip(here, there, strict=True)),
        query_size=view.size,
        candidate_size=size,
    )


def _places(features: Features, rows: Sequence[int]) -> list[Point]:
    assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type; they have keypoints
    return [(float(x), float(y)) for x, y in features.keypoints[list(rows), :2].tolist()]

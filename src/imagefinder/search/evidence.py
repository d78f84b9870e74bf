"""Which of the best candidates share a geometry with the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store, Verifier
from imagefinder.core.errors import InputError, MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.method import Method
from imagefinder.core.results import Evidence, Outline, Size
from imagefinder.search.question import Question


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What geometry says about a query and one candidate.

    Attributes:
        view: The query as it was compared: itself or its mirror image.
        matches: ``(M, 2)`` int64, of that view.
        evidence: In pixels of the query itself; ``None`` if there is none.
    """

    view: Question
    matches: NDArray[np.int64]
    evidence: Evidence | None


def verifier_of(method: Method) -> Verifier:
    """What looks for geometry.

    Raises:
        InputError: the method has nothing of the kind.
    """
    if method.verifier is None:
        raise InputError(
            f"{method.name} has no keypoints, so there is no geometry to verify",
            hint="sift is a method that has them",
        )
    return method.verifier


def gather(
    store: Store, method: Method, views: Sequence[Question], ids: Sequence[str]
) -> dict[str, Evidence | None]:
    """Look for geometry in each of some images; one that is gone meanwhile, or has no keypoints, is left out.

    Args:
        store: Holds the images.
        method: Must have a verifier.
        views: The query, and perhaps its mirror image.
        ids: Of the images.

    Raises:
        InputError: there are images to look at, but either side lacks keypoints.
    """
    if ids and not has_places(views[0].features):
        raise no_places(method)
    found: dict[str, Evidence | None] = {}
    some_lack_places = False
    for image_id in ids:
        try:
            record, candidate = store.get(image_id), store.features(image_id, method.name)
        except (UnknownImageError, MethodNotIndexedError):
            continue
        if has_places(candidate):
            found[image_id] = look(method, views, candidate, (record.width, record.height)).evidence
        else:
            some_lack_places = True
    if some_lack_places and not found:
        raise no_places(method)
    return found


def look(method: Method, views: Sequence[Question], candidate: Features, size: Size) -> Finding:
    """The view of the query that more inliers speak for; the first one if none does."""
    verifier = verifier_of(method)
    findings = []
    for view in views:
        matches = method.matcher.matches(view.features, candidate)
        evidence = verifier.verify(view.features, candidate, matches, query_size=view.size, candidate_size=size)
        if evidence and view.mirrored:
            evidence = _unmirrored(evidence, view.size[0])
        findings.append(Finding(view, matches, evidence))
    return max(findings, key=lambda finding: finding.evidence.inliers if finding.evidence else 0)


def has_places(features: Features) -> bool:
    """Whether keypoints say where they are; those of imported features do not. None at all lack nothing."""
    if not isinstance(features, LocalFeatures):
        return False
    return len(features.keypoints) == 0 or bool((features.keypoints[:, 2] > 0).any())


def no_places(method: Method) -> InputError:
    """The error for features without keypoints."""
    return InputError(
        f"these {method.name} features have no keypoints (imported ones never do): no geometry can be verified",
        hint="add the pictures themselves",
    )


def _unmirrored(evidence: Evidence, width: int) -> Evidence:
    """Evidence about the mirror image, told in pixels of the picture itself."""
    flip = np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    rows = (np.array(evidence.transform) @ flip).tolist()
    at_query: list[tuple[float, float]] = [(width - 1 - x, y) for x, y in evidence.query_outline]
    top_left, top_right, bottom_right, bottom_left = evidence.candidate_outline
    outline: Outline = (at_query[0], at_query[1], at_query[2], at_query[3])
    return replace(
        evidence,
        transform=(tuple(rows[0]), tuple(rows[1]), tuple(rows[2])),
        mirrored=True,
        query_outline=outline,
        candidate_outline=(top_right, top_left, bottom_left, bottom_right),
    )

"""Explanations of hits, taken from the trace of a search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import InputError
from imagefinder.core.results import Explanation, Point
from imagefinder.search.trace import Trace


def explain(trace: Trace, image_id: str) -> Explanation:
    """The explanation of a hit, without heat maps; nothing is recomputed.

    Args:
        trace: Trace of the search.
        image_id: Id of a verified hit: a key of ``trace.hits``.

    Raises:
        InputError: all methods are local, but the features of one of the images have no positions.
    """
    found, hit = trace.hits[image_id], next(hit for hit in trace.result.hits if hit.id == image_id)
    if found.matches is None and trace.local_only:
        raise InputError(
            f"these {trace.result.method} features have no keypoints (imported features never do), "
            "so there is no geometry to verify",
            hint="add the image files themselves",
        )
    matches = found.matches
    pairs = _pairs(matches.query, matches.hit) if matches else ()
    inliers = matches.inliers if matches else 0
    return Explanation(
        id=image_id,
        method=trace.result.method,
        fingerprint=trace.result.fingerprint,
        score=hit.score,
        evidence=hit.evidence,
        matches=len(pairs),
        inliers=pairs[:inliers],
        outliers=pairs[inliers:],
        query_size=trace.image.whole,
        candidate_size=found.size,
        evalue=hit.evalue,
        decision=hit.decision,
        relation=hit.relation,
        note=hit.note,
        null_model=trace.result.null_model,
        numbers=found.numbers,
        query_cell=matches.query_cell if matches else (0.0, 0.0),
        candidate_cell=matches.hit_cell if matches else (0.0, 0.0),
    )


def heat_method(trace: Trace, image_id: str) -> str:
    """Name of the method whose heat maps belong to the explanation of a hit; empty if there are none.

    With several methods, hits with a geometry get no heat maps, because the geometry explains more. Queries with
    several boxes have none, because their vectors are sums of several grids.
    """
    found, hit = trace.hits[image_id], next(hit for hit in trace.result.hits if hit.id == image_id)
    shown = hit.evidence is None or len(trace.result.fingerprints) == 1
    return found.pooled if shown and len(trace.image.boxes) < 2 else ""


def _pairs(query: NDArray[np.float64], hit: NDArray[np.float64]) -> tuple[tuple[Point, Point], ...]:
    return tuple(((x, y), (u, v)) for (x, y), (u, v) in zip(query.tolist(), hit.tolist(), strict=True))

"""The trace of a search: the data needed to explain its hits without another search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import Features, GlobalFeatures, LocalFeatures, patch_cell
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.results import SearchResult, Size
from imagefinder.search.calibration import Calibrated
from imagefinder.search.encoding import QueryImage
from imagefinder.search.geometry import Finding


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The positions of the matches between the query and one hit.

    Attributes:
        query: ``(M, 2)`` float64, positions in pixels of the whole query image.
        hit: ``(M, 2)`` float64, positions in pixels of the hit.
        inliers: Number of inliers; these are the first rows.
        query_cell: Width and height in pixels of the cell behind one token of the query; zeros for keypoints.
        hit_cell: Width and height in pixels of the cell behind one token of the hit; zeros for keypoints.
    """

    query: NDArray[np.float64]
    hit: NDArray[np.float64]
    inliers: int
    query_cell: tuple[float, float]
    hit_cell: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class HitTrace:
    """The trace of one verified hit.

    Attributes:
        version: ``ImageRecord.version`` at the time of verification.
        size: Width and height in pixels.
        matches: Matches of the method that the evidence comes from or, without evidence, of the first method with
            keypoints; ``None`` if the features have no positions.
        numbers: The numbers behind the E-value: name -> value.
        pooled: Name of the first method with heat maps; empty if there is none.
    """

    version: str
    size: Size
    matches: Matches | None
    numbers: Mapping[str, float]
    pooled: str


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The trace of a search.

    Attributes:
        query: The query.
        options: The search options.
        result: The result.
        image: The query image without its pixels.
        hits: Image id -> trace of the hit, for verified hits.
        local_only: Whether all methods are local (have a verifier).
        vectors: Method name -> global features of the query, for methods with heat maps.
    """

    query: Query
    options: SearchOptions
    result: SearchResult
    image: QueryImage
    hits: Mapping[str, HitTrace]
    local_only: bool
    vectors: Mapping[str, GlobalFeatures]

    @property
    def nbytes(self) -> int:
        """Approximate memory in bytes: arrays and encoded query image."""
        data = self.query.image
        arrays = [hit.matches for hit in self.hits.values() if hit.matches]
        return (
            (len(data) if isinstance(data, bytes) else data.nbytes if isinstance(data, np.ndarray) else 0)
            + sum(matches.query.nbytes + matches.hit.nbytes for matches in arrays)
            + sum(features.vectors.nbytes for features in self.vectors.values())
            + 2000 * len(self.hits)
        )


def trace_hits(ids: Sequence[str], calibrated: Calibrated, image: QueryImage) -> dict[str, HitTrace]:
    """The traces of the verified hits.

    Args:
        ids: Ids of the hits.
        calibrated: E-values and evidence of all images.
        image: The query image.
    """
    traces = {}
    for image_id in ids:
        found = calibrated.verified.get(image_id)
        if found is None or found.candidate is None:
            continue
        shown = calibrated.best.get(image_id) or next(iter(found.keypoints.values()), None)
        pooled = [one.method.name for one in calibrated.scores if one.method.mapper and image_id in one.rows]
        traces[image_id] = HitTrace(
            version=found.candidate.version,
            size=found.candidate.size,
            matches=_matches(shown, image, found.candidate.size) if shown else None,
            numbers=_numbers(image_id, calibrated),
            pooled=pooled[0] if pooled else "",
        )
    return traces


def _matches(finding: Finding, image: QueryImage, size: Size) -> Matches:
    rows = finding.matches
    inliers = finding.verification.inliers if finding.verification else rows[:0]
    explained = set(map(tuple, inliers.tolist()))
    others = [row for row in rows.tolist() if tuple(row) not in explained]
    ordered = np.concatenate([inliers, np.array(others, dtype=np.int64).reshape(-1, 2)])
    here = _positions(finding.query.features, ordered[:, 0])
    if finding.query.flipped:
        here[:, 0] = image.size[0] - 1 - here[:, 0]
    return Matches(
        query=here + np.array(image.corner),
        hit=_positions(finding.candidate, ordered[:, 1]),
        inliers=len(inliers),
        query_cell=_cell(finding.query.features, image.size),
        hit_cell=_cell(finding.candidate, size),
    )


def _positions(features: Features, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    assert isinstance(features, LocalFeatures)  # noqa: S101 - narrows the type; findings are of local features
    return features.keypoints[rows, :2].astype(np.float64)


def _cell(features: Features, size: Size) -> tuple[float, float]:
    assert isinstance(features, LocalFeatures)  # noqa: S101 - as above
    return patch_cell(features.keypoints, size)


def _numbers(image_id: str, calibrated: Calibrated) -> dict[str, float]:
    calibration = calibrated.calibration
    numbers: dict[str, float] = {
        "images searched": calibration.searched,
        "images searched for in calibration": len(calibration.null_model.seeds),
        "wrong images with a common part": calibration.common_parts,
        "tests": calibration.tests,
    }
    for one in calibrated.scores:
        row = one.rows.get(image_id)
        if row is not None:
            name = one.method.name
            numbers[f"{name} score"] = float(one.values[row])
            numbers[f"{name} score, standardised"] = float(one.standard[row])
            numbers[f"{name} score alone, log10 of the E-value"] = float(calibrated.alone[name][row])
    finding = calibrated.best.get(image_id)
    if finding and finding.evidence:
        evidence = finding.evidence
        numbers["inliers"] = evidence.inliers
        numbers["geometry, log10 of the chance probability"] = evidence.log10_chance
        if evidence.agreement is not None:
            numbers["agreement"] = evidence.agreement
            numbers["agreement, log10 of the chance probability"] = calibration.of_agreement(evidence.agreement)
        similar = calibrated.similar[image_id]
        numbers["similarity, as a witness"] = similar
        by_chance, by_common_part = calibration.parts(evidence, similar)
        numbers["geometry by chance alone, log10 of the E-value"] = by_chance
        numbers["geometry of a common part alone, log10 of the E-value"] = by_common_part
    return numbers

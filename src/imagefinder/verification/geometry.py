"""Do the matches between two pictures agree on one transform?

Mutual nearest neighbours between busy pictures are mostly chance: hundreds of pairs without a common geometry.
But a match of two keypoints with size and angle proposes a whole similarity by itself. So nothing is drawn at
random: each of the closest matches proposes, each proposal is asked how many matches it explains, and the best are
refined. The outcome is a function of the features alone; the order of the matches is of no account.

1. The ``PROPOSALS`` matches with the smallest angle between their descriptors propose. All matches may agree. How
   distinctive a match is, by its second-best partner, was tried instead: it finds no more and takes longer.
2. A proposal explains a match that lies where it says, within a slack that grows with the distance from the
   proposing match, with about the same change of size and angle.
3. The ``REFINED`` best, none of which proposes what a better one explains, are fitted by least squares to what
   they explain, with a tolerance that shrinks: a similarity first, then an affine map, then a homography. One with
   more freedom is taken only if it explains ``GAIN`` times as many matches, and one more.
4. Inliers lie at places of their own in both pictures, and not all at one spot. The transform must be one that
   a camera could have made: no mirroring, no fold, no collapse.
5. What chance would explain as well is no evidence: a bound on the expected number of proposals that find so many
   agreeing matches among matches placed at random must not exceed ``CHANCE``.

Sources. One proposal per correspondence, all of them tried: J. Philbin, O. Chum, M. Isard, J. Sivic, A. Zisserman,
"Object retrieval with large vocabularies and fast spatial matching", CVPR 2007. Agreement in size and angle:
H. Jegou, M. Douze, C. Schmid, "Hamming embedding and weak geometric consistency", ECCV 2008. Consensus:
M. Fischler, R. Bolles, "Random sample consensus", CACM 24(6), 1981. Estimate of a homography: R. Hartley,
A. Zisserman, "Multiple view geometry in computer vision", 2nd ed., section 4.4. Chance: L. Moisan, B. Stival,
"A probabilistic criterion to detect rigid point matches between two images", IJCV 57(3), 2004; Chernoff's
inequality bounds the tail of the binomial.

Letters used in shapes: ``M`` matches, ``P`` proposals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Verification
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.results import Evidence, Matrix, Outline, Size
from imagefinder.verification.chance import log10_tail
from imagefinder.verification.transforms import Array
from imagefinder.verification.transforms import corners as _corners
from imagefinder.verification.transforms import derivative as _derivative
from imagefinder.verification.transforms import move as _move
from imagefinder.verification.transforms import overlap as _overlap
from imagefinder.verification.transforms import tuples as _tuples

Mask: TypeAlias = NDArray[np.bool_]
Model: TypeAlias = Literal["similarity", "affine", "homography"]

PROPOSALS = 300
"""So many of the closest matches propose a transform."""

REFINED = 5
"""So many of the best proposals are refined."""

NEEDED: dict[Model, int] = {"similarity": 5, "affine": 6, "homography": 10}
"""Fewer inliers do not determine a model, or agree by chance too often."""

GAIN = 1.15
"""A model with more freedom must explain that many times as many matches as the simpler one."""

TOLERANCE = 0.006
"""How far an inlier may lie off, as a part of the picture's diagonal."""

TOLERANCE_PER_SIZE = 0.15
"""And beyond that, as a part of the keypoint's size: large ones are placed less exactly."""

SLACK = 0.1
"""And beyond that, for proposals only, as a part of the distance from the proposing match."""

MAX_ANGLE = 30.0
"""Degrees that the angle of an inlier may differ from the rotation of the transform at that place."""

MAX_OCTAVES = 0.8
"""Likewise for sizes: logarithm to base 2 of their ratio."""

MAX_SCALE = 20.0
"""Pictures enlarged or reduced beyond this are taken for degenerate."""

MAX_ANISOTROPY = 5.0
"""Likewise, stretched in one direction against the other, at any corner or in the middle."""

MAX_DEPTH = 4.0
"""Likewise, the farthest corner against the nearest one, as a homography sees depth."""

CHANCE = 0.01
"""Proposals expected to explain as many matches by chance."""

_SHRINKING = (3.0, 2.0, 1.0, 1.0, 1.0)
"""Tolerances of the rounds of refinement; the last ones let the inliers settle."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Matches as geometry.

    Attributes:
        rows: ``(M, 2)`` int64, the matches.
        here: ``(M, 2)``, places in the query.
        there: ``(M, 2)``, places in the candidate.
        octaves: ``(M,)``, change of size from query to candidate, logarithm to base 2.
        turns: ``(M,)``, change of angle in degrees.
        reach_here: ``(M,)``, tolerance in pixels of the query.
        reach_there: ``(M,)``, in pixels of the candidate.
        spots: Length of one spot in the query and in the candidate: inliers closer than that are one.
    """

    rows: NDArray[np.int64]
    here: Array
    there: Array
    octaves: Array
    turns: Array
    reach_here: Array
    reach_there: Array
    spots: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A model with the matches it explains (``(M,)`` bool)."""

    model: Model
    matrix: Array
    inliers: Mask

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.inliers))


class GeometryVerifier:
    """Verifies by places, sizes and angles of keypoints."""

    def verify(
        self,
        query: Features,
        candidate: Features,
        matches: NDArray[np.int64],
        *,
        query_size: Size,
        candidate_size: Size,
    ) -> Verification | None:
        """See ``core.contracts.Verifier``."""
        pairs = _pairs(_local(query), _local(candidate), matches, query_size, candidate_size)
        fit = _fit(pairs, query_size, candidate_size)
        if fit is None:
            return None
        chance = _log10_chance(fit.count, pairs, candidate_size)
        rows = pairs.rows[fit.inliers]
        return Verification(
            _evidence(fit, len(matches), chance, query_size, candidate_size),
            rows[np.lexsort((rows[:, 1], rows[:, 0]))],
        )


def _local(features: Features) -> LocalFeatures:
    if not isinstance(features, LocalFeatures):
        raise TypeError("geometry is defined for local features")
    return features


# -- from matches to a transform -----------------------------------------------------------------------------


def _pairs(
    query: LocalFeatures,
    candidate: LocalFeatures,
    matches: NDArray[np.int64],
    query_size: Size,
    candidate_size: Size,
) -> _Pairs:
    """The matches whose keypoints have size and angle, the closest first."""
    matches = matches[np.lexsort((matches[:, 1], matches[:, 0]))]
    sizes = query.keypoints[matches[:, 0], 2:], candidate.keypoints[matches[:, 1], 2:]
    matches = matches[np.logical_and(*((known[:, 0] > 0) & (known[:, 1] >= 0) for known in sizes))]
    matches = matches[np.argsort(-_cosines(query.descriptors, candidate.descriptors, matches), kind="stable")]
    a, b = _exact(query.keypoints[matches[:, 0]]), _exact(candidate.keypoints[matches[:, 1]])
    base_here, base_there = (TOLERANCE * math.hypot(*size) for size in (query_size, candidate_size))
    return _Pairs(
        rows=matches,
        here=a[:, :2],
        there=b[:, :2],
        octaves=np.log2(b[:, 2] / a[:, 2]),
        turns=b[:, 3] - a[:, 3],
        reach_here=base_here + TOLERANCE_PER_SIZE * a[:, 2],
        reach_there=base_there + TOLERANCE_PER_SIZE * b[:, 2],
        spots=(base_here / 2, base_there / 2),
    )


def _exact(values: NDArray[np.float32]) -> Array:
    return values.astype(np.float64)


def _cosines(query: NDArray[Any], candidate: NDArray[Any], matches: NDArray[np.int64]) -> Array:
    ours, theirs = (rows[matches[:, column]].astype(np.float64) for column, rows in enumerate((query, candidate)))
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines: Array = np.einsum("md,md->m", ours, theirs) / np.maximum(norms, 1e-12)
    return cosines


def _fit(pairs: _Pairs, query_size: Size, candidate_size: Size) -> _Fit | None:
    """The transform that explains most, unless chance would explain as much."""
    fits = (_refine(pairs, consensus, query_size) for consensus in _proposed(pairs))
    best = max((fit for fit in fits if fit), key=lambda fit: fit.count, default=None)
    if best is None or _log10_chance(best.count, pairs, candidate_size) > math.log10(CHANCE):
        return None
    return best


def _proposed(pairs: _Pairs) -> list[Mask]:
    """For each of the best proposals the matches that it explains."""
    octaves, turns = pairs.octaves[:PROPOSALS, None], pairs.turns[:PROPOSALS, None]
    agree: Mask = np.abs(pairs.octaves - octaves) <= MAX_OCTAVES  # (P, M)
    agree &= _near(pairs.turns, turns, MAX_ANGLE)
    # Where the places fall is asked of those alone, a twentieth of all among matches by chance.
    proposing, other = np.nonzero(agree)
    here, there = (places @ np.array([1, 1j]) for places in (pairs.here, pairs.there))
    factors = np.exp2(pairs.octaves) * np.exp(1j * np.deg2rad(pairs.turns))  # similarities as complex factors
    steps = factors[proposing] * (here[other] - here[proposing])
    off = np.abs(there[proposing] + steps - there[other])
    agree[proposing, other] = off <= pairs.reach_there[other] + SLACK * np.abs(steps)
    counts = np.count_nonzero(agree, axis=1)
    chosen: list[Mask] = []
    for number in np.argsort(-counts, kind="stable").tolist():
        if counts[number] < NEEDED["similarity"] or len(chosen) == REFINED:
            break
        if not any(mask[number] for mask in chosen):
            chosen.append(agree[number])
    return chosen


def _refine(pairs: _Pairs, consensus: Mask, query_size: Size) -> _Fit | None:
    """The simplest model that explains what this consensus leads to."""
    best: _Fit | None = None
    start = consensus
    for model in NEEDED:
        found = _settle(pairs, start, model, query_size)
        if found is None:
            continue
        fit, start = found
        if best is None or fit.count >= GAIN * best.count + 1:
            best = fit
    return best


def _settle(pairs: _Pairs, start: Mask, model: Model, query_size: Size) -> tuple[_Fit, Mask] | None:
    """Fit, see what that explains, fit again; with the inliers, what the first and widest look explained."""
    chosen, widest = start, start
    matrix: Array = np.eye(3)
    for round_, factor in enumerate(_SHRINKING):
        fitted = _solve(model, pairs.here[chosen], pairs.there[chosen])
        if fitted is None or not _possible(fitted, query_size):
            return None
        matrix, before, chosen = fitted, chosen, _explained(pairs, fitted, factor)
        if np.count_nonzero(chosen) < NEEDED[model] or not _spread(pairs, chosen):
            return None
        if round_ == 0:
            widest = chosen
        elif factor == _SHRINKING[-1] and (before == chosen).all():
            break  # the rounds that are left would do the same
    return _Fit(model, matrix, chosen), widest


def _explained(pairs: _Pairs, matrix: Array, factor: float) -> Mask:
    """Matches that a transform explains, at places of their own."""
    rows = np.flatnonzero(_apart(_move(matrix, pairs.here), pairs.there) <= factor * pairs.reach_there)
    back = _move(np.linalg.inv(matrix), pairs.there[rows])
    rows = rows[_apart(back, pairs.here[rows]) <= factor * pairs.reach_here[rows]]
    derivative = _derivative(matrix, pairs.here[rows])
    (a, b), (c, d) = derivative[:, 0].T, derivative[:, 1].T
    octaves = np.log2(np.maximum(a * d - b * c, 1e-12)) / 2
    good = np.abs(octaves - pairs.octaves[rows]) <= MAX_OCTAVES
    good &= _near(np.rad2deg(np.arctan2(c - b, a + d)), pairs.turns[rows], MAX_ANGLE)
    rows = rows[good]
    for places, spot in zip((pairs.here, pairs.there), pairs.spots, strict=True):
        cells = np.round(places[rows] / spot)  # some hundreds in each direction
        _, first = np.unique(cells[:, 0] * 65536 + cells[:, 1], return_index=True)
        rows = rows[np.sort(first)]
    explained = np.zeros(len(pairs.rows), dtype=np.bool_)
    explained[rows] = True
    return explained


def _apart(a: Array, b: Array) -> Array:
    step = a - b
    distances: Array = np.hypot(step[:, 0], step[:, 1])
    return distances


def _spread(pairs: _Pairs, chosen: Mask) -> bool:
    """Whether matches lie apart, in both pictures."""
    for places, spot in zip((pairs.here, pairs.there), pairs.spots, strict=True):
        some = places[chosen]
        steps = some - some.mean(axis=0)
        if math.sqrt((steps * steps).sum() / len(some)) < 6 * spot:
            return False
    return True


def _log10_chance(inliers: int, pairs: _Pairs, candidate_size: Size) -> float:
    """How many proposals would explain so many of the matches if these lay anywhere; an upper bound, log10."""
    others, agreeing = len(pairs.rows) - 1, inliers - 1
    # The widest look of the refinement decides what can become an inlier.
    area = math.pi * (_SHRINKING[0] * float(np.median(pairs.reach_there))) ** 2
    # Sizes of keypoints spread over about three octaves.
    likely = min(0.5, area / math.prod(candidate_size) * (2 * MAX_ANGLE / 360) * (2 * MAX_OCTAVES / 3))
    return math.log10(min(PROPOSALS, others + 1)) + log10_tail(others, agreeing, likely)


def _near(a: Array, b: Array, degrees: float) -> Mask:
    """Whether directions lie so near to each other."""
    apart = np.abs(a % 360 - b % 360)
    return (apart <= degrees) | (apart >= 360 - degrees)


# -- transforms: (3, 3), applied to (x, y, 1) ----------------------------------------------------------------


def _possible(matrix: Array, size: Size) -> bool:
    """Whether a camera could have made this of a picture of that size: asked at its corners and in its middle."""
    if not np.isfinite(matrix).all():
        return False
    corners = _corners(size)
    depth = corners @ matrix[2, :2] + matrix[2, 2]
    if depth.min() <= 0 or depth.max() > MAX_DEPTH * depth.min():
        return False
    (a, b), (c, d) = np.moveaxis(_derivative(matrix, np.vstack([corners, corners.mean(axis=0)])), 0, 2).tolist()
    for corner in zip(a, b, c, d, strict=True):
        determinant = corner[0] * corner[3] - corner[1] * corner[2]
        if determinant <= 0:
            return False
        half = math.hypot(*corner) ** 2 / 2
        largest = math.sqrt(half + math.sqrt(max(0.0, half * half - determinant * determinant)))
        least = determinant / largest
        if largest > MAX_SCALE or least < 1 / MAX_SCALE or largest > MAX_ANISOTROPY * least:
            return False
    return True


def _solve(model: Model, here: Array, there: Array) -> Array | None:
    """Least squares; ``None`` where the points do not determine the model."""
    from_, to = _frame(here), _frame(there)
    if from_ is None or to is None:
        return None
    (x, y, unit), (u, v, unit_there) = from_, to
    a, b = (here - (x, y)) / unit, (there - (u, v)) / unit_there
    solved = {"similarity": _similarity, "affine": _affine, "homography": _homography}[model](a, b)
    if solved is None:
        return None
    into = np.array([[1, 0, -x], [0, 1, -y], [0, 0, unit]]) / unit
    back = np.array([[unit_there, 0, u], [0, unit_there, v], [0, 0, 1]])
    matrix = back @ solved @ into
    return None if abs(matrix[2, 2]) < 1e-12 else matrix / matrix[2, 2]


def _frame(points: Array) -> tuple[float, float, float] | None:
    """The mean of points, and the square root of the mean square of a coordinate's difference from it."""
    middle = points.mean(axis=0)
    steps = points - middle
    spread = math.sqrt((steps * steps).mean())
    return None if spread < 1e-6 else (float(middle[0]), float(middle[1]), spread)


def _similarity(a: Array, b: Array) -> Array | None:
    x, y = (points @ np.array([1, 1j]) for points in (a, b))
    factor = np.vdot(x, y) / np.vdot(x, x)
    return np.array([[factor.real, -factor.imag, 0], [factor.imag, factor.real, 0], [0, 0, 1]])


def _affine(a: Array, b: Array) -> Array | None:
    moments = a.T @ a
    if np.linalg.eigvalsh(moments)[0] <= 1e-3 * np.trace(moments):
        return None  # all on one line
    matrix = np.eye(3)
    matrix[:2, :2] = np.linalg.solve(moments, a.T @ b).T
    return matrix


def _homography(a: Array, b: Array) -> Array | None:
    (x, y), (u, v) = a.T, b.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.vstack(
        [
            np.column_stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u]),
            np.column_stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v]),
        ]
    )
    values, vectors = np.linalg.eigh(rows.T @ rows)
    least, next_ = values[:2]
    if next_ <= 1e-9 or least > next_ / 2:
        return None  # more than one solution, or none that stands out
    solution: Array = vectors[:, 0].reshape(3, 3)
    return solution


# -- from a transform to evidence ----------------------------------------------------------------------------


def _evidence(fit: _Fit, matches: int, chance: float, query_size: Size, candidate_size: Size) -> Evidence:
    at_candidate = _move(fit.matrix, _corners(query_size))
    at_query = _move(np.linalg.inv(fit.matrix), _corners(candidate_size))
    return Evidence(
        inliers=fit.count,
        matches=matches,
        model=fit.model,
        transform=cast(Matrix, _tuples(fit.matrix)),
        mirrored=False,
        query_outline=cast(Outline, _tuples(at_query)),
        candidate_outline=cast(Outline, _tuples(at_candidate)),
        query_overlap=_overlap(at_query, query_size),
        candidate_overlap=_overlap(at_candidate, candidate_size),
        log10_chance=chance,
    )

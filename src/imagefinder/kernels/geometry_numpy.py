"""The transform that most matches of two images agree on, in NumPy: the definition of ``kernels.geometry``.

Mutual nearest neighbours between detailed images are mostly chance: hundreds of pairs without a common geometry.
But a single match of two keypoints with size and angle determines a similarity. So there is no random sampling:
each of the closest matches proposes a transform, proposals are ranked by the number of matches they explain, and
the best are refined. The result depends only on the features, not on the order of the matches.

1. The ``PROPOSALS`` matches with the smallest angle between their descriptors propose transforms; all matches are
   counted. (Ranking matches by the distance ratio to the second-best candidate finds no more, and takes longer.)
2. A proposal explains a match whose position it predicts, within a slack that grows with the distance from the
   proposing match, and whose change of size and angle is about the same.
3. The ``REFINED`` best proposals, leaving out those whose match a better one explains, are fitted by least squares
   to the matches they explain, with a decreasing tolerance: first a similarity, then an affine transform, then a
   homography. A model with more parameters must explain ``GAIN`` times as many matches, plus one.
4. Inliers must have distinct positions in both images, and be spread out. The transform must be physically
   plausible: no reflection, no fold, no degenerate scale.

Sources. One proposal per correspondence, all of them tried: J. Philbin, O. Chum, M. Isard, J. Sivic, A. Zisserman,
"Object retrieval with large vocabularies and fast spatial matching", CVPR 2007. Agreement in size and angle:
H. Jegou, M. Douze, C. Schmid, "Hamming embedding and weak geometric consistency", ECCV 2008. Consensus:
M. Fischler, R. Bolles, "Random sample consensus", CACM 24(6), 1981. Estimate of a homography: R. Hartley,
A. Zisserman, "Multiple view geometry in computer vision", 2nd ed., section 4.4.

Letters used in shapes: ``M`` matches, ``P`` proposals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.batch_contracts import MatchedPair
from imagefinder.core.elongated import diagonal
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.results import Size
from imagefinder.kernels.transforms import Array
from imagefinder.kernels.transforms import corners as _corners
from imagefinder.kernels.transforms import derivative as _derivative
from imagefinder.kernels.transforms import move as _move

Mask: TypeAlias = NDArray[np.bool_]
Model: TypeAlias = Literal["similarity", "affine", "homography"]

PROPOSALS = 300
"""Number of closest matches that propose a transform."""

REFINED = 5
"""Number of best proposals that are refined."""

NEEDED: dict[Model, int] = {"similarity": 5, "affine": 6, "homography": 10}
"""Minimum number of inliers for each model; fewer do not determine it, or agree too often by chance."""

GAIN = 1.15
"""Factor by which a model with more parameters must explain more matches than a simpler one."""

TOLERANCE = 0.006
"""Maximum position error of an inlier, as a fraction of the image diagonal (``core.elongated``)."""

TOLERANCE_PER_SIZE = 0.15
"""Additional position error, as a fraction of the keypoint's size: large keypoints are located less precisely."""

SLACK = 0.1
"""Additional position error for proposals, as a fraction of the distance from the proposing match."""

MAX_ANGLE = 30.0
"""Maximum difference in degrees between the rotation of an inlier and that of the transform at its position."""

MAX_OCTAVES = 0.8
"""Maximum difference in octaves (log2) between the change of size of an inlier and that of the transform."""

MAX_SCALE = 20.0
"""Maximum scale factor, up or down; beyond it, a transform is considered degenerate."""

LARGE = 10_000.0
"""Side in pixels beyond which the maximum scale factor grows with the image: scans have small previews."""

MAX_ANISOTROPY = 5.0
"""Maximum ratio of the scales in two directions, at any corner and in the centre."""

MAX_DEPTH = 4.0
"""Maximum ratio of the depths of two corners, for homographies."""

SHRINKING = (3.0, 2.0, 1.0, 1.0, 1.0)
"""Tolerance factors of the rounds of refinement; the inliers settle in the last ones."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """The transform that most matches of two images agree on.

    Attributes:
        model: The simplest model that explains them.
        matrix: ``(3, 3)`` float64, pixels of the query to pixels of the candidate.
        inliers: ``(I, 2)`` int64, the matches that it explains, sorted.
        usable: Number of matches of keypoints with size and angle.
        reach: Median tolerance of these in pixels of the candidate.
    """

    model: Model
    matrix: Array
    inliers: NDArray[np.int64]
    usable: int
    reach: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What follows from the sizes of two images.

    Attributes:
        reach_here: Tolerance in pixels of the query, without that of a keypoint.
        reach_there: The same in pixels of the candidate.
        max_scale: Maximum scale factor, up or down.
    """

    reach_here: float
    reach_there: float
    max_scale: float

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(query_size: Size, candidate_size: Size) -> Limits:
        """The limits for images of these sizes."""
        here, there = (TOLERANCE * diagonal(*size) for size in (query_size, candidate_size))
        return Limits(here, there, MAX_SCALE * max(1.0, max(*query_size, *candidate_size) / LARGE))


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """The geometry of the matches.

    Attributes:
        rows: ``(M, 2)`` int64, the matches.
        here: ``(M, 2)`` float64, positions in the query.
        there: ``(M, 2)`` float64, positions in the candidate.
        octaves: ``(M,)`` float64, change of size from query to candidate, log2.
        turns: ``(M,)`` float64, change of angle from query to candidate, degrees.
        reach_here: ``(M,)`` float64, tolerance in pixels of the query.
        reach_there: ``(M,)`` float64, tolerance in pixels of the candidate.
        max_scale: Maximum scale factor, up or down.
        spots: Grid size in pixels of the query and of the candidate; inliers in the same grid cell count once.
    """

    rows: NDArray[np.int64]
    here: Array
    there: Array
    octaves: Array
    turns: Array
    reach_here: Array
    reach_there: Array
    max_scale: float
    spots: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A fitted model, with the matches it explains (``(M,)`` bool)."""

    model: Model
    matrix: Array
    inliers: Mask

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.inliers))


def fit(pair: MatchedPair) -> FittedModel | None:
    """The transform that most matches of two images agree on; ``None`` if there is none."""
    pairs = _pairs(pair)
    fits = (_refine(pairs, consensus, pair.query_size) for consensus in _proposed(pairs))
    best = max((one for one in fits if one), key=lambda one: one.count, default=None)
    if best is None:
        return None
    rows = pairs.rows[best.inliers]
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return FittedModel(best.model, best.matrix, rows, len(pairs.rows), float(np.median(pairs.reach_there)))


def local(features: Features) -> LocalFeatures:
    """The features, if they are local.

    Raises:
        TypeError: they are global.
    """
    if not isinstance(features, LocalFeatures):
        raise TypeError("geometry requires local features")
    return features


# -- from matches to a transform -----------------------------------------------------------------------------


def _pairs(pair: MatchedPair) -> _Pairs:
    """The matches of keypoints with size and angle, closest descriptors first."""
    query, candidate, matches = local(pair.query), local(pair.candidate), pair.matches
    matches = matches[np.lexsort((matches[:, 1], matches[:, 0]))]
    sizes = query.keypoints[matches[:, 0], 2:], candidate.keypoints[matches[:, 1], 2:]
    matches = matches[np.logical_and(*((one[:, 0] > 0) & (one[:, 1] >= 0) for one in sizes))]
    matches = matches[np.argsort(-_cosines(query.descriptors, candidate.descriptors, matches), kind="stable")]
    a, b = _exact(query.keypoints[matches[:, 0]]), _exact(candidate.keypoints[matches[:, 1]])
    limits = Limits.of(pair.query_size, pair.candidate_size)
    return _Pairs(
        rows=matches,
        here=a[:, :2],
        there=b[:, :2],
        octaves=np.log2(b[:, 2] / a[:, 2]),
        turns=b[:, 3] - a[:, 3],
        reach_here=limits.reach_here + TOLERANCE_PER_SIZE * a[:, 2],
        reach_there=limits.reach_there + TOLERANCE_PER_SIZE * b[:, 2],
        max_scale=limits.max_scale,
        spots=(limits.reach_here / 2, limits.reach_there / 2),
    )


def _exact(values: NDArray[np.float32]) -> Array:
    return values.astype(np.float64)


def _cosines(query: NDArray[Any], candidate: NDArray[Any], matches: NDArray[np.int64]) -> Array:
    ours, theirs = (rows[matches[:, column]].astype(np.float64) for column, rows in enumerate((query, candidate)))
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines: Array = np.einsum("md,md->m", ours, theirs) / np.maximum(norms, 1e-12)
    return cosines


def _proposed(pairs: _Pairs) -> list[Mask]:
    """For each of the best proposals, the matches that it explains."""
    octaves, turns = pairs.octaves[:PROPOSALS, None], pairs.turns[:PROPOSALS, None]
    agree: Mask = np.abs(pairs.octaves - octaves) <= MAX_OCTAVES  # (P, M)
    agree &= _near(pairs.turns, turns, MAX_ANGLE)
    # Positions are checked only for these, about a twentieth of all random matches.
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
    """The simplest model that explains the matches found from this consensus set."""
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
    """Fit a model and find its inliers, alternately; also returns the inliers at the first, widest tolerance."""
    chosen, widest = start, start
    matrix: Array = np.eye(3)
    for round_, factor in enumerate(SHRINKING):
        fitted = _solve(model, pairs.here[chosen], pairs.there[chosen])
        if fitted is None or not _possible(fitted, query_size, pairs.max_scale):
            return None
        matrix, before, chosen = fitted, chosen, _explained(pairs, fitted, factor)
        if np.count_nonzero(chosen) < NEEDED[model] or not _spread(pairs, chosen):
            return None
        if round_ == 0:
            widest = chosen
        elif factor == SHRINKING[-1] and (before == chosen).all():
            break  # the remaining rounds would give the same result
    return _Fit(model, matrix, chosen), widest


def _explained(pairs: _Pairs, matrix: Array, factor: float) -> Mask:
    """The matches that a transform explains, with distinct positions."""
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
        cells = np.round(places[rows] / spot)  # a few hundred in each direction
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
    """Whether matches are spread out in both images."""
    for places, spot in zip((pairs.here, pairs.there), pairs.spots, strict=True):
        some = places[chosen]
        steps = some - some.mean(axis=0)
        if math.sqrt((steps * steps).sum() / len(some)) < 6 * spot:
            return False
    return True


def _near(a: Array, b: Array, degrees: float) -> Mask:
    """Whether angles differ by at most this many degrees."""
    apart = np.abs(a % 360 - b % 360)
    return (apart <= degrees) | (apart >= 360 - degrees)


# -- transforms: (3, 3), applied to (x, y, 1) ----------------------------------------------------------------


def _possible(matrix: Array, size: Size, max_scale: float) -> bool:
    """Whether a transform is plausible for an image of this size, checked at its corners and its centre."""
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
        if largest > max_scale or least < 1 / max_scale or largest > MAX_ANISOTROPY * least:
            return False
    return True


def _solve(model: Model, here: Array, there: Array) -> Array | None:
    """Fit a model by least squares; ``None`` if the points do not determine it."""
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
    """Mean x, mean y and standard deviation of the coordinates of points; ``None`` if they coincide."""
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
        return None  # the points are collinear
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
        return None  # the solution is not unique
    solution: Array = vectors[:, 0].reshape(3, 3)
    return solution

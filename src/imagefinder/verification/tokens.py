"""Spatial verification of token matches: finds the scale and shift that most matches agree on.

A token of a vision transformer represents a cell of a grid. It has no angle, and its size is that of the cell. So
a match determines the position of the query in the candidate but, unlike a match of keypoints, not its scale;
several scales are tried. Tokens of a rotated image do not match, so there is no rotation. The result depends only
on the features, not on the order of the matches.

1. Every match proposes a transform with each of ``SCALES``. A proposal explains a match whose cell it predicts, or
   one of its neighbours.
2. The ``REFINED`` best proposals are fitted by least squares (one scale, one shift) to the matches they explain,
until
   these no longer change.
3. Inliers must lie in several rows and columns of both grids.
4. The geometry must not be explicable by chance: a bound on the expected number of proposals that explain as many
   matches, if each token matched a random cell of the candidate's grid, must not exceed ``CHANCE``.

Class tokens, which represent the whole image, have no position and are ignored.

Sources. Consistency of matches in place and scale: H. Jegou, M. Douze, C. Schmid, "Hamming embedding and weak
geometric consistency", ECCV 2008. Chance: L. Moisan, B. Stival, "A probabilistic criterion to detect rigid point
matches between two images", IJCV 57(3), 2004. Chernoff's bound for trials of unequal probability: W. Hoeffding,
"Probability inequalities for sums of bounded random variables", JASA 58, 1963.

Letters used in shapes: ``M`` matches, ``P`` proposals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Verification
from imagefinder.core.features import Features, LocalFeatures, is_patch, patch_cell
from imagefinder.core.results import Evidence, Matrix, Outline, Size
from imagefinder.kernels.transforms import Array, corners, move, overlap, tuples
from imagefinder.verification.chance import log10_tail

SCALES = tuple(2.0 ** (step / 4) for step in range(-8, 9))
"""Scales that are tried, from 1/4 to 4; a scale between two of them is off by at most 9 %."""

REFINED = 5
"""Number of best proposals that are refined."""

NEEDED = 8
"""Minimum number of inliers; neighbouring tokens are not independent."""

TOLERANCE = 1.0
"""Maximum position error of an inlier, in cells (the mean of the cells of both grids)."""

SPREAD = 0.75
"""Minimum standard deviation of the inliers' positions along each axis, in cells."""

CHANCE = 0.01
"""Maximum expected number of proposals that explain as many matches by chance."""

_ROUNDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """The geometry of the matches, in pixels.

    Attributes:
        rows: ``(M, 2)`` int64, the matches, sorted.
        here: ``(M, 2)`` float64, positions in the query.
        there: ``(M, 2)`` float64, positions in the candidate.
        cell_here: ``(2,)`` float64, width and height of a cell of the query.
        cell_there: ``(2,)`` float64, width and height of a cell of the candidate.
        grid: ``(T, 2)`` float64, positions of all patch tokens of the candidate.
    """

    rows: NDArray[np.int64]
    here: Array
    there: Array
    cell_here: Array
    cell_there: Array
    grid: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A fitted transform, ``there = scale * here + shift``, with the matches it explains (``(M,)`` bool)."""

    scale: float
    shift: Array
    inliers: NDArray[np.bool_]
    log10_chance: float

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.inliers))


class TokenVerifier:
    """Verifies matches by the positions of tokens on their grids."""

    def verify(
        self,
        query: Features,
        candidate: Features,
        matches: NDArray[np.int64],
        *,
        query_size: Size,
        candidate_size: Size,
    ) -> Verification | None:
        """Find the transform that explains most matches; ``None`` if chance would explain as many."""
        pairs = _pairs(query, candidate, matches, query_size, candidate_size)
        fit = _fit(pairs)
        if fit is None:
            return None
        return Verification(_evidence(fit, len(matches), query_size, candidate_size), pairs.rows[fit.inliers])


def _pairs(
    query: Features, candidate: Features, matches: NDArray[np.int64], query_size: Size, candidate_size: Size
) -> _Pairs:
    if not (isinstance(query, LocalFeatures) and isinstance(candidate, LocalFeatures)):
        raise TypeError("tokens must be local features")
    ours, theirs = query.keypoints, candidate.keypoints
    patches, candidate_patches = is_patch(ours, query_size), is_patch(theirs, candidate_size)
    rows = matches[np.lexsort((matches[:, 1], matches[:, 0]))]
    rows = rows[patches[rows[:, 0]] & candidate_patches[rows[:, 1]]]
    return _Pairs(
        rows=rows,
        here=ours[rows[:, 0], :2].astype(np.float64),
        there=theirs[rows[:, 1], :2].astype(np.float64),
        cell_here=np.array(patch_cell(ours, query_size)),
        cell_there=np.array(patch_cell(theirs, candidate_size)),
        grid=theirs[candidate_patches, :2].astype(np.float64),
    )


def _fit(pairs: _Pairs) -> _Fit | None:
    """The transform that explains most matches; ``None`` if chance would explain as many."""
    if len(pairs.rows) < NEEDED:
        return None
    fits = [fit for fit in (_settle(pairs, *proposal) for proposal in _proposed(pairs)) if fit]
    best = max(fits, key=lambda fit: fit.count, default=None)
    return best if best and best.log10_chance <= math.log10(CHANCE) else None


def _proposed(pairs: _Pairs) -> list[tuple[float, Array]]:
    """Scale and shift of the best proposals, leaving out those whose match a better one explains."""
    scales = np.repeat(SCALES, len(pairs.rows))  # (P,)
    number = np.tile(np.arange(len(pairs.rows)), len(SCALES))
    shifts = pairs.there[number] - scales[:, None] * pairs.here[number]  # (P, 2)
    agree = np.ones((len(scales), len(pairs.rows)), dtype=np.bool_)
    for axis in (0, 1):
        off = scales[:, None] * pairs.here[:, axis] + shifts[:, None, axis] - pairs.there[:, axis]
        agree &= np.abs(off) <= _reach(pairs, scales[:, None])[:, axis, None]
    counts = np.count_nonzero(agree, axis=1)
    chosen: list[int] = []
    for best in np.argsort(-counts, kind="stable").tolist():
        if counts[best] < NEEDED or len(chosen) == REFINED:
            break
        if not any(agree[other, number[best]] for other in chosen):
            chosen.append(best)
    return [(float(scales[best]), shifts[best]) for best in chosen]


def _reach(pairs: _Pairs, scale: Array | float) -> Array:
    """Maximum position error of an inlier along each axis: ``(..., 2)`` in pixels of the candidate."""
    reach: Array = TOLERANCE * (pairs.cell_there + scale * pairs.cell_here) / 2
    return reach


def _settle(pairs: _Pairs, scale: float, shift: Array) -> _Fit | None:
    """Fit by least squares and find the inliers, alternately, until they no longer change."""
    inliers = _explained(pairs, scale, shift)
    for _ in range(_ROUNDS):
        if np.count_nonzero(inliers) < NEEDED or not _spread(pairs, inliers):
            return None
        here, there = pairs.here[inliers], pairs.there[inliers]
        middle, goal = here.mean(axis=0), there.mean(axis=0)
        steps = here - middle
        scale = float((steps * (there - goal)).sum() / (steps**2).sum())
        if not SCALES[0] / 1.1 <= scale <= SCALES[-1] * 1.1:
            return None
        shift = goal - scale * middle
        before, inliers = inliers, _explained(pairs, scale, shift)
        if (before == inliers).all():
            break
    if np.count_nonzero(inliers) < NEEDED or not _spread(pairs, inliers):
        return None
    return _Fit(scale, shift, inliers, _log10_chance(pairs, scale, shift, int(np.count_nonzero(inliers))))


def _explained(pairs: _Pairs, scale: float, shift: Array) -> NDArray[np.bool_]:
    off = np.abs(scale * pairs.here + shift - pairs.there)
    inside: NDArray[np.bool_] = np.all(off <= _reach(pairs, scale) + 1e-6, axis=1)
    return inside


def _spread(pairs: _Pairs, inliers: NDArray[np.bool_]) -> bool:
    """Whether inliers lie in several rows and columns of both grids."""
    return all(
        bool((places[inliers].std(axis=0) >= SPREAD * cell).all())
        for places, cell in ((pairs.here, pairs.cell_here), (pairs.there, pairs.cell_there))
    )


def _log10_chance(pairs: _Pairs, scale: float, shift: Array, inliers: int) -> float:
    """Log10 of an upper bound on the number of proposals that explain as many matches placed at random."""
    expected = scale * pairs.here + shift  # (M, 2)
    near = (np.abs(expected[:, None] - pairs.grid) <= _reach(pairs, scale) + 1e-6).all(axis=2)
    likely = float(near.mean())
    # The proposing match always agrees with its own proposal.
    others, agreeing = len(pairs.rows) - 1, inliers - 1
    return math.log10(len(pairs.rows) * len(SCALES)) + log10_tail(others, agreeing, likely)


def _evidence(fit: _Fit, matches: int, query_size: Size, candidate_size: Size) -> Evidence:
    x, y = fit.shift.tolist()
    matrix = np.array([[fit.scale, 0.0, x], [0.0, fit.scale, y], [0.0, 0.0, 1.0]])
    at_candidate = move(matrix, corners(query_size))
    at_query = move(np.linalg.inv(matrix), corners(candidate_size))
    return Evidence(
        inliers=fit.count,
        matches=matches,
        model="similarity",
        transform=cast(Matrix, tuples(matrix)),
        mirrored=False,
        query_outline=cast(Outline, tuples(at_query)),
        candidate_outline=cast(Outline, tuples(at_candidate)),
        query_overlap=overlap(at_query, query_size),
        candidate_overlap=overlap(at_candidate, candidate_size),
        found_by="tokens",
        log10_chance=fit.log10_chance,
    )

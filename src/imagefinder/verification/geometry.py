"""Spatial verification of keypoint matches: finds the transform that most matches agree on.

``kernels.geometry`` finds the transform; here it is accepted, and described as evidence.

The geometry must not be explicable by chance: a bound on the expected number of proposals that explain as many
matches placed at random must not exceed ``CHANCE``.

Source: L. Moisan, B. Stival, "A probabilistic criterion to detect rigid point matches between two images", IJCV
57(3), 2004; Chernoff's inequality bounds the tail of the binomial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.batch_contracts import MatchedPair
from imagefinder.core.contracts import Verification
from imagefinder.core.features import Features
from imagefinder.core.results import Evidence, Matrix, Outline, Size
from imagefinder.kernels.geometry import fit_all
from imagefinder.kernels.geometry_numpy import MAX_ANGLE, MAX_OCTAVES, PROPOSALS, SHRINKING, FittedModel
from imagefinder.kernels.transforms import corners, move, overlap, tuples
from imagefinder.verification.chance import log10_tail

CHANCE = 0.01
"""Maximum expected number of proposals that explain as many matches by chance."""


class GeometryVerifier:
    """Verifies matches by the positions, sizes and angles of keypoints."""

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
        return self.verify_all([MatchedPair(query, candidate, matches, query_size, candidate_size)], threads=1)[0]

    def verify_all(self, pairs: Sequence[MatchedPair], *, threads: int) -> list[Verification | None]:
        """The result of ``verify`` for each pair."""
        return [
            None if fit is None else _accepted(fit, pair)
            for pair, fit in zip(pairs, fit_all(pairs, threads=threads), strict=True)
        ]


def _accepted(fit: FittedModel, pair: MatchedPair) -> Verification | None:
    chance = _log10_chance(fit, pair.candidate_size)
    if chance > math.log10(CHANCE):
        return None
    return Verification(_evidence(fit, pair, chance), fit.inliers)


def _log10_chance(fit: FittedModel, candidate_size: Size) -> float:
    """Log10 of an upper bound on the number of proposals that explain as many matches placed at random."""
    others, agreeing = fit.usable - 1, len(fit.inliers) - 1
    # The widest tolerance of the refinement determines which matches can become inliers.
    area = math.pi * (SHRINKING[0] * fit.reach) ** 2
    # The sizes of keypoints spread over about three octaves.
    likely = min(0.5, area / math.prod(candidate_size) * (2 * MAX_ANGLE / 360) * (2 * MAX_OCTAVES / 3))
    return math.log10(min(PROPOSALS, others + 1)) + log10_tail(others, agreeing, likely)


def _evidence(fit: FittedModel, pair: MatchedPair, chance: float) -> Evidence:
    at_candidate = move(fit.matrix, corners(pair.query_size))
    at_query = move(np.linalg.inv(fit.matrix), corners(pair.candidate_size))
    return Evidence(
        inliers=len(fit.inliers),
        matches=len(pair.matches),
        model=fit.model,
        transform=cast(Matrix, tuples(fit.matrix)),
        mirrored=False,
        query_outline=cast(Outline, tuples(at_query)),
        candidate_outline=cast(Outline, tuples(at_candidate)),
        query_overlap=overlap(at_query, pair.query_size),
        candidate_overlap=overlap(at_candidate, pair.candidate_size),
        log10_chance=chance,
    )

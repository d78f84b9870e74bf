"""How strong is the evidence of two different images that have a part in common?

Two cartons of one brand share a logo, two photographs of one shop share a shelf. Their geometry rules out chance,
so its improbability says nothing about whether the images match. Two witnesses do: around a common part,
registered images differ, so little of the overlap agrees; and a part gives fewer inliers than a whole image. Both
are combined in one number, and the tail of that number among different images with a part in common is shipped: it
was fitted to labelled datasets (``benchmarks/calibration.py``), and does not depend on the collection. How often
parts are shared does; the null model of the collection says so.
"""

from __future__ import annotations

import math

from imagefinder.calibration.evalue import ExponentialTail

NO_WITNESS = 0.25
"""Largest agreement that counts where even decoys look alike: nearly all images with a common part have less."""

TAIL = ExponentialTail(
    (-2.45, -1.59, -1.34, -1.14, -1.0, -0.84, -0.66, -0.46, -0.29, -0.04),
    (0.0, -0.046, -0.097, -0.155, -0.222, -0.301, -0.398, -0.523, -0.699, -1.0),
    0.22,
)
"""Tail of ``witness`` among different images that have a part in common, for all geometries that rule out
chance."""

_LEAST = 0.02
"""Agreements are clipped to this distance from 0 and 1."""


def witness(log10_chance: float, agreement: float | None, *, most: float = 1.0) -> float:
    """How strongly a geometry speaks against a mere common part.

    It is the log-odds of the agreement, plus log10 of the strength ``-log10_chance``.

    Args:
        log10_chance: Log10 of the chance probability of the geometry.
        agreement: Photometric agreement; ``None``, if it was not measured, counts as 0.
        most: Larger agreements count as this one.
    """
    inner = min(max(min(agreement or 0.0, most), _LEAST), 1 - _LEAST)
    return math.log(inner / (1 - inner)) + math.log10(max(-log10_chance, 1.0))

"""How strong is the evidence of two different images that have a part in common?

Two cartons of one brand share a logo, two photographs of one shop share a shelf. Their geometry rules out chance,
so its improbability says nothing about whether the images match. Three witnesses do: around a common part,
registered images differ, so little of the overlap agrees; a part gives fewer inliers than a whole image; and such
images are rarely the most similar ones of the collection. They are combined in one number, and the tail of that
number among different images with a part in common is shipped: it was fitted to labelled datasets
(``benchmarks/calibration.py``), and does not depend on the collection. How often parts are shared does; the null
model of the collection says so.
"""

from __future__ import annotations

import math

from imagefinder.calibration.evalue import ExponentialTail

SIMILAR = 2.0
"""A cosine is a witness if fewer wrong images than this are expected to reach it, and fewer than one in ten."""

MOST_SIMILAR = 1.5
"""The most that a cosine counts, in the unit of ``witness``."""

NO_WITNESS = 0.25
"""Largest agreement that counts where even decoys look alike: nearly all images with a common part have less."""

TAIL = ExponentialTail(
    (-2.77, -1.55, -1.28, -1.08, -0.93, -0.77, -0.56, -0.37, -0.14, 0.07),
    (0.0, -0.046, -0.097, -0.155, -0.222, -0.301, -0.398, -0.523, -0.699, -1.0),
    0.349,
)
"""Tail of ``witness`` among different images that have a part in common, for all geometries that rule out
chance."""

_LEAST = 0.02
"""Agreements are clipped to this distance from 0 and 1."""


def similarity(log10_evalue: float, images: int) -> float:
    """The part of the witness that a cosine gives: log10 of ``SIMILAR`` divided by its E-value, at least 0.

    Args:
        log10_evalue: Log10 of the E-value of the cosine alone.
        images: Number of images searched.
    """
    limit = math.log10(min(SIMILAR, max(images, 1) / 10))
    return min(max(limit - log10_evalue, 0.0), MOST_SIMILAR)


def witness(log10_chance: float, agreement: float | None, similar: float = 0.0, *, most: float = 1.0) -> float:
    """How strongly a geometry speaks against a mere common part.

    It is the log-odds of the agreement, plus log10 of the strength ``-log10_chance``, plus the similarity.

    Args:
        log10_chance: Log10 of the chance probability of the geometry.
        agreement: Photometric agreement; ``None``, if it was not measured, counts as 0.
        similar: The ``similarity`` of the images; 0 without a cosine.
        most: Larger agreements count as this one.
    """
    inner = min(max(min(agreement or 0.0, most), _LEAST), 1 - _LEAST)
    return math.log(inner / (1 - inner)) + math.log10(max(-log10_chance, 1.0)) + similar

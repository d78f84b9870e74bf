"""Application of homogeneous transforms, ``(3, 3)`` matrices applied to ``(x, y, 1)``, to points and outlines."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.results import Size

Array: TypeAlias = NDArray[np.floating[Any]]


def move(matrix: Array, points: Array) -> Array:
    """Apply a transform to points: ``(N, 2)`` -> ``(N, 2)``."""
    flat = points @ matrix[:, :2].T + matrix[:, 2]
    moved: Array = flat[:, :2] / _depth(flat)
    return moved


def derivative(matrix: Array, points: Array) -> Array:
    """The Jacobian of a transform at each of ``(N, 2)`` points: ``(N, 2, 2)``."""
    flat = points @ matrix[:, :2].T + matrix[:, 2]
    depth = _depth(flat)
    moved = flat[:, :2] / depth
    found: Array = (matrix[:2, :2] - moved[:, :, None] * matrix[2, :2]) / depth[:, :, None]
    return found


def _depth(flat: Array) -> Array:
    depth: Array = flat[:, 2:]
    return np.where(np.abs(depth) < 1e-9, 1e-9, depth)


def corners(size: Size) -> Array:
    """The corners of an image whose first pixel has its centre at (0, 0): ``(4, 2)`` float64."""
    right, bottom = size[0] - 0.5, size[1] - 0.5
    return np.array([(-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom)])


def overlap(outline: Array, size: Size) -> float:
    """Fraction of an image that a convex outline covers, by polygon clipping (Sutherland and Hodgman, 1974)."""
    points = outline
    for axis, edge, sign in ((0, -0.5, 1), (1, -0.5, 1), (0, size[0] - 0.5, -1), (1, size[1] - 0.5, -1)):
        kept: list[Array] = []
        inside = sign * (points[:, axis] - edge) if len(points) else points
        for number in range(len(points)):
            a, b, from_, to = points[number - 1], points[number], inside[number - 1], inside[number]
            if (from_ >= 0) != (to >= 0):
                kept.append(a + (b - a) * (from_ / (from_ - to)))
            if to >= 0:
                kept.append(b)
        points = np.array(kept)
    if len(points) < 3:
        return 0.0
    x, y = points.T
    area = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    return min(1.0, area / math.prod(size))


def tuples(rows: Array) -> tuple[tuple[float, ...], ...]:
    """Convert the rows of an array to tuples."""
    return tuple(tuple(row) for row in rows.tolist())

"""Definition of the kernels of ``pixels`` in NumPy, which the native ones are compared with."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Grey: TypeAlias = NDArray[np.float32]
Places: TypeAlias = NDArray[np.int64]
Gradients: TypeAlias = tuple[Grey, Grey, Grey]

_FLAT_SPREAD = 10 * float(np.finfo(np.float32).eps)
"""Sum of squared deviations, as a share of the sum of squares, that is no more than rounding."""


# -- displacements of blocks ---------------------------------------------------------------------------------


def displacements(query: Grey, candidate: Grey, corners: Places, block: int, radius: int) -> NDArray[np.float64]:
    """Displacements of blocks, one after the other."""
    found = [_displacement(query, candidate, place, block, radius) for place in corners.tolist()]
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _displacement(
    query: Grey, candidate: Grey, corner: tuple[int, int], block: int, radius: int
) -> tuple[float, float, float]:
    x, y = corner
    left, top = max(0, x - radius), max(0, y - radius)
    area = candidate[top : y + block + radius, left : x + block + radius]
    scores = _scores(query[y : y + block, x : x + block], area)
    row, column = divmod(int(scores.argmax()), scores.shape[1])
    return (
        left + column - x + _vertex(scores[row, max(0, column - 1) : column + 2]),
        top + row - y + _vertex(scores[max(0, row - 1) : row + 2, column]),
        float(scores[row, column]),
    )


def _scores(block: Grey, area: Grey) -> Grey:
    """Normalised correlation of a block with all windows of an area."""
    template, windows = block.astype(np.float64), sliding_window_view(area.astype(np.float64), block.shape)
    spread = max(0.0, float((template**2).mean() - template.mean() ** 2))
    if spread < np.finfo(np.float64).eps:
        return np.ones(windows.shape[:2], dtype=np.float32)
    sums, squares = windows.sum(axis=(2, 3)), (windows**2).sum(axis=(2, 3))
    # The products have single precision, as in OpenCV's matchTemplate, of which these are the results.
    products = np.einsum("ijkl,kl->ij", windows, template).astype(np.float32).astype(np.float64)
    covariances = products - sums * template.mean()
    deviations = np.maximum(squares - sums**2 / block.size, 0)
    is_flat = deviations <= np.minimum(0.5, _FLAT_SPREAD * squares)
    limits = np.where(is_flat, 0, np.sqrt(deviations) * math.sqrt(spread * block.size))
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(np.abs(covariances) < limits, covariances / limits, np.sign(covariances))
    scores[np.abs(covariances) >= 1.125 * limits] = 0
    rounded: Grey = scores.astype(np.float32)
    return rounded


def _vertex(values: Grey) -> float:
    """Offset of the vertex of the parabola through three values from the middle one; 0 at a border."""
    if len(values) < 3:
        return 0.0
    before, middle, after = values.tolist()
    bend = before - 2 * middle + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0


# -- colours -------------------------------------------------------------------------------------------------


def by_level(levels: NDArray[np.uint8], inside: NDArray[np.bool_], number: int) -> list[Places]:
    """The pixels of one level after the other."""
    return [np.flatnonzero(inside & (levels == level)) for level in range(number)]


def fit_colours(
    rgb: NDArray[np.uint8], grey: Grey, *, ridge: float, kept: float, fits: int
) -> NDArray[np.float64] | None:
    """A polynomial of colours, fitted with NumPy's solver."""
    r, g, b = (rgb.astype(np.float32) / 255 - 0.5).T
    columns = [np.ones_like(r), r, g, b, r * r, g * g, b * b, r * g, r * b, g * b]
    terms = np.stack(columns, axis=1, dtype=np.float64)
    used = np.ones(len(grey), dtype=bool)
    coefficients: NDArray[np.float64] = np.zeros(terms.shape[1])
    last = int(kept * (len(grey) - 1))
    for _ in range(fits):
        some = terms[used]
        try:
            equations = some.T @ some + ridge * len(grey) * np.eye(terms.shape[1])
            solution = np.linalg.solve(equations, some.T @ grey[used])
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(solution).all():
            return None
        coefficients = np.asarray(solution, dtype=np.float64)
        residuals = np.abs(terms @ coefficients - grey)
        used = residuals <= np.partition(residuals, last)[last]
    return coefficients


def map_colours(rgb: NDArray[np.uint8], coefficients: NDArray[np.float64], limits: tuple[float, float]) -> Grey:
    """The polynomial of whole images."""
    r, g, b = (rgb[..., band].astype(np.float32) * np.float32(1 / 255) - np.float32(0.5) for band in range(3))
    c = coefficients.astype(np.float32)
    of_red, of_green = c[1] + c[4] * r + c[7] * g + c[8] * b, c[2] + c[5] * g + c[9] * b
    mapped: Grey = c[0] + r * of_red + g * of_green + b * (c[3] + c[6] * b)
    return np.clip(mapped, *limits)


def correlation(one: Grey, other: Grey, inside: NDArray[np.bool_]) -> float:
    """Correlation of the pixels inside."""
    if not inside.any():
        return -1.0
    a, b = (values[inside].astype(np.float64) for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum() + 1e-6))


# -- windows -------------------------------------------------------------------------------------------------


def windows(one: Grey, other: Grey, centres: Places, *, side: int, reach: int, flat: float) -> Grey:
    """Correlations of all windows, shift by shift."""
    found = np.zeros((len(centres), 4), dtype=np.float32)
    theirs = _windows(other, centres, side)
    padded = np.pad(one, reach, mode="edge")

    def correlations(dx: int, dy: int) -> tuple[Grey, Grey]:
        top, left = reach - dy, reach - dx
        ours = _windows(padded[top : top + one.shape[0], left : left + one.shape[1]], centres, side)
        (mean, variance), (other_mean, other_variance) = _statistics(ours), _statistics(theirs)
        covariance = _means(ours * theirs) - mean * other_mean
        correlation = covariance / (np.sqrt(variance * other_variance) + np.float32(1e-3))
        return correlation, np.minimum(variance, other_variance)

    here, found[:, 1] = correlations(0, 0)
    found[:, 0] = found[:, 2] = here
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            length = math.hypot(dx, dy)
            if 0 < length < reach + 0.1:
                there, _ = correlations(dx, dy)
                better = (there > found[:, 2]) & (found[:, 1] >= flat)
                found[better, 2], found[better, 3] = there[better], length
    return found


def _windows(image: Grey, centres: Places, side: int) -> Grey:
    """``(N, side, side)``: the windows with these centres; beyond its borders, the image is reflected."""
    padded = np.pad(image, side, mode="symmetric")
    first = centres - side // 2 + side
    every: Grey = sliding_window_view(padded, (side, side))[first[:, 0], first[:, 1]]
    return every


def _statistics(some: Grey) -> tuple[Grey, Grey]:
    """Mean and variance of each window."""
    mean = _means(some)
    return mean, np.maximum(_means(some * some) - mean * mean, 0)


def _means(some: Grey) -> Grey:
    size = some.shape[1] * some.shape[2]
    means: Grey = (some.sum(axis=(1, 2), dtype=np.float64) * (1 / size)).astype(np.float32)
    return means


# -- agreement -----------------------------------------------------------------------------------------------


def alike(
    one: Grey, other: Grey, inside: NDArray[np.bool_], *, side: int, texture: float, least: float
) -> tuple[int, int]:
    """Numbers of windows with texture and of windows that are alike, from images of sums."""
    counts = np.maximum(_sums(inside.astype(np.float32), side), np.float32(1))
    compared = inside & (counts >= side**2 / 2)
    if not compared.any():
        return 0, 0

    def means(values: Grey) -> Grey:
        return np.asarray((_sums(np.where(inside, values, 0), side) / counts)[compared], dtype=np.float32)

    mean, other_mean = means(one), means(other)
    variance = np.maximum(means(one * one) - mean * mean, 0)
    other_variance = np.maximum(means(other * other) - other_mean * other_mean, 0)
    # The 1 keeps noise in flat images from counting as texture.
    usual, other_usual = (np.float32(values.mean(dtype=np.float64)) + 1 for values in (variance, other_variance))
    textured = np.maximum(variance / usual, other_variance / other_usual) > np.float32(texture)
    covariance = (means(one * other) - mean * other_mean)[textured]
    correlations = covariance / (np.sqrt(variance * other_variance)[textured] + np.float32(1e-3))
    return int(np.count_nonzero(textured)), int(np.count_nonzero(correlations > np.float32(least)))


def _sums(values: Grey, side: int) -> Grey:
    """Sum of the window around each pixel; 0 beyond the borders."""
    before, after = side // 2, side - side // 2
    sums = np.pad(values, ((before + 1, after - 1),) * 2).astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    sums = sums[side:] - sums[:-side]
    rounded: Grey = (sums[:, side:] - sums[:, :-side]).astype(np.float32)
    return rounded


# -- edges ---------------------------------------------------------------------------------------------------


# wide: the arrays of two images and three thresholds, as the native kernel takes them.
def unexplained(
    mine: Gradients,
    theirs: Gradients,
    inside: NDArray[np.bool_],
    *,
    strong: float,
    weak: float,
    like: float,
    cell: int,
) -> NDArray[np.int64]:
    """Unexplained edge pixels, neighbour by neighbour."""
    rows, columns = np.nonzero((mine[2] > strong) & inside)
    x, y, length = (values[rows, columns] for values in mine)
    x, y = x / (length + np.float32(1e-6)), y / (length + np.float32(1e-6))
    near = [np.pad(values, 1, mode="edge") for values in theirs]
    explained = np.zeros(length.shape, dtype=bool)
    for dy in range(3):
        for dx in range(3):
            other_x, other_y, other = (values[rows + dy, columns + dx] for values in near)
            explained |= (other > weak) & (x * other_x + y * other_y > np.float32(like) * other)
    cells: Any = inside.shape[0] // cell, inside.shape[1] // cell
    counts = np.zeros(cells, dtype=np.int64)
    rows, columns = rows[~explained] // cell, columns[~explained] // cell
    whole = (rows < cells[0]) & (columns < cells[1])
    np.add.at(counts, (rows[whole], columns[whole]), 1)
    return counts

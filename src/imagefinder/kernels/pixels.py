"""Parts of registering two images and of comparing registered ones; the native kernel runs in one thread.

``pixels_numpy`` defines the results. They are equal except for the rounding of sums in double precision, which
comes in another order. All functions release the GIL.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.kernels import pixels_numpy as definition
from imagefinder.kernels.mutual_nn import backend
from imagefinder.kernels.pixels_numpy import Gradients, Grey, Places


def displacements(query: Grey, candidate: Grey, corners: Places, block: int, radius: int) -> NDArray[np.float64]:
    """Where blocks of the query are found in the candidate, relative to their places.

    Args:
        query: ``(H, W)`` float32.
        candidate: ``(H, W)`` float32.
        corners: ``(N, 2)`` int64: column and row of the upper left pixels of blocks inside the image.
        block: Side of the square blocks in pixels.
        radius: Largest displacement along each axis in pixels.

    Returns:
        ``(N, 3)`` float64: displacement along x and y, to a fraction of a pixel, and the normalised correlation.
    """
    if backend() == "numpy":
        return definition.displacements(query, candidate, corners, block, radius)
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    found = np.empty((len(corners), 3))
    _native.displacements(_ready(query), _ready(candidate), _ready(corners), found, block, radius)
    return found


def by_level(levels: NDArray[np.uint8], inside: NDArray[np.bool_], number: int) -> list[Places]:
    """The pixels inside an overlap, by level.

    Args:
        levels: ``(H, W)`` uint8; levels from ``number`` on are ignored.
        inside: ``(H, W)`` bool.
        number: Number of levels.

    Returns:
        For each level, the indices of its pixels in the flattened image, ascending; int64.
    """
    if backend() == "numpy":
        return definition.by_level(levels, inside, number)
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    order, counts = np.empty(levels.size, dtype=np.int64), np.empty(number, dtype=np.int64)
    _native.by_level(_ready(levels), _ready(inside), order, counts)
    ends = list(accumulate(counts.tolist()))
    return [order[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def fit_colours(
    rgb: NDArray[np.uint8], grey: Grey, *, ridge: float, kept: float, fits: int
) -> NDArray[np.float64] | None:
    """The polynomial of the second degree from colours to grey levels, by least trimmed squares.

    Args:
        rgb: ``(N, 3)`` uint8, at least one pixel.
        grey: ``(N,)`` float32.
        ridge: Weight of small coefficients, per pixel.
        kept: Share of the pixels, those with the smallest residuals, that the next fit uses.
        fits: Number of fits.

    Returns:
        ``(10,)`` float64, coefficients of 1, r, g, b, r², g², b², rg, rb and gb, for colours from -0.5 to 0.5;
        ``None`` if they are undetermined.
    """
    if backend() == "numpy":
        return definition.fit_colours(rgb, grey, ridge=ridge, kept=kept, fits=fits)
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    found = _native.fit_colours(_ready(rgb), _ready(grey), ridge, kept, fits)
    return None if found is None else np.array(found)


def map_colours(rgb: NDArray[np.uint8], coefficients: NDArray[np.float64], limits: tuple[float, float]) -> Grey:
    """``(H, W)`` float32: the polynomial of each pixel of ``(H, W, 3)`` uint8, limited to a range."""
    if backend() == "numpy":
        return definition.map_colours(rgb, coefficients, limits)
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    mapped = np.empty(rgb.shape[:2], dtype=np.float32)
    _native.map_colours(_ready(rgb), coefficients.astype(np.float32), *limits, mapped)
    return mapped


def correlation(one: Grey, other: Grey, inside: NDArray[np.bool_]) -> float:
    """Correlation of two images where ``inside`` is true, -1 to 1; -1 if it is true nowhere."""
    if backend() == "numpy":
        return definition.correlation(one, other, inside)
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    return _native.correlation(_ready(one), _ready(other), _ready(inside))


def windows(one: Grey, other: Grey, centres: Places, *, side: int, reach: int, flat: float) -> Grey:
    """Correlations of square windows of an image with shifted windows of another one.

    Beyond its lower and right borders, an image is reflected; an image that is shifted repeats its border.

    Args:
        one: ``(H, W)`` float32, the image that is shifted.
        other: ``(H, W)`` float32.
        centres: ``(N, 2)`` int64: row and column of windows, at least half a side from the upper and left borders.
        side: Side of the windows in pixels, odd.
        reach: Length of the largest shift in pixels, at most 31.
        flat: Windows whose variance is below this in either image are not shifted.

    Returns:
        ``(N, 4)`` float32: the correlation without a shift, the smaller of both variances, the best correlation,
        and the length of its shift.
    """
    if backend() == "numpy":
        return definition.windows(one, other, centres, side=side, reach=reach, flat=flat)
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    found = np.empty((len(centres), 4), dtype=np.float32)
    _native.windows(_ready(one), _ready(other), _ready(centres), found, side, reach, flat)
    return found


def alike(
    one: Grey, other: Grey, inside: NDArray[np.bool_], *, side: int, texture: float, least: float
) -> tuple[int, int]:
    """How much of two images looks alike, by the square windows around all pixels inside their overlap.

    Args:
        one: ``(H, W)`` float32.
        other: ``(H, W)`` float32.
        inside: ``(H, W)`` bool, the overlap, which must contain at least half of a window.
        side: Side of the windows in pixels.
        texture: A window has texture if its variance exceeds this in either image, relative to the mean variance.
        least: Windows are alike if their correlation exceeds this.

    Returns:
        The number of pixels whose windows have texture, and of those whose windows are alike.
    """
    if backend() == "numpy":
        return definition.alike(one, other, inside, side=side, texture=texture, least=least)
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    return _native.alike(_ready(one), _ready(other), _ready(inside), side, texture, least)


# wide: the arrays of two images and three thresholds.
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
    """Number of strong edge pixels per cell without an edge of like direction in the other image within a pixel.

    Args:
        mine: Gradients along x and y and their lengths, each ``(H, W)`` float32.
        theirs: The same of the other image.
        inside: ``(H, W)`` bool, the pixels that count.
        strong: An edge is strong if its gradient is longer than this.
        weak: A gradient longer than this explains an edge, if its direction is like that of the edge.
        like: Cosine of the angle between like directions, at least.
        cell: Side of a cell in pixels.

    Returns:
        ``(H // cell, W // cell)`` int64.
    """
    if backend() == "numpy":
        return definition.unexplained(mine, theirs, inside, strong=strong, weak=weak, like=like, cell=cell)
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    counts = np.empty((inside.shape[0] // cell, inside.shape[1] // cell), dtype=np.int64)
    x, y, length = map(_ready, mine)
    x_there, y_there, length_there = map(_ready, theirs)
    gradients = (x, y, length), (x_there, y_there, length_there)
    _native.unexplained(*gradients, _ready(inside), counts, strong, weak, like, cell)
    return counts


def _ready(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.flags.c_contiguous and array.flags.aligned else np.require(array, None, ["C", "A"])

"""Registration: the alignment of two images to a fraction of a pixel, and of their colours.

A geometry from keypoints is right to one or two pixels. To compare edges it is refined at rising resolution: by
the displacements of blocks, and once by maximising the correlation (ECC). Each step is kept only if the
Laplacians of both images then correlate better, so a step that fails changes nothing.

Edits change colours. One map for the whole image takes them out: the brightness of the candidate as a quadratic
polynomial in the red, green and blue of the query. It is fitted by least squares with the largest residuals
left out, to pixels spread evenly over the grey levels of the candidate; otherwise the paper of a page outweighs
its text.

Sources. ECC: G. D. Evangelidis and E. Z. Psarakis, "Parametric image alignment using enhanced correlation
coefficient maximization", PAMI 30(10), 2008. Trimmed least squares: P. J. Rousseeuw, "Least median of squares
regression", JASA 79(388), 1984.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from imagefinder.core.elongated import is_elongated, longer_side
from imagefinder.core.features import RgbImage
from imagefinder.core.results import Size
from imagefinder.kernels import pixels
from imagefinder.kernels.transforms import corners, move

Grey: TypeAlias = NDArray[np.float32]
Matrix: TypeAlias = NDArray[np.float64]

GREY_LEVELS = 16
PIXELS_PER_LEVEL = 400
FITS = 6
KEPT = 0.7
"""Share of the pixels, those with the smallest residuals, that the next fit of the colour map uses."""

RIDGE = 1e-5
"""Weight of small coefficients; grey images have fewer independent terms."""

BRIGHTNESS = (-64.0, 320.0)
"""Range of mapped brightness."""

BLOCK_CORRELATION = 0.7
"""A block counts as found from this normalised correlation on."""

LEAST_VARIANCE = 16.0
"""A block whose variance is below this has no texture to be found by."""

_SQUARE = np.ones((5, 5), np.uint8)

_STEPS = ((128, 24, 5), (200, 0, 0), (256, 28, 4), (512, 36, 4))
"""Longer side, block side and search radius of each step, in pixels; without a block side the step is ECC."""


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """Two images, aligned.

    Attributes:
        query: ``(H, W)`` float32, the query image warped onto the candidate, its colours mapped to the candidate's
            brightness, about 0 to 255.
        candidate: ``(H, W)`` float32, brightness 0 to 255.
        query_colours: ``(H, W, 3)`` uint8 RGB, the query image warped onto the candidate, its own colours.
        candidate_colours: ``(H, W, 3)`` uint8 RGB.
        inside: ``(H, W)`` bool, where the query image covers the candidate.
        correlation: Correlation of the Laplacians, -1 to 1.
    """

    query: Grey
    candidate: Grey
    query_colours: RgbImage
    candidate_colours: RgbImage
    inside: NDArray[np.bool_]
    correlation: float

    @property
    def side(self) -> int:
        """The longer side in pixels; of an elongated image, that of one of its parts of 4 to 1."""
        height, width = self.candidate.shape
        return int(4 * min(height, width) if is_elongated(width, height) else max(height, width))


def registrations(
    query: tuple[RgbImage, Size], candidate: tuple[RgbImage, Size], transform: Matrix, *, side: int = 512
) -> Iterator[Registered]:
    """Warp the query image onto the candidate, neither of them enlarged.

    Args:
        query: ``(H, W, 3)`` uint8 RGB, perhaps reduced, and the size that ``transform`` refers to.
        candidate: The same for the candidate.
        transform: ``(3, 3)``, pixels of the query to pixels of the candidate.
        side: Longer side of the registered images in pixels, at most.

    Yields:
        The images aligned coarsely, to two or three pixels, and then as well as possible; nothing more if they
        overlap too little.
    """
    query, candidate, transform = focus(query, candidate, transform)
    here, there, matrix = _reduced(query, candidate, transform, side)
    target = _Target(there)
    warped, inside = _warp(here, target.grey.shape, matrix)
    colours = target.fit_colours(warped, inside)
    if colours is None:
        return
    best = _registered(warped, colours, target, inside)
    correlation, correction = _correlation(best, target.laplacian), np.eye(3)
    for number, (reduced, block, radius) in enumerate(_STEPS):
        if number == 1:
            yield replace(best, correlation=correlation)
        step = _step(best, reduced, block, radius)
        if step is None:
            continue
        warped, inside = _warp(here, target.grey.shape, step @ correction @ matrix)
        reached = _correlation(_registered(warped, colours, target, inside), target.laplacian)
        if reached > correlation:
            colours = target.fit_colours(warped, inside)
            if colours is None:
                return
            correlation, correction = reached, step @ correction
            best = _registered(warped, colours, target, inside)
    yield replace(best, correlation=_correlation(best, target.laplacian))


def grey(image: RgbImage) -> Grey:
    """``(H, W)`` float32: the brightness of an image, 0 to 255."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def focus(
    query: tuple[RgbImage, Size], candidate: tuple[RgbImage, Size], transform: Matrix
) -> tuple[tuple[RgbImage, Size], tuple[RgbImage, Size], Matrix]:
    """Crop elongated images to what the other one covers; reduced as a whole, they would lose it.

    Arguments are those of ``registrations``. Other images, and images that do not overlap, are unchanged.
    """
    if not (is_elongated(*query[1]) or is_elongated(*candidate[1])):
        return query, candidate, transform
    candidate, shift = _cropped(candidate, query[1], transform)
    transform = shift @ transform
    try:
        inverse = np.asarray(np.linalg.inv(transform), dtype=np.float64)
    except np.linalg.LinAlgError:
        inverse = np.full((3, 3), np.nan)
    if not np.isfinite(inverse).all():  # all of the query is mapped to a line
        return query, candidate, transform
    query, shift = _cropped(query, candidate[1], inverse)
    return query, candidate, transform @ np.linalg.inv(shift)


def _cropped(image: tuple[RgbImage, Size], other: Size, to_image: Matrix) -> tuple[tuple[RgbImage, Size], Matrix]:
    """An elongated image, cropped to the other one, and the transform from its pixels to those of the crop."""
    pixels, size = image
    if not is_elongated(*size):
        return image, np.eye(3)
    x, y = size[0] / pixels.shape[1], size[1] / pixels.shape[0]
    outline = (move(to_image, corners(other)) + 0.5) / (x, y)
    limits = np.array([pixels.shape[1], pixels.shape[0]])
    start = np.clip(np.floor(outline.min(axis=0)), 0, limits).astype(int)
    end = np.clip(np.ceil(outline.max(axis=0)), 0, limits).astype(int)
    if (end <= start).any() or not np.isfinite(outline).all():
        return image, np.eye(3)
    part = np.ascontiguousarray(pixels[start[1] : end[1], start[0] : end[0]])
    shift = np.array([[1.0, 0.0, -start[0] * x], [0.0, 1.0, -start[1] * y], [0.0, 0.0, 1.0]])
    width, height = (end - start).tolist()
    return (part, (max(1, round(width * x)), max(1, round(height * y)))), shift


# -- sizes ---------------------------------------------------------------------------------------------------


def _reduced(
    query: tuple[RgbImage, Size], candidate: tuple[RgbImage, Size], transform: Matrix, side: int
) -> tuple[RgbImage, RgbImage, Matrix]:
    """Both images at the size they are compared at, and the transform between these."""
    (here, here_size), (there, there_size) = query, candidate
    matrix = scaling(there_size, there) @ transform @ np.linalg.inv(scaling(here_size, here))
    growth = enlargement(matrix, (here.shape[1], here.shape[0]))
    longest = longer_side(there.shape[1], there.shape[0], side)
    factor = min(1.0, longest / max(there.shape[:2]), 1 / max(growth, 1e-6))
    small_there, small_here = _reduce(there, factor), _reduce(here, growth * factor)
    back = np.linalg.inv(scaling((here.shape[1], here.shape[0]), small_here))
    return small_here, small_there, scaling((there.shape[1], there.shape[0]), small_there) @ matrix @ back


def _reduce(image: Any, factor: float) -> Any:
    if factor >= 1:
        return image
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def scaling(size: Size, pixels: Any) -> Matrix:
    """From pixels of an image of that size to pixels of its reduced version; pixel centres are whole numbers."""
    x, y = pixels.shape[1] / size[0], pixels.shape[0] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def enlargement(matrix: Matrix, size: Size) -> float:
    """Factor by which a transform enlarges lengths in the middle of an image of this size."""
    middle = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2, 1.0])
    x, y, depth = matrix @ middle
    derivative = (matrix[:2, :2] - np.outer((x / depth, y / depth), matrix[2, :2])) / depth
    with np.errstate(divide="ignore"):  # of transforms that map everything to a line
        return math.sqrt(abs(float(np.linalg.det(derivative))))


def _warp(image: RgbImage, shape: tuple[int, ...], matrix: Matrix) -> tuple[RgbImage, NDArray[np.bool_]]:
    size = shape[1], shape[0]
    warped: Any = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpPerspective(np.ones(image.shape[:2], np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    return warped, np.asarray(cover) > 0.99


# -- colours -------------------------------------------------------------------------------------------------


class _Target:
    """The image that another one is registered to, with what does not depend on the alignment."""

    def __init__(self, colours: RgbImage) -> None:
        self.colours = colours
        self.grey = grey(colours)
        self.laplacian = _laplacian(self.grey)
        self._levels = (self.grey * (GREY_LEVELS / 256)).astype(np.uint8)

    def fit_colours(self, warped: RgbImage, inside: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """``(10,)`` coefficients of the map of colours; ``None`` if fewer than 200 pixels overlap."""
        if np.count_nonzero(inside) < 200:
            return None
        chosen = np.concatenate(
            [_evenly(some) for some in pixels.by_level(self._levels, inside, GREY_LEVELS) if len(some)]
        )
        colours, values = warped.reshape(-1, 3)[chosen], self.grey.reshape(-1)[chosen]
        return pixels.fit_colours(colours, values, ridge=RIDGE, kept=KEPT, fits=FITS)


def _evenly(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most ``PIXELS_PER_LEVEL`` of the places, at equal distances."""
    many = min(PIXELS_PER_LEVEL, len(places))
    return places[(2 * np.arange(many) + 1) * len(places) // (2 * many)]


def _registered(
    warped: RgbImage, colours: NDArray[np.float64], target: _Target, inside: NDArray[np.bool_]
) -> Registered:
    mapped = pixels.map_colours(warped, colours, BRIGHTNESS)
    return Registered(mapped, target.grey, warped, target.colours, inside, 0.0)


# -- alignment -----------------------------------------------------------------------------------------------


def _laplacian(image: Grey) -> Grey:
    return np.asarray(cv2.Laplacian(cv2.GaussianBlur(image, (0, 0), 1.0), cv2.CV_32F))


def _correlation(pair: Registered, laplacian: Grey) -> float:
    """Correlation of the Laplacians inside the overlap, given that of the candidate."""
    inside = np.asarray(cv2.erode(pair.inside.view(np.uint8), _SQUARE), dtype=np.uint8)
    if np.count_nonzero(inside) < 50:
        return -1.0
    return pixels.correlation(_laplacian(pair.query), laplacian, inside.view(np.bool_))


def _step(pair: Registered, side: int, block: int, radius: int) -> Matrix | None:
    """A correction of the alignment, in pixels of the candidate; ``None`` if it cannot be estimated."""
    factor = min(1.0, side / pair.side)
    one, other = _reduce(pair.query, factor), _reduce(pair.candidate, factor)
    inside = _reduce(pair.inside.astype(np.float32), factor) > 0.99
    correction = _by_blocks((one, other), inside, block, radius) if block else _by_ecc((one, other), inside)
    if correction is None or not np.isfinite(correction).all():
        return None
    to_small = scaling((pair.candidate.shape[1], pair.candidate.shape[0]), other)
    result: Matrix = np.linalg.inv(to_small) @ correction @ to_small
    return result


def _by_ecc(pair: tuple[Grey, Grey], inside: NDArray[np.bool_]) -> Matrix | None:
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    start, mask = np.eye(3, dtype=np.float32), inside.astype(np.uint8)
    try:
        _, found = cv2.findTransformECC(pair[1], pair[0], start, cv2.MOTION_HOMOGRAPHY, criteria, mask, 3)
        return np.asarray(np.linalg.inv(found), dtype=np.float64)
    except (cv2.error, np.linalg.LinAlgError):  # it did not converge
        return None


def _by_blocks(pair: tuple[Grey, Grey], inside: NDArray[np.bool_], block: int, radius: int) -> Matrix | None:
    height, width = inside.shape
    block = min(block, min(height, width) // 3)
    if block < 3:
        return None
    ys = np.arange(0, height - block + 1, max(block // 2, (height - block) // 12))
    xs = np.arange(0, width - block + 1, max(block // 2, (width - block) // 12))
    useful = _block_means(inside.astype(np.float32), ys, xs, block) >= 0.95
    useful &= _block_variances(pair[0], ys, xs, block) >= LEAST_VARIANCE
    rows, columns = np.nonzero(useful)
    corners = np.stack([xs[columns], ys[rows]], axis=1)
    found = pixels.displacements(*pair, corners, block, radius)
    is_found = found[:, 2] >= np.float32(BLOCK_CORRELATION)
    if np.count_nonzero(is_found) < 8:
        return None
    centres = corners[is_found] + (block - 1) / 2
    one, other = centres.astype(np.float32), (centres + found[is_found, :2]).astype(np.float32)
    if len(centres) < 16:  # too few for eight parameters
        affine, _ = cv2.estimateAffine2D(one, other, method=cv2.RANSAC, ransacReprojThreshold=1.5)
        return None if affine is None else np.vstack([affine, [0, 0, 1]])
    homography, _ = cv2.findHomography(one, other, cv2.RANSAC, 1.5)
    return None if homography is None else np.asarray(homography, dtype=np.float64)


def _block_means(
    values: NDArray[Any], ys: NDArray[np.int64], xs: NDArray[np.int64], block: int
) -> NDArray[np.float64]:
    """``(len(ys), len(xs))``: means of the square blocks of an image with these upper left corners."""
    sums = np.asarray(cv2.integral(values, sdepth=cv2.CV_64F))
    above, below = sums[ys], sums[ys + block]
    means: NDArray[np.float64] = (
        below[:, xs + block] - below[:, xs] - above[:, xs + block] + above[:, xs]
    ) / block**2
    return means


def _block_variances(image: Grey, ys: NDArray[np.int64], xs: NDArray[np.int64], block: int) -> NDArray[np.float64]:
    """Variances of the blocks; arguments and result as for ``_block_means``."""
    image = image - image.mean()  # rounding matters less in small numbers
    return _block_means(image * image, ys, xs, block) - _block_means(image, ys, xs, block) ** 2

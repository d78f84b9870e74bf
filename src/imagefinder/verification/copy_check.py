"""Copy check: is an image an edited copy, or another shot, or another document of the same layout?

Agreement of brightness does not: two shots of a crate of fruit agree nearly everywhere, and so do two filled-in
forms, while a captioned copy does not. Two measures on registered images do:

*Parallax.* Another shot sees depth from another place: where a window correlates clearly better a pixel or more
away, it has moved. A copy is one picture under one homography, so its windows stay.

*Changes on both sides.* An edit adds or removes; other content does both. An edge of one image is unexplained
where the other has no edge of like direction within a pixel. Cells count in which both sides have unexplained
edges.

A captioned copy does both in the cells under its letters, so more cells are allowed where one side of the
changed cells has few grey levels, as text and stickers do. Documents have nothing but letters, so of them
almost none are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imagefinder.core.results import Relation
from imagefinder.verification.registration import Grey, Registered
from imagefinder.verification.relation import STRONG

WINDOWS = 18
"""Windows for parallax along the longer side."""

REACH = 3
"""Largest shift of a window, in pixels."""

FLAT = 20.0
"""A window whose variance is below this in either image has no texture to compare."""

CELLS = 42
"""Cells for changes along the longer side."""

EDGE = 0.06
"""Gradient of a strong edge, per pixel, as a share of the contrast of the image with more of it."""

WEAK_EDGE = 0.35
"""Gradient that explains an edge, as a share of that of a strong one."""

LIKE_DIRECTION = 0.7
"""Cosine of the angle between edges of like direction, at least."""

CHANGED_EDGES = 3
"""Unexplained edge pixels that make a cell changed."""

CHANGED_CELLS = 26
"""Cells changed on both sides that a copy may have."""

TEXT_LEVELS, TEXT_SHARE, TEXT_CELLS = 6, 0.55, 85
"""Changed cells with this share of their pixels in a few of 32 grey levels are a caption: more are allowed."""

PAPER_LEVELS, PAPER_SHARE = 9, 0.5
"""An image with this share of its pixels in this many (of 256) grey levels looks like a document."""

DOCUMENT_CELLS, DOCUMENT_SWAPS = 8, 5
"""Changed cells, and cells with pixels both darker and lighter than before, that a copy of a document may have."""


COPIES: frozenset[Relation | None] = frozenset({"identical", "edited copy", "part of", "contains"})
"""Relations of two versions of one picture."""

STILL, CORRELATED = 40, 0.5
"""Still windows and correlation that make a pair a copy although its geometry is too weak for any relation."""


@dataclass(frozen=True, slots=True)
class CopyMeasures:
    """What separates copies from near shots and from documents of one layout.

    Attributes:
        moved: Number of textured windows that correlate clearly better at a shift of a pixel or more.
        still: Number of textured windows that correlate where they are.
        flat: Share of windows without texture, 0 to 1.
        changed: Number of cells with unexplained edges of both images.
        swapped: Number of cells in which some pixels became much darker and others much lighter.
        text: Share of the pixels in changed cells that have one of few grey levels; of the image with more.
        document: Whether both images look like documents.
        correlation: Correlation of the Laplacians of both images, -1 to 1.
    """

    moved: int
    still: int
    flat: float
    changed: int
    swapped: int
    text: float
    document: bool
    correlation: float

    @property
    def distance(self) -> float:
        """How far this is from a copy, at least 0; up to 1 both images are one picture."""
        parallax = self.moved / max(1, self.moved + self.still)
        allowed = TEXT_CELLS if self.text > TEXT_SHARE else CHANGED_CELLS
        # Windows without texture say nothing, so few textured ones may move by chance.
        distance = (parallax / (0.09 + 0.42 * self.flat)) ** 2 + (self.changed / allowed) ** 2
        if self.document:
            distance = max(distance, self.changed / DOCUMENT_CELLS, self.swapped / DOCUMENT_SWAPS)
        return distance


def is_copy(measures: CopyMeasures, relation: Relation | None, inliers: int) -> bool:
    """Whether two images are versions of one picture.

    Args:
        measures: The measures of the registered images.
        relation: What geometry and photometric agreement say; ``None`` if they say nothing.
        inliers: Number of inliers of the geometry.
    """
    near = measures.distance <= 1
    if relation in COPIES:
        # With few inliers it is the registration that fails, so the relation stays. Documents have many.
        return near or (inliers < STRONG and not measures.document)
    return relation is None and near and measures.still >= STILL and measures.correlation >= CORRELATED


def measure(pair: Registered) -> CopyMeasures:
    """Measure two registered images."""
    moved, still, flat = _parallax(pair)
    cell = max(4, round(pair.side / CELLS))
    inside = cv2.erode(pair.inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    contrast = max(_contrast(image[inside]) for image in (pair.query, pair.candidate))
    changed = _changed(pair, inside, contrast, cell)
    difference = pair.query - pair.candidate
    darker, lighter = (_count((sign * difference > 0.25 * contrast) & inside, cell) >= 4 for sign in (1, -1))
    return CopyMeasures(
        moved=moved,
        still=still,
        flat=flat,
        changed=int(np.count_nonzero(changed)),
        swapped=int(np.count_nonzero(darker & lighter)),
        text=max(_text(side, changed, cell) for side in (pair.unmapped, pair.candidate)),
        document=_is_document(pair.unmapped[pair.inside]) and _is_document(pair.candidate.reshape(-1)),
        correlation=pair.correlation,
    )


# -- parallax ------------------------------------------------------------------------------------------------


def _parallax(pair: Registered) -> tuple[int, int, float]:
    """Numbers of moved and of still windows, and the share of flat ones."""
    side = max(5, round(pair.side / WINDOWS)) | 1
    one, other = (cv2.GaussianBlur(image, (0, 0), 0.7) for image in (pair.query, pair.candidate))
    here, variances = _correlations(one, other, side)
    best, shift = here.copy(), np.zeros_like(here)
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            length = math.hypot(dx, dy)
            if 0 < length < REACH + 0.1:
                there, _ = _correlations(_shifted(one, dx, dy), other, side)
                better = there > best
                best[better], shift[better] = there[better], length
    whole = cv2.erode(pair.inside.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    centres = np.zeros_like(whole)
    centres[side // 2 :: side // 2, side // 2 :: side // 2] = True
    centres &= whole
    textured = centres & (variances >= FLAT)
    moved = textured & (best > 0.8) & (shift > 0.5) & (1 - best < (1 - here) / 2)
    flat = int(np.count_nonzero(centres & ~textured)) / max(1, int(np.count_nonzero(centres)))
    return int(np.count_nonzero(moved)), int(np.count_nonzero(textured & (here > 0.8))), flat


def _correlations(one: Grey, other: Grey, side: int) -> tuple[Grey, Grey]:
    """Normalised correlation of the window around each pixel, and the smaller of both variances."""

    def mean(values: Grey) -> Grey:
        return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT))

    means = mean(one), mean(other)
    variances = [
        np.maximum(mean(image * image) - average * average, 0)
        for image, average in zip((one, other), means, strict=True)
    ]
    covariance = mean(one * other) - means[0] * means[1]
    return covariance / (np.sqrt(variances[0] * variances[1]) + 1e-3), np.minimum(*variances)


def _shifted(image: Grey, dx: int, dy: int) -> Grey:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE))


# -- changes -------------------------------------------------------------------------------------------------


def _contrast(values: Grey) -> float:
    if len(values) == 0:
        return 1.0
    low, high = np.percentile(values, (3, 97))
    return max(1.0, float(high - low))


def _changed(pair: Registered, inside: NDArray[np.bool_], contrast: float, cell: int) -> NDArray[np.bool_]:
    """Cells with unexplained edges of both images."""
    strong = max(4.0, EDGE * contrast)
    edges = [_edges(image) for image in (pair.query, pair.candidate)]
    one, other = (
        _count(_unexplained(mine, theirs, strong) & inside, cell) >= CHANGED_EDGES
        for mine, theirs in (edges, edges[::-1])
    )
    both: NDArray[np.bool_] = one & other
    return both


def _edges(image: Grey) -> tuple[Grey, Grey, Grey]:
    """Gradient along x and y, and its length, per pixel."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    x = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3), dtype=np.float32) / np.float32(8)
    y = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3), dtype=np.float32) / np.float32(8)
    return x, y, np.hypot(x, y)


def _unexplained(
    mine: tuple[Grey, Grey, Grey], theirs: tuple[Grey, Grey, Grey], strong: float
) -> NDArray[np.bool_]:
    """Strong edge pixels without an edge of like direction in the other image within a pixel."""
    x, y, length = mine
    x, y = x / (length + 1e-6), y / (length + 1e-6)
    explained = np.zeros(length.shape, dtype=bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            other_x, other_y, other = (_shifted(image, dx, dy) for image in theirs)
            explained |= (other > WEAK_EDGE * strong) & (x * other_x + y * other_y > LIKE_DIRECTION * other)
    return (length > strong) & ~explained


def _blocks(image: NDArray[np.generic], cell: int) -> NDArray[np.generic]:
    """``(rows, columns, cell, cell)``: the whole cells of an image."""
    height, width = image.shape[0] // cell, image.shape[1] // cell
    return image[: height * cell, : width * cell].reshape(height, cell, width, cell).swapaxes(1, 2)


def _count(mask: NDArray[np.bool_], cell: int) -> NDArray[np.int64]:
    """Number of pixels in each cell."""
    return np.asarray(np.count_nonzero(_blocks(mask, cell), axis=(2, 3)))


def _text(image: Grey, cells: NDArray[np.bool_], cell: int) -> float:
    values = _blocks(image, cell)[cells].astype(np.float32)
    if values.size == 0:
        return 0.0
    counts, _ = np.histogram(np.clip(values, 0, 255), bins=32, range=(0, 256))
    return float(np.sort(counts)[-TEXT_LEVELS:].sum() / values.size)


def _is_document(values: Grey) -> bool:
    counts = np.bincount(np.clip(values, 0, 255).astype(np.uint8), minlength=256)
    return bool(np.sort(counts)[-PAPER_LEVELS:].sum() >= PAPER_SHARE * max(1, values.size))

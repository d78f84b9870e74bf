"""Copy check: is an image an edited copy, or another shot, or another document of the same layout?

Agreement of brightness does not suffice: two shots of a crate of fruit agree nearly everywhere, and so do two
filled-in forms, while a captioned copy does not. Two measures of registered images do:

*Parallax.* Another shot sees depth from another place: where a window correlates clearly better a pixel or more
away, it has moved. A copy is one picture under one homography, so its windows stay.

*Changes on both sides.* An edit adds to one image, or removes from it; other content does both. An edge of one
image is unexplained where the other has no edge of like direction within a pixel. Cells with unexplained edges are
counted for each image, after the sharper one was blurred like the other, and the smaller number counts: a caption
leaves hundreds of such cells on its side, but hides edges only below its letters. If the other number is more than
twice as large, it counts less still. Of documents, almost no cell may change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import RgbImage
from imagefinder.core.results import Size
from imagefinder.kernels import pixels
from imagefinder.kernels.quantiles import quantiles
from imagefinder.verification.registration import Grey, Matrix, Registered, grey, registrations

SIDE, DOCUMENT_SIDE = 256, 1024
"""Longer side in pixels at which photographs and documents are compared. A thumbnail suffices for photographs; the
name on a form cannot be read in it."""

LEGIBLE, TEXT = 640, 0.05
"""Minimum longer side in pixels of both images for documents to be compared, if they have text: strokes in this
share of the cells."""

WINDOWS = 18
"""Windows for parallax along the longer side; of an elongated image, along that of one of its parts."""

REACH = 3
"""Largest shift of a window, in pixels."""

FLAT = 20.0
"""A window whose variance is below this in either image has no texture to compare."""

MOVED, MOVED_IF_FLAT = 0.06, 0.42
"""Share of moved windows that a copy may have, and what is added if all others are without texture: they say
nothing, so few textured ones may move by chance."""

CELLS = 42
"""Cells for changes along the longer side; of an elongated image, along that of one of its parts."""

EDGE = 0.06
"""Gradient of a strong edge, per pixel, as a share of the contrast of the image with more of it."""

WEAK_EDGE = 0.35
"""Gradient that explains an edge, as a share of that of a strong one."""

LIKE_DIRECTION = 0.7
"""Cosine of the angle between edges of like direction, at least."""

CHANGED_EDGES = 3
"""Unexplained edge pixels that make a cell changed."""

BLURS = (0.6, 0.9, 1.3, 1.8, 2.5, 4.0, 6.0)
"""Standard deviations of the blurs that are tried to make both images equally sharp, in pixels."""

CHANGED_CELLS = 36
"""Changed cells that a copy may have."""

HOPELESS_CELLS = 180
"""Photographs with more changed cells when they are coarsely aligned are not aligned further: copies have up to
113 then, and nearly all of them fewer than 40."""

HOPEFUL = 0.5
"""Correlation of coarsely aligned images from which on they are aligned finely in any case."""

STROKES = 0.4
"""Length of the sum of the gradients in a cell with strokes, at most, as a share of the sum of their lengths."""

PAPER_LEVELS, PAPER_SHARE = 9, 0.45
"""An image with this share of its pixels in this many (of 256) grey levels looks like a document."""

DOCUMENT_CELLS, DOCUMENT_SWAPS = 4, 5
"""Changed cells, and cells with pixels both darker and lighter than before, that a copy of a document may have."""


@dataclass(frozen=True, slots=True)
class CopyMeasures:
    """What separates copies from near shots and from documents of one layout.

    Attributes:
        moved: Number of textured windows that correlate clearly better at a shift of a pixel or more.
        still: Number of textured windows that correlate where they are.
        flat: Share of windows without texture, 0 to 1.
        changed: Number of cells with unexplained edges of the image with fewer, less if the other has many more.
        swapped: For documents, the number of cells in which some pixels became much darker and others much
            lighter.
        document: Whether both images look like documents.
        text: For documents, the share of cells with edges of opposite directions, as strokes have, 0 to 1; that of
            the image with fewer.
        correlation: Correlation of the Laplacians of both images, -1 to 1.
    """

    moved: int
    still: int
    flat: float
    changed: float
    swapped: int
    document: bool
    text: float
    correlation: float

    @property
    def distance(self) -> float:
        """How far this is from a copy, at least 0; up to 1 both images are versions of one picture."""
        compared = self.moved + self.still
        # If no window correlates anywhere, the images are different ones.
        parallax = self.moved / compared if compared else float(self.flat < 1)
        distance = (parallax / (MOVED + MOVED_IF_FLAT * self.flat)) ** 2 + (self.changed / CHANGED_CELLS) ** 2
        if self.document:
            distance = max(distance, self.changed / DOCUMENT_CELLS, self.swapped / DOCUMENT_SWAPS)
        return distance


def compare(
    query: tuple[RgbImage, Size], candidate: tuple[RgbImage, Size], transform: Matrix, *, side: int = SIDE
) -> CopyMeasures | None:
    """Register and measure two images; the same for both orders of them, except for the transform.

    Args:
        query: ``(H, W, 3)`` uint8 RGB, perhaps reduced, and the size that ``transform`` refers to.
        candidate: The same for the candidate.
        transform: ``(3, 3)``, pixels of the query to pixels of the candidate.
        side: Longer side in pixels at which they are compared, neither of them enlarged.

    Returns:
        ``None`` if they overlap too little. Of photographs that already differ clearly when coarsely aligned, only
        the changes, from which the distance is then computed.
    """
    # Brightness can be predicted from colours, colours not from brightness: warp the more colourful one.
    if _colour(query[0]) < _colour(candidate[0]):
        query, candidate, transform = candidate, query, np.asarray(np.linalg.inv(transform), dtype=np.float64)
    steps = registrations(query, candidate, transform, side=side)
    coarse = next(steps, None)
    if coarse is None:
        return None
    if different := _clearly_different(coarse):
        return different
    final = next(steps, None)
    return None if final is None else measure(final)


def is_document(image: RgbImage) -> bool:
    """Whether an image looks like a document: few grey levels fill most of it."""
    return _is_paper(grey(image).reshape(-1))


def is_legible(measures: CopyMeasures, *images: RgbImage) -> bool:
    """Whether documents with these measures can be compared at the resolution of these images."""
    return measures.text < TEXT or min(max(image.shape[:2]) for image in images) >= LEGIBLE


def _colour(image: RgbImage) -> tuple[float, float]:
    """Mean chroma and mean brightness of an image."""
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    r, g, b = cv2.split(small)
    chroma = np.maximum(np.maximum(r, g), b) - np.minimum(np.minimum(r, g), b)
    return float(chroma.mean()), float(small.mean())


def _clearly_different(pair: Registered) -> CopyMeasures | None:
    """Measures of coarsely aligned photographs whose changes alone rule out a copy; ``None`` of all others."""
    # Most copies correlate better. Of documents, small changes count, so that they need the finest alignment.
    if pair.correlation >= HOPEFUL or _are_documents(pair):
        return None
    cell, inside, contrast = _grid(pair)
    one, other, _ = _equally_sharp(pair.query, pair.candidate, inside)
    changed = _changed(one, other, inside, contrast, cell)
    if changed <= HOPELESS_CELLS:
        return None
    return CopyMeasures(0, 0, 1.0, changed, swapped=0, document=False, text=0.0, correlation=pair.correlation)


def _are_documents(pair: Registered) -> bool:
    return _is_paper(pair.candidate[pair.inside]) and _is_paper(grey(pair.query_colours)[pair.inside])


def _grid(pair: Registered) -> tuple[int, NDArray[np.bool_], float]:
    """Side of a cell in pixels, the pixels inside the overlap, and the contrast there."""
    inside = cv2.erode(pair.inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    contrast = max(_contrast(image[inside]) for image in (pair.query, pair.candidate))
    return max(4, round(pair.side / CELLS)), inside, contrast


def measure(pair: Registered) -> CopyMeasures:
    """Measure two registered images."""
    cell, inside, contrast = _grid(pair)
    one, other, blur = _equally_sharp(pair.query, pair.candidate, inside)
    moved, still, flat = _parallax(one.grey, other.grey, pair.inside, blur, max(5, round(pair.side / WINDOWS)) | 1)
    changed = _changed(one, other, inside, contrast, cell)
    document = _are_documents(pair)
    return CopyMeasures(
        moved=moved,
        still=still,
        flat=flat,
        changed=changed,
        swapped=_swapped(one.grey, other.grey, inside, contrast, cell) if document else 0,
        document=document,
        text=min(_text(image, cell) for image in (grey(pair.query_colours), pair.candidate)) if document else 0.0,
        correlation=pair.correlation,
    )


# -- parallax ------------------------------------------------------------------------------------------------


def _parallax(one: Grey, other: Grey, inside: NDArray[np.bool_], blur: float, side: int) -> tuple[int, int, float]:
    """Numbers of moved and of still windows, and the share of flat ones; windows have this side in pixels."""
    least = max(0.5, 0.5 * blur)  # a blurred image shows no smaller shifts
    one, other = (np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7)) for image in (one, other))
    whole = cv2.erode(inside.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    rows, columns = np.nonzero(whole[side // 2 :: side // 2, side // 2 :: side // 2])
    centres = (np.stack([rows, columns], axis=1) + 1) * (side // 2)
    here, variance, best, shift = pixels.windows(one, other, centres, side=side, reach=REACH, flat=FLAT).T
    textured = variance >= FLAT
    moved = textured & (best > 0.8) & (shift > least) & (1 - best < (1 - here) / 2)
    flat = int(np.count_nonzero(~textured)) / max(1, len(centres))
    return int(np.count_nonzero(moved)), int(np.count_nonzero(textured & (here > 0.8))), flat


# -- changes -------------------------------------------------------------------------------------------------


def _contrast(values: Grey) -> float:
    if len(values) == 0:
        return 1.0
    low, high = quantiles(values, (0.03, 0.97))
    return max(1.0, float(high - low))


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """An image and its gradient along x and y, and the length of that, per pixel."""

    grey: Grey
    x: Grey
    y: Grey
    length: Grey

    def sharpness(self, inside: NDArray[np.bool_]) -> float:
        """Mean length of the gradient; of few pixels 0."""
        values = self.length[inside]
        return float(values.mean()) if len(values) > 1 else 0.0


def _equally_sharp(one: Grey, other: Grey, inside: NDArray[np.bool_]) -> tuple[_Edges, _Edges, float]:
    """Both images, the sharper one blurred until it is hardly sharper than the other, and that blur in pixels."""
    sharper, softer = _edges(one), _edges(other)
    if swapped := sharper.sharpness(inside) < softer.sharpness(inside):
        sharper, softer = softer, sharper
    least, sharpest, used = softer.sharpness(inside), sharper, 0.0
    for blur in BLURS:
        blurred = _edges(np.asarray(cv2.GaussianBlur(sharper.grey, (0, 0), blur)))
        if blurred.sharpness(inside) < least:
            break
        sharpest, used = blurred, blur
    return (softer, sharpest, used) if swapped else (sharpest, softer, used)


def _changed(one: _Edges, other: _Edges, inside: NDArray[np.bool_], contrast: float, cell: int) -> float:
    """Number of cells with unexplained edges of the image with fewer, less if the other has many more."""
    strong = max(4.0, EDGE * contrast)
    fewer, more = sorted(
        int(np.count_nonzero(_unexplained(mine, theirs, inside, strong, cell) >= CHANGED_EDGES))
        for mine, theirs in ((one, other), (other, one))
    )
    return fewer * min(1.0, 2 * fewer / max(1, more))


def _unexplained(
    mine: _Edges, theirs: _Edges, inside: NDArray[np.bool_], strong: float, cell: int
) -> NDArray[np.int64]:
    """Number of unexplained edge pixels of one image in each cell."""
    ours, others = ((edges.x, edges.y, edges.length) for edges in (mine, theirs))
    weak = WEAK_EDGE * strong
    return pixels.unexplained(ours, others, inside, strong=strong, weak=weak, like=LIKE_DIRECTION, cell=cell)


def _swapped(one: Grey, other: Grey, inside: NDArray[np.bool_], contrast: float, cell: int) -> int:
    """Number of cells in which some pixels are much darker and others much lighter than all near them."""
    square = np.ones((3, 3), np.uint8)
    lighter = one > np.asarray(cv2.dilate(other, square)) + 0.25 * contrast
    darker = one < np.asarray(cv2.erode(other, square)) - 0.25 * contrast
    return int(np.count_nonzero((_count(lighter & inside, cell) >= 4) & (_count(darker & inside, cell) >= 4)))


def _edges(image: Grey) -> _Edges:
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    x: Any = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    y: Any = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    length: Any = cv2.magnitude(x, y)
    return _Edges(image, x, y, length)


def _blocks(image: NDArray[Any], cell: int) -> NDArray[Any]:
    """``(rows, columns, cell, cell)``: the whole cells of an image."""
    height, width = image.shape[0] // cell, image.shape[1] // cell
    return image[: height * cell, : width * cell].reshape(height, cell, width, cell).swapaxes(1, 2)


def _count(mask: NDArray[np.bool_], cell: int) -> NDArray[np.int32]:
    """Number of pixels in each whole cell."""
    sums = np.asarray(cv2.integral(mask.view(np.uint8)), dtype=np.int32)[::cell, ::cell]
    return sums[1:, 1:] - sums[:-1, 1:] - sums[1:, :-1] + sums[:-1, :-1]


def _text(image: Grey, cell: int) -> float:
    """Share of cells with edges of opposite directions."""
    edges = _edges(image)
    x, y, length = edges.x, edges.y, edges.length
    strong = length > max(4.0, EDGE * _contrast(image.reshape(-1)))
    sums = [_blocks(np.where(strong, values, 0), cell).sum(axis=(2, 3)) for values in (x, y, length)]
    strokes = (_count(strong, cell) > CHANGED_EDGES) & (np.hypot(sums[0], sums[1]) < STROKES * sums[2])
    return int(np.count_nonzero(strokes)) / max(1, int(strokes.size))


def _is_paper(values: Grey) -> bool:
    counts = np.bincount(np.clip(values, 0, 255).astype(np.uint8), minlength=256)
    return bool(np.sort(counts)[-PAPER_LEVELS:].sum() >= PAPER_SHARE * max(1, values.size))

"""Heat maps: the contribution of each part of two images to the cosine of their pooled vectors.

A pooled vector is the mean of the cells of a feature map: ``v = (f_1 + ... + f_P) / P``. Its cosine with another
vector ``g`` is therefore exactly the sum over the cells of ``f_p . g / (P |v| |g|)``.

Sources. B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, "Learning deep features for discriminative
localization", CVPR 2016 (class activation maps); A. Stylianou, R. Souvenir, R. Pless, "Visualizing deep similarity
networks", WACV 2019 (the same for the similarity of two images).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import GlobalFeatures, RgbImage
from imagefinder.core.method import Method
from imagefinder.core.results import Box, Explanation, Point, Size
from imagefinder.search.encoding import QueryImage

Heat: TypeAlias = tuple[tuple[float, ...], ...]

Source: TypeAlias = Literal["file", "thumbnail", ""]
"""Where the pixels of a stored image were read from; empty if there are none."""


def with_heat(
    explanation: Explanation,
    method: Method,
    image: QueryImage,
    vectors: tuple[GlobalFeatures, GlobalFeatures],
    stored: tuple[RgbImage, Source],
) -> Explanation:
    """Add heat maps to an explanation.

    Args:
        explanation: Explanation of the same images.
        method: A method with a mapper.
        image: The query image, with at most one box.
        vectors: Features of the query and of the hit by this method.
        stored: Pixels of the hit, and where they were read from.
    """
    ours, theirs = vectors
    query_heat, seen = _heat(method, image.pixels, theirs)
    query_seen = _in_whole(seen, image.pixels, image.size, image.corner)
    explained = replace(explanation, heat_of=method.name, query_heat=query_heat, query_seen=query_seen)
    pixels, source = stored
    if not source:
        return explained
    candidate_heat, seen = _heat(method, pixels, ours)
    candidate_seen = _in_whole(seen, pixels, explanation.candidate_size, (0.0, 0.0))
    return replace(explained, candidate_heat=candidate_heat, candidate_seen=candidate_seen, candidate_from=source)


def contributions(cells: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """The contribution of each cell to the cosine between the mean of the cells and another vector.

    Args:
        cells: ``(rows, columns, D)`` float32.
        other: ``(D,)`` float32.

    Returns:
        ``(rows, columns)`` float64 that sums to the cosine; zeros if either vector is zero.
    """
    exact, g = cells.astype(np.float64), other.astype(np.float64)
    norms = float(np.linalg.norm(exact.mean(axis=(0, 1))) * np.linalg.norm(g))
    products: NDArray[np.float64] = exact @ g
    return products / (products.size * norms) if norms else np.zeros_like(products)


def _heat(method: Method, image: RgbImage, other: GlobalFeatures) -> tuple[Heat, Box]:
    assert method.mapper is not None  # noqa: S101 - narrows the type; a precondition
    found = method.mapper.map(image)
    rows = contributions(found.cells, other.vectors[0])
    return tuple(map(tuple, rows.tolist())), found.seen


def _in_whole(seen: Box, pixels: RgbImage, size: Size, corner: Point) -> Box:
    """Convert a region of downscaled pixels, which start at ``corner``, to a region of the whole image."""
    across, down = size[0] / pixels.shape[1], size[1] / pixels.shape[0]
    x, y, width, height = seen
    return corner[0] + x * across, corner[1] + y * down, width * across, height * down

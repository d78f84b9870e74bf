"""What each part of two pictures contributes to the cosine of their pooled vectors.

A pooled vector is the mean of the cells of a map: ``v = (f_1 + ... + f_P) / P``. So its cosine with another vector
``g`` is a sum over the cells, ``f_p . g / (P |v| |g|)``, and nothing is left over.

Sources. B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, "Learning deep features for discriminative
localization", CVPR 2016 (class activation maps); A. Stylianou, R. Souvenir, R. Pless, "Visualizing deep similarity
networks", WACV 2019 (the same for the similarity of two pictures).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Mapper
from imagefinder.core.features import Features, GlobalFeatures, RgbImage
from imagefinder.core.results import Box, Explanation

Heat: TypeAlias = tuple[tuple[float, ...], ...]

Stored: TypeAlias = Callable[[str], tuple[RgbImage, Literal["file", "thumbnail", ""]]]
"""Pixels of a stored image, and what they were read from; any pixels where there is nothing to read."""


def with_heat(
    explanation: Explanation, mapper: Mapper, *, query: RgbImage, ours: Features, theirs: Features, stored: Stored
) -> Explanation:
    """The explanation with what the cells of both pictures contribute.

    Args:
        explanation: Of a method with pooled vectors.
        mapper: Of that method.
        query: The picture that was asked with.
        ours: Its features.
        theirs: Those of the candidate.
        stored: Reads the candidate.
    """
    query_heat, query_seen = _heat(mapper, query, theirs)
    pixels, source = stored(explanation.id)
    told = replace(explanation, query_heat=query_heat, query_seen=query_seen)
    if not source:
        return told
    heat, (x, y, width, height) = _heat(mapper, pixels, ours)
    # A thumbnail stands for the whole picture.
    across, down = explanation.candidate_size[0] / pixels.shape[1], explanation.candidate_size[1] / pixels.shape[0]
    seen = x * across, y * down, width * across, height * down
    return replace(told, candidate_heat=heat, candidate_seen=seen, candidate_from=source)


def contributions(cells: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """What each cell contributes to the cosine of the cells' mean and another vector.

    Args:
        cells: ``(rows, columns, D)`` float32.
        other: ``(D,)`` float32.

    Returns:
        ``(rows, columns)`` float64, with the cosine as its sum; zeros where either vector is zero.
    """
    exact, g = cells.astype(np.float64), other.astype(np.float64)
    norms = float(np.linalg.norm(exact.mean(axis=(0, 1))) * np.linalg.norm(g))
    products: NDArray[np.float64] = exact @ g
    return products / (products.size * norms) if norms else np.zeros_like(products)


def _heat(mapper: Mapper, image: RgbImage, other: Features) -> tuple[Heat, Box]:
    assert isinstance(other, GlobalFeatures)  # noqa: S101 - narrows the type; only pooled vectors have a mapper
    found = mapper.map(image)
    rows = contributions(found.cells, other.vectors[0])
    return tuple(map(tuple, rows.tolist())), found.seen

"""The transform that most matches of two images agree on, for many pairs of images at once.

``geometry_numpy`` explains the steps and defines the result. The native kernel takes the same decisions, so model,
inliers and chance are the same. Matrices differ by rounding: relative to their largest element by about 1e-15, and
by up to 1e-11 where ten inliers hardly determine a homography.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.batch_contracts import MatchedPair
from imagefinder.kernels import geometry_numpy as definition
from imagefinder.kernels.geometry_numpy import FittedModel, Limits, Model, local
from imagefinder.kernels.mutual_nn import backend

_MODELS: tuple[Model, ...] = tuple(definition.NEEDED)

# In the order of the fields of struct Limits in native/geometry.hpp.
_CONSTANTS = np.array(
    [
        definition.PROPOSALS,
        definition.REFINED,
        *definition.NEEDED.values(),
        definition.GAIN,
        definition.TOLERANCE_PER_SIZE,
        definition.SLACK,
        definition.MAX_ANGLE,
        definition.MAX_OCTAVES,
        definition.MAX_ANISOTROPY,
        definition.MAX_DEPTH,
        *definition.SHRINKING,
    ],
    dtype=np.float64,
)


def fit_all(pairs: Sequence[MatchedPair], *, threads: int) -> list[FittedModel | None]:
    """The transform of each pair that most of its matches agree on; releases the GIL.

    Args:
        pairs: Pairs of images with local features, each a batch of one.
        threads: Maximum number of threads, at least 1. NumPy ignores it.

    Returns:
        For each pair, the model, or ``None`` if no transform explains enough matches.

    Raises:
        TypeError: features are global.
        ValueError: matches point outside the features, or descriptors differ in type or length.
    """
    if backend() == "numpy":
        return [definition.fit(pair) for pair in pairs]
    from imagefinder.kernels import _native  # noqa: PLC0415 - missing if built without a compiler

    given = [_arrays(pair) for pair in pairs]
    inliers = np.empty(sum(len(one[4]) for one in given), dtype=np.bool_)
    fitted = _native.fit(given, _CONSTANTS, inliers, threads)
    found: list[FittedModel | None] = []
    begin = 0
    for one, answer in zip(given, fitted, strict=True):
        end = begin + len(one[4])
        found.append(None if answer is None else _model(answer, one[4][inliers[begin:end]]))
        begin = end
    return found


def _arrays(pair: MatchedPair) -> tuple[Any, ...]:
    """The arguments of the native kernel for one pair."""
    query, candidate = local(pair.query), local(pair.candidate)
    limits = Limits.of(pair.query_size, pair.candidate_size)
    return (
        _ready(query.descriptors),
        _ready(query.keypoints),
        _ready(candidate.descriptors),
        _ready(candidate.keypoints),
        _ready(pair.matches),
        limits.reach_here,
        limits.reach_there,
        limits.max_scale,
        *pair.query_size,
    )


def _ready(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.flags.c_contiguous and array.flags.aligned else np.require(array, None, ["C", "A"])


def _model(answer: tuple[int, Any, int, float], inliers: NDArray[np.int64]) -> FittedModel:
    model, matrix, usable, reach = answer
    rows = inliers[np.lexsort((inliers[:, 1], inliers[:, 0]))]
    return FittedModel(_MODELS[model], np.array(matrix), rows, usable, reach)

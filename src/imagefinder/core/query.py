"""What a search is asked for: the query image, and how it is answered.

Library, command line, REST service, client and kept handles all pass on these two objects. A new search option is
one field of ``SearchOptions``, its declaration on the command line, and the place in ``search`` that uses it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from imagefinder.core.errors import InputError
from imagefinder.core.results import AUTO, Box, Mode, Ranking

if TYPE_CHECKING:
    from imagefinder.core.features import RgbImage  # the client imports this module, without numpy

ImageInput: TypeAlias = "str | os.PathLike[str] | bytes | RgbImage"
"""A query image: a path, an ``http(s)`` URL, encoded bytes, or ``(H, W, 3)`` uint8 RGB pixels."""

MAX_BOXES = 16
"""Boxes of one query, at most."""

MAX_RERANK_DEPTH = 1000
"""Images that a search verifies by each method, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """An image to search with, given as exactly one of ``image`` and ``id``.

    Raises:
        InputError: neither or both of ``image`` and ``id``; more than ``MAX_BOXES`` boxes.
    """

    image: ImageInput | None = None
    """The query image; ``None`` where ``id`` names it."""

    id: str | None = None
    """Id of an image of the collection; that image is excluded from the results."""

    boxes: tuple[Box, ...] = ()
    """Regions of the query image; only what is inside them counts. Empty: the whole image."""

    def __post_init__(self) -> None:
        if (self.image is None) == (self.id is None):
            raise InputError("give exactly one of a query image and an id")
        if len(self.boxes) > MAX_BOXES:
            raise InputError(f"a query has at most {MAX_BOXES} boxes, not {len(self.boxes)}")


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How a search is answered.

    Raises:
        InputError: ``k`` is below 1; no such ranking or mode.
    """

    method: str = AUTO
    """Name of a method, or ``auto``: all methods of the collection together."""

    k: int = 3
    """Number of hits, at most; the first hits do not depend on it."""

    ranking: Ranking = "evidence"
    """``evidence``: by E-value, with the best candidates verified. ``matches``: by the score of one method."""

    mode: Mode = "auto"
    """``exact``: score every image. ``fast``: score what the ANN index proposes. ``auto``: choose by size."""

    mirror: bool = True
    """Find mirror images too (``evidence`` only); methods with keypoints compare twice."""

    where: Mapping[str, Any] | None = None
    """Search only images whose metadata match this filter (``core.filters``); E-values refer to these."""

    evalues: bool = True
    """With ``matches``: compute E-values."""

    min_score: float | None = None
    """Drop hits with a lower score."""

    max_evalue: float | None = None
    """Drop hits with a higher E-value, and hits without one."""

    rerank_depth: int | None = None
    """Number of the best images by each method that are verified, at most 1000; more finds weaker matches and
    takes longer. ``None``: 50 by a method with keypoints, 20 by any other."""

    def __post_init__(self) -> None:
        if self.rerank_depth is not None and not 1 <= self.rerank_depth <= MAX_RERANK_DEPTH:
            raise InputError(f"rerank_depth must be 1 to {MAX_RERANK_DEPTH}, not {self.rerank_depth}")
        for name in ("min_score", "max_evalue"):
            value = getattr(self, name)
            if value is not None and math.isnan(value):
                raise InputError(f"{name} must be a number, not NaN")
        if self.k < 1:
            raise InputError(f"k must be at least 1, not {self.k}")
        for name, value, choices in (
            ("ranking", self.ranking, get_args(Ranking)),
            ("mode", self.mode, get_args(Mode)),
        ):
            if value not in choices:
                raise InputError(f"there is no {name} {value!r}", hint=f"choose one of: {', '.join(choices)}")

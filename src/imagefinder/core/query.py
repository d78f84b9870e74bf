"""The query of a search, and its options.

Library, command line, REST service, client and stored explanations all pass on these two objects. To add a search
option, add a field to ``SearchOptions``, declare it on the command line, and use it in ``search``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from imagefinder.core.errors import BoxError, InputError
from imagefinder.core.results import AUTO, Box, Mode, Ranking
from imagefinder.core.suggestions import did_you_mean

if TYPE_CHECKING:
    from imagefinder.core.features import RgbImage  # the client imports this module, without numpy

ImageInput: TypeAlias = "str | os.PathLike[str] | bytes | RgbImage"
"""A query image: a path, an ``http(s)`` URL, encoded bytes, or ``(H, W, 3)`` uint8 RGB pixels."""

MAX_BOXES = 16
"""Maximum number of boxes of one query."""

MAX_TEXT = 300
"""Maximum number of characters of the text of a query."""

MAX_COORDINATE = 1e9
"""Maximum absolute value of the numbers of a box, pixels; sums of them stay exact."""

MAX_RERANK_DEPTH = 1000
"""Maximum number of images that a search verifies by each method."""


def check_box(box: Sequence[float]) -> Box:
    """The box, if it is one: x, y, width, height in pixels, finite, with a positive area.

    Raises:
        BoxError: it is not.
    """
    try:
        x, y, width, height = box
        valid = all(abs(value) <= MAX_COORDINATE for value in box) and width > 0 and height > 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise BoxError(
            f"a box is x, y, width, height with a positive area and values up to {MAX_COORDINATE:,.0f}, "
            f"not {box!r:.200}"
        )
    return x, y, width, height


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """An image to search with, a text, or both. Give at most one of ``image`` and ``id``.

    Raises:
        InputError: both of ``image`` and ``id`` are given, or none of the three; the text is too long, there are
            more than 16 boxes, or boxes without an image.
        BoxError: a box is invalid.
    """

    image: ImageInput | None = None
    """The query image: a path, URL, encoded bytes or pixels; ``None`` if ``id`` or only a text is given."""

    id: str | None = None
    """Id of an image in the collection; that image is excluded from the results."""

    boxes: tuple[Box, ...] = ()
    """Regions of the query image to search with; empty: the whole image."""

    text: str = ""
    """The words for what the images must show: ``coffee cup``. With an image: images similar to it that also show
    this."""

    def __post_init__(self) -> None:
        if self.image is not None and self.id is not None:
            raise InputError("give exactly one of a query image and an id")
        if not self.has_image:
            if not self.text.strip():
                raise InputError("give a query image, an id or a text")
            if self.boxes:
                raise InputError("boxes are regions of a query image: give an image, or no boxes")
        if len(self.text) > MAX_TEXT:
            raise InputError(f"a text has at most {MAX_TEXT} characters, not {len(self.text)}")
        if len(self.boxes) > MAX_BOXES:
            raise InputError(f"a query has at most {MAX_BOXES} boxes, not {len(self.boxes)}")
        for box in self.boxes:
            check_box(box)

    @property
    def has_image(self) -> bool:
        """Whether there is a query image, and not just a text."""
        return self.image is not None or self.id is not None


def as_query(
    query: ImageInput | Query | None, image_id: str | None, boxes: Sequence[Box], text: str = ""
) -> Query:
    """The query, built from the other arguments unless it is a ``Query`` already.

    Raises:
        InputError: a ``Query`` is combined with an id, boxes or a text.
    """
    if not isinstance(query, Query):
        return Query(query, image_id, tuple(boxes), text)
    if image_id is not None or boxes or text:
        raise InputError("give a Query or keywords, not both")
    return query


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The options of a search.

    Raises:
        InputError: an option has an invalid value.
    """

    method: str = AUTO
    """Name of a method, or ``auto`` for all methods of the collection together."""

    k: int = 3
    """Maximum number of hits; it does not affect which hits come first."""

    ranking: Ranking = "evidence"
    """``evidence``: verify the best candidates, rank by E-value. ``matches``: rank by the score of one method."""

    mode: Mode = "auto"
    """``exact``: score every image. ``fast``: score the candidates of the ANN index. ``auto``: choose by size."""

    mirror: bool = True
    """Also find mirror images (``evidence`` only); methods with keypoints then compare each image twice."""

    where: Mapping[str, Any] | None = None
    """Search only images whose metadata match this filter; E-values then refer to these images."""

    evalues: bool = True
    """Compute E-values in a ranking by ``matches``; a ranking by ``evidence`` always does."""

    min_score: float | None = None
    """Omit hits with a lower score."""

    max_evalue: float | None = None
    """Omit hits with a higher E-value, or without one."""

    stacks: bool = True
    """Count versions of one picture (raw and JPEG, edited copies, bursts) as one image; return only the best."""

    rerank_depth: int | None = None
    """Number of top-ranked images of each method to verify, 1 to 1000; a higher number finds weaker matches and
    takes longer. ``None``: 50 for methods with keypoints, 20 for others."""

    def __post_init__(self) -> None:
        if self.rerank_depth is not None and not 1 <= self.rerank_depth <= MAX_RERANK_DEPTH:
            raise InputError(f"rerank_depth must be 1 to {MAX_RERANK_DEPTH}, not {self.rerank_depth}")
        for name in ("min_score", "max_evalue"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise InputError(f"{name} must be a number, not {value!r:.100}")
        if self.k < 1:
            raise InputError(f"k must be at least 1, not {self.k}")
        for name, value, choices in (
            ("ranking", self.ranking, get_args(Ranking)),
            ("mode", self.mode, get_args(Mode)),
        ):
            if value not in choices:
                hint = did_you_mean(str(value), choices, otherwise=f"choose one of: {', '.join(choices)}")
                raise InputError(f"unknown {name} {value!r}", hint=hint)


def _is_number(value: float) -> bool:
    try:
        return not math.isnan(value)
    except (OverflowError, TypeError):  # an integer too large for a float, or no number
        return False

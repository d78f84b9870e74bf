"""The copy check of pairs: an image is called a copy, or a part of another, only after it.

Photographs are compared by their thumbnails. Documents are compared at the resolution of their originals, because
a name on a form is invisible in a thumbnail; without the originals they are not called copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from imagefinder.core.features import RgbImage
from imagefinder.core.results import LOOKS_THE_SAME, Evidence, Relation, Size
from imagefinder.search.candidates import Candidate
from imagefinder.search.encoding import QueryImage
from imagefinder.verification.relation import COPIES

if TYPE_CHECKING:
    from imagefinder.verification.copy_check import CopyMeasures

ReadOriginal: TypeAlias = Callable[[str], RgbImage | None]
"""Image id -> its pixels in full resolution; ``None`` if its file is missing or has changed."""

FAR = 4.0
"""Documents whose thumbnails are this far from a copy are not opened."""

STILL, CORRELATED = 40, 0.3
"""Still windows and correlation that make a pair a copy although its geometry alone is too weak for a relation."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One image of a pair.

    Attributes:
        pixels: ``(H, W, 3)`` uint8 RGB: the image or its thumbnail; empty if there is neither.
        size: Width and height in the pixels that transforms refer to.
        original: Reads the image in full resolution; ``None`` if that is not possible.
    """

    pixels: RgbImage
    size: Size
    original: Callable[[], RgbImage | None]


def query_side(image: QueryImage, read_original: ReadOriginal) -> Side:
    """A query image as one side of a pair."""
    is_thumbnail = bool(image.id) and not image.boxes
    original = (lambda: read_original(image.id)) if is_thumbnail else (lambda: image.pixels)
    return Side(image.pixels, image.size, original)


def candidate_side(candidate: Candidate, read_original: ReadOriginal) -> Side:
    """A stored image as one side of a pair."""
    return Side(candidate.pixels, candidate.size, lambda: read_original(candidate.id))


@dataclass(frozen=True, slots=True)
class Settled:
    """A relation after the copy check.

    Attributes:
        relation: The relation; ``None`` if the evidence is too weak.
        evidence: The evidence, with the result of the check; ``None`` if there is none.
        note: What limits the relation; usually empty.
    """

    relation: Relation | None
    evidence: Evidence | None
    note: str = ""


def settle(relation: Relation | None, evidence: Evidence, query: Side, candidate: Side) -> Settled:
    """Check a relation.

    Args:
        relation: What geometry and agreement say; ``None`` if the geometry is too weak for any relation.
        evidence: Geometric evidence.
        query: The query.
        candidate: The candidate.
    """
    claimed = relation in COPIES
    found, note = None, ""
    if query.pixels.size and candidate.pixels.size:
        if not claimed and evidence.placement not in COPIES:
            return Settled(_without_check(relation, query, candidate), evidence)
        found, note = _measure(evidence, query, candidate)
    if found is None:  # no pixels, or they overlap too little
        return Settled("same scene" if claimed else relation, evidence)
    evidence = replace(evidence, copy_distance=round(found.distance, 3))
    if found.distance <= 1 and not note and (claimed or _is_certain(found)):
        return Settled(evidence.placement, evidence)
    if claimed or relation == "same scene":
        return Settled("same layout" if found.document else "same scene", evidence, note)
    return Settled(relation, evidence)


def _measure(evidence: Evidence, query: Side, candidate: Side) -> tuple[CopyMeasures | None, str]:
    """The measures of a pair, and a note if documents could not be compared in full resolution."""
    from imagefinder.verification import copy_check  # noqa: PLC0415 - loads OpenCV, which few commands need

    transform = np.array(evidence.transform)
    found = copy_check.compare((query.pixels, query.size), (candidate.pixels, candidate.size), transform)
    if found is None or not found.document or found.distance > FAR:
        return found, ""
    one, other = query.original(), candidate.original()
    if one is None or other is None or not copy_check.is_legible(found, one, other):
        return found, LOOKS_THE_SAME if found.distance <= 1 else ""
    sides = (one, query.size), (other, candidate.size)
    return copy_check.compare(*sides, transform, side=copy_check.DOCUMENT_SIDE), ""


def _is_certain(measures: CopyMeasures) -> bool:
    return measures.still >= STILL and measures.correlation >= CORRELATED


def _without_check(relation: Relation | None, query: Side, candidate: Side) -> Relation | None:
    """The relation of images that overlap only partly."""
    from imagefinder.verification import copy_check  # noqa: PLC0415 - loads OpenCV, which few commands need

    if relation == "same scene" and all(copy_check.is_document(side.pixels) for side in (query, candidate)):
        return "same layout"
    return relation

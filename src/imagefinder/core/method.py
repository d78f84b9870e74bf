"""A method: how features are made and how they are compared."""

from __future__ import annotations

from dataclasses import dataclass

from imagefinder.core.contracts import Extractor, Matcher


@dataclass(frozen=True, slots=True)
class Method:
    """One way to find images by image.

    Attributes:
        name: What users call it, for example ``sift``.
        extractor: Makes features from pictures.
        matcher: Compares features.
        summary: One line for people: what it is good at.
    """

    name: str
    extractor: Extractor
    matcher: Matcher
    summary: str

"""A method: how features are made and how they are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imagefinder.core.contracts import Extractor, Mapper, Matcher, Verifier
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.fingerprint import Fingerprint


@dataclass(frozen=True, slots=True)
class Method:
    """One way to find images by image.

    Attributes:
        name: What users call it, for example ``sift``.
        summary: One line for people: what it finds.
        score: What its score is, for people: ``matches`` (a count) or ``cosine``.
        extractor: Makes features from pictures.
        matcher: Compares features.
        verifier: Looks for one geometry behind the matches; ``None`` where features have no places.
        mirror: Features of a picture and its width in pixels -> features of its mirror image (left for right);
            ``None`` where they cannot be had without the picture.
        mapper: Says which cells of a picture a global vector comes from; ``None`` where it is no mean of cells.
        load: Gets ready for the first picture, which does so otherwise; ``None`` where that takes no time. Raises
            what extracting raises.
    """

    name: str
    summary: str
    score: str
    extractor: Extractor
    matcher: Matcher
    verifier: Verifier | None = None
    mirror: Callable[[Features, int], Features] | None = None
    mapper: Mapper | None = None
    load: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class MethodState:
    """Whether a method can run on this machine.

    Attributes:
        name: Of the method.
        summary: One line for people.
        score: What its score is: ``matches`` or ``cosine``.
        spec: Form of its features; ``None`` if the method cannot even be loaded.
        ready: Whether pictures can be given to it now.
        reason: Why not; empty when ready.
        hint: What to do about it; empty when ready.
        fingerprint: What made its features; ``None`` while that is not known.
    """

    name: str
    summary: str
    score: str
    spec: FeatureSpec | None
    ready: bool
    reason: str
    hint: str
    fingerprint: Fingerprint | None

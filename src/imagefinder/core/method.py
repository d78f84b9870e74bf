"""Methods: each extracts and compares one kind of features."""

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
        name: Name of the method, for example ``sift``.
        summary: One-line description of what it finds.
        score: Kind of score: ``matches`` (a count) or ``cosine``.
        extractor: Extracts features from images.
        matcher: Compares features.
        verifier: Verifies matches spatially; ``None`` if the features have no positions.
        mirror: (features of an image, its width in pixels) -> features of its mirror image (left to right);
            ``None`` if they cannot be computed from the features.
        mapper: Computes the feature map that a global vector was pooled from; ``None`` if there is none.
        load: Loads what extraction needs, which otherwise happens with the first image; raises the same errors.
            ``None`` if there is nothing to load.
        auto: Whether ``auto`` combines it with others, and whether it is a default for new collections.
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
    auto: bool = True


@dataclass(frozen=True, slots=True)
class MethodState:
    """Whether a method can run on this machine.

    Attributes:
        name: Name of the method.
        summary: One-line description of what it finds.
        score: Kind of score: ``matches`` (a count) or ``cosine``.
        spec: Kind, dimension and dtype of its features; ``None`` if the method cannot be loaded.
        ready: Whether it can extract features now.
        reason: Why it is not ready; empty if it is.
        hint: How to make it ready; empty if it is.
        fingerprint: Fingerprint of its features; ``None`` if it is not ready.
        auto: Whether ``auto`` combines it with others.
    """

    name: str
    summary: str
    score: str
    spec: FeatureSpec | None
    ready: bool
    reason: str
    hint: str
    fingerprint: Fingerprint | None
    auto: bool = True

"""Methods: each extracts and compares one kind of features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from imagefinder.core.colours import Colours
from imagefinder.core.contracts import Extractor, Mapper, Matcher, Verifier
from imagefinder.core.features import Features, FeatureSpec, RgbImage
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.text_contracts import TextEncoder

COLOURS = "colours"
"""Name of the parameter of fingerprints for features of images whose colours were converted to sRGB."""


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
        text: Compares words with its features, which are global; ``None`` if it cannot.
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
    text: TextEncoder | None = None

    @property
    def colours(self) -> Colours:
        """The way in which the colours of the images are read from which it extracts."""
        return "srgb" if isinstance(self.extractor, ConvertedColours) else "file"


class ConvertedColours:
    """An extractor of images whose colours were converted to sRGB, which its fingerprint states.

    Attributes:
        unconverted: The extractor itself, for images whose ICC profiles are ignored.
    """

    def __init__(self, extractor: Extractor) -> None:
        self.unconverted = extractor

    @property
    def spec(self) -> FeatureSpec:
        """Kind, dimension and dtype of the features."""
        return self.unconverted.spec

    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the extractor, with the parameter ``colours``."""
        made = self.unconverted.fingerprint()
        return replace(made, parameters={**made.parameters, COLOURS: "srgb"})

    def extract(self, images: Sequence[RgbImage]) -> Features:
        """Features of each image, in order."""
        return self.unconverted.extract(images)


def with_colours(method: Method, colours: Colours) -> Method:
    """The method for images whose colours are read in this way."""
    if method.colours == colours:
        return method
    if isinstance(method.extractor, ConvertedColours):
        return replace(method, extractor=method.extractor.unconverted)
    return replace(method, extractor=ConvertedColours(method.extractor))


def colours_of(fingerprints: Iterable[Fingerprint]) -> Colours:
    """The way in which the colours of all images of a collection are read, by the fingerprints of its features.

    Features of versions without the parameter were made from images whose profiles were ignored. So are those that
    are added to them: all features of a collection are made in the same way.
    """
    return "srgb" if all(COLOURS in one.parameters for one in fingerprints) else "file"


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

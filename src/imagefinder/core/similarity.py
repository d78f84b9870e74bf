"""Answers of the REST API: images in the order of similarity, and where a file is."""

from __future__ import annotations

from dataclasses import dataclass

from imagefinder.core.answers import Image
from imagefinder.core.serialization import Described


@dataclass(frozen=True, slots=True)
class SimilarImage(Described):
    """An image in the order of similarity."""

    image: Image
    """The image."""

    score: float
    """Score of the method's matcher; higher is more similar."""


@dataclass(frozen=True, slots=True)
class SimilarPage(Described):
    """A page of the images that are similar to a query, most similar first; without decisions."""

    images: tuple[SimilarImage, ...]
    """The images of this page; ties are ordered by id."""

    method: str
    """Name of the method whose scores order the images."""

    searched: int
    """Number of images in the collection that were searched."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


@dataclass(frozen=True, slots=True)
class ImageLocation(Described):
    """Where the file of an image is on the server."""

    path: str | None
    """Path of the file, or of the archive that contains it; null if the image was uploaded or downloaded."""

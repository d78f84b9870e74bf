"""The response objects of the REST service for groups of images and for changes to many images."""

from __future__ import annotations

from dataclasses import dataclass

from imagefinder.core.serialization import Described


@dataclass(frozen=True, slots=True)
class ImageGroup(Described):
    """A group of images."""

    value: str
    """Common value of the images, for example ``2026-05``; empty if it is unknown."""

    images: int
    """Number of images."""


@dataclass(frozen=True, slots=True)
class GroupPage(Described):
    """A page of groups, ordered by value."""

    groups: tuple[ImageGroup, ...]
    """The groups of this page."""

    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


@dataclass(frozen=True, slots=True)
class ChangedImages(Described):
    """The result of a change to many images."""

    images: int
    """Number of images that changed."""

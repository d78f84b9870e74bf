"""Iteration over paged image listings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagefinder.core.records import ImageRecord


def iter_image_pages(
    images: Callable[..., Sequence[ImageRecord]], *, page_size: int = 1000, **conditions: Any
) -> Iterator[Sequence[ImageRecord]]:
    """Iterate over the non-empty pages of a listing.

    Images added or removed during the iteration may or may not appear; every other image appears exactly once.

    Args:
        images: ``Store.images`` or ``Collection.images``.
        page_size: Maximum number of images per page.
        conditions: Arguments for ``images``, for example ``source`` or ``where``.
    """
    after = ""
    while page := images(after=after, limit=page_size, **conditions):
        yield page
        after = page[-1].id


def iter_images(
    images: Callable[..., Sequence[ImageRecord]], *, page_size: int = 1000, **conditions: Any
) -> Iterator[ImageRecord]:
    """Iterate over the images of a listing in order of ids; the arguments are those of ``iter_image_pages``."""
    return chain.from_iterable(iter_image_pages(images, page_size=page_size, **conditions))

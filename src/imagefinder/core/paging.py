"""Reading a listing of images page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagefinder.core.records import ImageRecord


def iter_image_pages(
    images: Callable[..., Sequence[ImageRecord]], *, page_size: int = 1000, **conditions: Any
) -> Iterator[Sequence[ImageRecord]]:
    """The pages of a listing, none of them empty.

    Images that are added or removed meanwhile may or may not be seen; no other is left out or comes twice.

    Args:
        images: ``Store.images`` or ``Collection.images``.
        page_size: The most images of one page.
        conditions: Passed to ``images``, for example ``source`` or ``where``.
    """
    after = ""
    while page := images(after=after, limit=page_size, **conditions):
        yield page
        after = page[-1].id


def iter_images(
    images: Callable[..., Sequence[ImageRecord]], *, page_size: int = 1000, **conditions: Any
) -> Iterator[ImageRecord]:
    """The images of a listing in order of ids; arguments as for ``iter_image_pages``."""
    return chain.from_iterable(iter_image_pages(images, page_size=page_size, **conditions))

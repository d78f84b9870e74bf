"""Items for the further pages of TIFF files and for key frames of animations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from imagefinder.core.errors import SourceError
from imagefinder.core.pages import page_name
from imagefinder.images.decoding import frames
from imagefinder.indexing.guard import Guard
from imagefinder.indexing.source_item import Discovered, SourceItem, local_path


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How many images are added from one file.

    Attributes:
        pages: Largest number of pages of a TIFF file; the first ones.
        frames: Largest number of frames of an animation; evenly spread, beginning with the first.
    """

    pages: int
    frames: int


def with_pages(items: Iterator[Discovered], limits: PageLimits, guard: Guard) -> Iterator[Discovered]:
    """Yield all items, each multi-page file in a folder, or named itself, followed by the items of its pages.

    Files in archives and behind URLs are not opened here, so only their first page is added.
    """
    for item in items:
        numbers = _numbers(item, limits, guard) if isinstance(item, SourceItem) else [1]
        if len(numbers) == 1:
            yield item
            continue
        assert isinstance(item, SourceItem)  # noqa: S101 - only these have pages
        for page in numbers:
            name, uri = page_name(item.id, page), page_name(item.uri, page)
            yield replace(item, id=name, uri=uri, page=page, pages=len(numbers))


def _numbers(item: SourceItem, limits: PageLimits, guard: Guard) -> list[int]:
    """The pages or frames of a file to add."""
    suffix = item.uri.rpartition(".")[2].lower()
    is_counted = (suffix in frames.PAGED_SUFFIXES and limits.pages > 1) or (
        suffix in frames.ANIMATED_SUFFIXES and limits.frames > 1
    )
    path = local_path(item.uri) if is_counted and item.uri.startswith("file:") else None
    if path is None:
        return [1]
    try:
        with guard.open(path) as file:
            kind, count = frames.count(file)
    except (OSError, SourceError):  # reported when the file is read
        return [1]
    if kind == "pages":
        return list(range(1, min(count, limits.pages) + 1))
    number = min(count, limits.frames)
    return [1 + step * count // number for step in range(number)]

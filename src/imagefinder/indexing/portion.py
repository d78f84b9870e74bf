"""Portions: parts of a source as data, which any worker can read, decode, extract and store.

Adding a portion again has no effect, as for every run of ``Pipeline``: each image is put under its id.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from imagefinder.core.addresses import is_web_address
from imagefinder.core.pages import page_name
from imagefinder.indexing.guard import Guard
from imagefinder.indexing.source_item import Discovered, SourceItem, local_path, read_file

VERSION = 2
"""Version of the format of portions. A worker takes only portions of versions that it knows (``VERSIONS``)."""

VERSIONS = (VERSION,)

IMAGES = 64
"""Number of images in a portion: some seconds of work."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """Images of a portion that a collection lacks, so that a repetition counts what was stored before as added.

    Attributes:
        new: Ids of images that it does not have.
        changed: Ids of those that it has with another stamp, or without features of a method.
    """

    new: frozenset[str]
    changed: frozenset[str]

    def of(self, image_id: str) -> Lacking:
        """The same for one image and its pages."""
        pages = page_name(image_id, 2).removesuffix("2")

        def own(ids: frozenset[str]) -> frozenset[str]:
            return frozenset(one for one in ids if one == image_id or one.startswith(pages))

        return Lacking(own(self.new), own(self.changed))


@dataclass(frozen=True, slots=True)
class Portion:
    """Images of a source.

    Attributes:
        items: The images; each is a file or behind a URL.
        lacking: What the collection lacked before the portion was first added; ``None``: it was not added yet.
    """

    items: tuple[SourceItem, ...]
    lacking: Lacking | None = None

    def to_bytes(self) -> bytes:
        """The portion as bytes of ``VERSION``; ``from_bytes`` is the inverse."""
        items = [[item.id, item.uri, item.source, item.stamp, dict(item.metadata)] for item in self.items]
        lacking = None if self.lacking is None else [sorted(self.lacking.new), sorted(self.lacking.changed)]
        return zlib.compress(json.dumps([items, lacking]).encode("ascii"), 1)

    @classmethod
    def from_bytes(cls, data: bytes, guard: Guard) -> Portion:
        """The portion that ``to_bytes`` returned.

        Args:
            data: The bytes.
            guard: Limits the files that are read.

        Raises:
            ValueError: the data are damaged.
        """
        try:
            rows, lacking = json.loads(zlib.decompress(data))
            items = tuple(_item(*row, guard=guard) for row in rows)
            return cls(items, None if lacking is None else Lacking(*map(frozenset, lacking)))
        except (zlib.error, ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"damaged portion: {error}") from error


def is_portable(item: SourceItem) -> bool:
    """Whether another process can read an image, given its location."""
    return is_web_address(item.uri) or item.uri.startswith("file:")


def portions(items: Iterator[Discovered], images: int = IMAGES) -> Iterator[Portion | Discovered]:
    """Yield the images among the items in portions, and everything else as it is."""
    waiting: list[SourceItem] = []
    for item in items:
        if not isinstance(item, SourceItem):
            yield item
            continue
        waiting.append(item)
        if len(waiting) == images:
            yield Portion(tuple(waiting))
            waiting = []
    if waiting:
        yield Portion(tuple(waiting))


def _item(image_id: str, uri: str, source: str, stamp: str, metadata: Any, *, guard: Guard) -> SourceItem:
    texts: Sequence[object] = (image_id, uri, source, stamp)
    if not (all(isinstance(text, str) for text in texts) and isinstance(metadata, dict)):
        raise ValueError("an image has values of wrong types")
    if is_web_address(uri):
        return SourceItem(image_id, uri, source, stamp, metadata)
    path = local_path(uri) if uri.startswith("file:") else None
    if path is None or not guard.local_files:
        raise ValueError("an image is neither behind a URL nor a file that may be read")
    return SourceItem(image_id, uri, source, stamp, metadata, read=partial(read_file, path, guard=guard))

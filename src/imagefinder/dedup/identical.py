"""The images of a collection for duplicate detection, and groups of identical images."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

from imagefinder.core.contracts import Store
from imagefinder.core.features import FullDepth
from imagefinder.core.pages import page_of
from imagefinder.core.paging import iter_images
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import LOOKS_THE_SAME, Size
from imagefinder.dedup.originals import Original, Originals, locate, suffix

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (stage, done, total); the stages are ``read``, ``propose``, ``verify`` and ``check``."""

_EVERY = 64

_LOSSY, _PALETTE = frozenset({"JPEG", "MPO", "WEBP", "HEIF", "AVIF", "JPEG2000", "JXL"}), frozenset({"GIF"})

_SUFFIXES = {
    "JPEG": frozenset({"jpg", "jpeg", "jpe", "jfif"}),
    "MPO": frozenset({"jpg", "jpeg", "mpo"}),
    "PNG": frozenset({"png", "apng"}),
    "GIF": frozenset({"gif"}),
    "WEBP": frozenset({"webp"}),
    "TIFF": frozenset({"tif", "tiff"}),
    "BMP": frozenset({"bmp", "dib"}),
    "HEIF": frozenset({"heic", "heif", "hif"}),
    "AVIF": frozenset({"avif"}),
}
"""Format -> extensions of its files."""


@dataclass(frozen=True, slots=True)
class Item:
    """The part of an image's record that duplicate detection uses, and its file as it is now.

    Attributes:
        id: Id of the image.
        size: Width and height in pixels.
        size_bytes: Size of the encoded image in bytes.
        added_at: Time of the last put in seconds since 1970.
        sha256: SHA-256 of the encoded image; may be empty.
        format: Encoded format, for example ``JPEG``.
        original: The file.
        wrong_suffix: Whether the extension of the file is not one of its format.
    """

    id: str
    size: Size
    size_bytes: int
    added_at: float
    sha256: str
    format: str = ""
    original: Original = field(default_factory=Original)
    wrong_suffix: bool = False


def best_first(item: Item) -> tuple[bool, int, int, bool, int, int, float, str]:
    """Sort key for the image to keep.

    A usable file comes first, then most pixels, a lossless format, the extension of the format, most bytes, the
    shortest id, added first. More bytes for the same pixels mean weaker compression, and accidental copies have
    longer names. The order does not detect text or logos added to an image, or upscaling, so users should look
    before they delete.
    """
    width, height = item.size
    loss = 2 if item.format in _PALETTE else int(item.format in _LOSSY)
    usable = not item.original.reason
    return (
        not usable,
        -width * height,
        loss,
        item.wrong_suffix,
        -item.size_bytes,
        len(item.id),
        item.added_at,
        item.id,
    )


def items(store: Store) -> list[Item]:
    """All images of a store, best first."""
    return sorted(map(_item, iter_images(store.images)), key=best_first)


def _item(record: ImageRecord) -> Item:
    return Item(
        id=record.id,
        size=(record.width, record.height),
        size_bytes=record.size_bytes,
        added_at=record.added_at,
        sha256=record.sha256,
        format=record.format,
        original=locate(record),
        wrong_suffix=suffix(record.uri) not in _SUFFIXES.get(record.format, {suffix(record.uri)}),
    )


@dataclass(frozen=True, slots=True)
class Identical:
    """Identical images, and images that only look so.

    Attributes:
        groups: Groups of images with the same bytes, or the same pixels in all frames and in full depth; best
            first.
        alike: (worse, better) ids of images of which the size and the thumbnail are equal, but that are not
            identical -> how they differ.
    """

    groups: tuple[tuple[Item, ...], ...]
    alike: dict[tuple[str, str], str]


def find_identical(
    store: Store, every: Sequence[Item], originals: Originals, threads: int, progress: Progress
) -> Identical:
    """Find the identical images.

    Images with the same hash are identical. Of images with the same size and thumbnail, the files are compared.

    Args:
        store: The store of the images.
        every: All images, best first.
        originals: Reads and decodes the files.
        threads: Number of files decoded at once.
        progress: Called with (``read``, done, total).
    """
    by_look: dict[tuple[Size, bytes], list[list[Item]]] = defaultdict(list)
    by_hash = _by_hash(every)
    for begin in range(0, len(by_hash), _EVERY):
        some = by_hash[begin : begin + _EVERY]
        for same, look in zip(some, _looks_of(store, [same[0] for same in some]), strict=True):
            by_look[same[0].size, look].append(same)
        progress("read", begin + len(some), len(by_hash))
    compared = [same for classes in by_look.values() if len(classes) > 1 for same in classes]
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda same: _depth_of(same, originals), compared)
        depths = dict(zip((same[0].id for same in compared), found, strict=True))
    groups: list[tuple[Item, ...]] = []
    alike: dict[tuple[str, str], str] = {}
    for classes in by_look.values():
        merged: dict[tuple[str, str], list[Item]] = defaultdict(list)
        for same in classes:
            depth = depths.get(same[0].id)
            merged[("digest", depth.digest) if depth else ("id", same[0].id)] += same
        best, *others = (sorted(same, key=best_first) for same in merged.values())
        for other in others:
            alike[other[0].id, best[0].id] = difference(depths[other[0].id], depths[best[0].id])
        groups.extend(tuple(same) for same in (best, *others) if len(same) > 1)
    return Identical(tuple(sorted(groups, key=lambda group: best_first(group[0]))), alike)


def difference(a: FullDepth | None, b: FullDepth | None) -> str:
    """How two images with the same size and thumbnail differ."""
    if a is None or b is None:
        return LOOKS_THE_SAME
    if max(a.frames, b.frames) > 1:
        return "the first frames look the same; the others differ"
    if a.transparent or b.transparent:
        return "looks the same without transparency"
    if max(a.bits, b.bits) > 8:
        return "looks the same at 8 bits per channel"
    return LOOKS_THE_SAME


def _depth_of(same: Sequence[Item], originals: Originals) -> FullDepth | None:
    """What images with the same bytes show, by the first of them with a usable file."""
    for item in same:
        examined = originals.examine(item.sha256, item.original)
        if not examined.reason:
            return examined.depth
    return None


def _by_hash(every: Sequence[Item]) -> list[list[Item]]:
    """The images with the same bytes and page, best first; images without a hash are alone."""
    classes: dict[tuple[str, str, int], list[Item]] = defaultdict(list)
    for item in every:
        classes[item.sha256, "" if item.sha256 else item.id, page_of(item.id)].append(item)
    return list(classes.values())


def _looks_of(store: Store, items: Sequence[Item]) -> list[bytes]:
    """Digests that identical images share: of the thumbnail or, without one, of the encoded image."""
    thumbnails = store.thumbnails([item.id for item in items])
    return [
        hashlib.sha256(thumbnail).digest() if thumbnail else (item.sha256 or item.id).encode()
        for item in items
        for thumbnail in [thumbnails.get(item.id, b"")]
    ]

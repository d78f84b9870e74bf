"""Stacks: images that are versions of one picture, such as raw and JPEG, edited copies, and bursts.

The stack of an image follows from its folder and its name alone, so it does not depend on the order of adding.
Images of a burst whose names differ are joined by the time, which ``merge_bursts`` does after adding.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from imagefinder.core.contracts import Store
from imagefinder.core.pages import split_page
from imagefinder.indexing.source_item import local_path

_CAMERA_FORMATS = frozenset(
    {
        "arw",
        "cr2",
        "cr3",
        "dng",
        "heic",
        "heif",
        "hif",
        "jpe",
        "jpeg",
        "jpg",
        "nef",
        "nrw",
        "orf",
        "pef",
        "raf",
        "rw2",
    }
)
"""File extensions between which cameras, phones and raw converters make versions of one picture."""

_EDITED = (
    "bearbeitet",
    "bewerkt",
    "edited",
    "editado",
    "editada",
    "edytowane",
    "modificato",
    "modifi\u00e9",
    "redigerad",
    "redigeret",
    "redigert",
)
"""Suffixes of edited copies by Google Photos, by language."""

_RULES = (
    # Google Photos: IMG_1234-edited.jpg, IMG_1234-bearbeitet(1).jpg
    (re.compile(rf"(.+)-(?:{'|'.join(_EDITED)})(\(\d+\))?"), r"\1\2"),
    # Apple: IMG_E1234.HEIC is the edited IMG_1234.HEIC
    (re.compile(r"img_e(\d{4,})"), r"img_\1"),
    # Google Camera: 00001IMG_00001_BURST20190101123456789_COVER.jpg
    (re.compile(r".*burst(\d{14,20})(?:_cover)?"), r"burst\1"),
    # Huawei and Honor: IMG_20190101_123456_BURST001_COVER.jpg
    (re.compile(r"(.+)_burst\d{1,3}(?:_cover)?"), r"\1"),
    # Pixel: PXL_20240701_123456789.RAW-02.ORIGINAL.dng, PXL_20240701_123456789.MP.jpg
    (re.compile(r"(pxl_\d{8}_\d{6,9})[.~].+"), r"\1"),
    # Samsung: 20240701_123456_001.jpg
    (re.compile(r"(\d{8}_\d{6})_\d{3}"), r"\1"),
)


def stack_of(image_id: str, uri: str) -> str:
    """The stack of an image, from its folder and name; the same for all images that may belong to it."""
    location, page = split_page(_location(image_id, uri))
    folder, _, name = location.rpartition("/")
    stem, _, suffix = unicodedata.normalize("NFC", name).casefold().rpartition(".")
    stem = stem or suffix
    for pattern, shorter in _RULES:
        if found := pattern.fullmatch(stem):
            stem = found.expand(shorter)
    kind = "camera" if suffix in _CAMERA_FORMATS else suffix
    return _digest(folder, stem, kind, str(page))


def burst_of(image_id: str, uri: str, properties: Mapping[str, Any]) -> str:
    """The burst of an image: its id or, if the time has a fraction, the second and camera; empty if unknown.

    Args:
        image_id: Id of the image.
        uri: URI of the image.
        properties: Properties by name, with ``burst``.
    """
    folder = _location(image_id, uri).rpartition("/")[0]
    if burst := properties.get("burst"):
        return _digest(folder, "id", str(burst))
    taken, camera = str(properties.get("exif.taken", "")), properties.get("exif.camera")
    second, _, rest = taken.partition(".")
    # Scanners and programs that write times in whole seconds give one time to many images.
    if not camera or not rest[:3].strip("0"):
        return ""
    return _digest(folder, "second", second, str(camera))


def merge_bursts(store: Store, bursts: Collection[str]) -> None:
    """Give all images of each of these bursts, and those in a stack with one of them, the same stack.

    Raises:
        StoreError: the store cannot be written.
    """
    for _, ids in sorted(store.burst(list(bursts)).items()):
        stacks = sorted(set(store.stacks(ids).values()))
        if len(stacks) < 2:
            continue
        first, *others = stacks
        moved = [image_id for members in store.stacked(others).values() for image_id in members]
        store.put_file_metadata(
            {one.id: replace(one.file_metadata, stack=first) for one in store.records(moved).values()}
        )


def count_stacked(store: Store) -> int:
    """Number of images that count as one with another image of their stack."""
    return store.count() - store.count(stacks=True)


def _location(image_id: str, uri: str) -> str:
    """Folder and name: the path of a file or of a member of an archive, otherwise the id.

    Web addresses say nothing about versions: many images may come from one, such as the page of a product.
    """
    if uri.startswith("file:"):
        return local_path(uri) or image_id
    return uri if uri.startswith("archive:") else image_id


def _digest(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()

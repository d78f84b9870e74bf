"""Find the sidecar files of images, and read what images and sidecar files say.

A sidecar file is ``IMG_1.jpg.xmp`` or ``IMG_1.xmp``, or a JSON file of Google Takeout. The video of a Live Photo
has the name of its image; it is named, not indexed.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from imagefinder.core.errors import ImageError, InputError
from imagefinder.core.file_metadata import FileMetadata, nested
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.source_item import file_stamp, local_path, name_to_text, read_file
from imagefinder.indexing.stacks import burst_of, stack_of

READER = "1"
"""Version of the reader: images that another one has read are read again by the next ``add``."""

MAX_BYTES = 4 << 20
"""Largest sidecar file that is read."""

_VIDEOS = (".mov", ".mp4")
_LIVE = frozenset({".heic", ".heif", ".jpg", ".jpeg"})
_TAKEOUT = ".supplemental-metadata"
_TAKEOUT_NAME = 46
"""Longest name, without ``.json``, that Google Takeout gives to a JSON file."""

_FOLDERS = 64
"""Number of folders whose sidecar files are remembered."""

# ruff: noqa: PTH118, PTH122, PTH116 - names may be any bytes, and Path is slow for a million files


class ReadMetadata(Protocol):
    """The signature of ``Decoder.read_metadata``."""

    def __call__(self, data: bytes, sidecars: Sequence[bytes] = ()) -> dict[str, Any]:
        """Read properties."""
        ...


@dataclass(frozen=True, slots=True)
class Sidecars:
    """The files that belong to an image.

    Attributes:
        stamp: The stamp of file metadata that are read from the image and these files.
        paths: The sidecar files, those that count most first.
        video: File name of the video of a Live Photo; empty if there is none.
    """

    stamp: str = READER
    paths: tuple[str, ...] = ()
    video: str = ""


NO_SIDECARS = Sidecars()


class SidecarFinder:
    """Finds the sidecar files of images in folders, each of which is listed once; for one thread."""

    def __init__(self, guard: Guard = TRUSTED) -> None:
        """Set the limits of access."""
        self._guard = guard
        self._folders: OrderedDict[str, dict[str, str]] = OrderedDict()

    def find(self, uri: str) -> Sidecars:
        """The files that belong to the image with a URI; none unless the image is a file."""
        path = local_path(uri) if uri.startswith("file:") else None
        if path is None:
            return NO_SIDECARS
        folder, name = os.path.split(path)
        names = self._names(folder)
        if not names:
            return NO_SIDECARS
        stem, suffix = os.path.splitext(name.casefold())
        found = [names[key] for key in _sidecar_names(stem, suffix) if key in names]
        video = next((names[stem + end] for end in _VIDEOS if stem + end in names), "") if suffix in _LIVE else ""
        paths, stamps = [], [READER]
        for one in dict.fromkeys(found):
            try:
                status = os.stat(os.path.join(folder, one))
            except OSError:  # removed a moment ago
                continue
            paths.append(os.path.join(folder, one))
            stamps.append(f"{name_to_text(one)}:{file_stamp(status)}")
        video = name_to_text(video)
        return Sidecars("|".join([*stamps, *([video] if video else [])]), tuple(paths), video)

    def _names(self, folder: str) -> dict[str, str]:
        """Folded name -> name of the files in a folder that may belong to images."""
        if folder in self._folders:
            self._folders.move_to_end(folder)
            return self._folders[folder]
        names: dict[str, str] = {}
        try:
            if self._guard.allows(folder):
                for name in sorted(os.listdir(folder)):  # noqa: PTH208
                    folded = name.casefold()
                    if folded.endswith((".xmp", ".json", *_VIDEOS)):
                        names.setdefault(folded, name)
        except OSError:  # reported when the image is read
            pass
        self._folders[folder] = names
        if len(self._folders) > _FOLDERS:
            self._folders.popitem(last=False)
        return names


@dataclass(frozen=True, slots=True)
class FileMetadataReader:
    """Reads file metadata; thread-safe. A file that cannot be read has none, which never fails an image.

    Attributes:
        read_properties: Reads the properties in the bytes of an image and of its sidecar files.
        guard: Limits of access to sidecar files.
    """

    read_properties: ReadMetadata
    guard: Guard = TRUSTED

    def read(self, image_id: str, uri: str, data: bytes, sidecars: Sidecars) -> FileMetadata:
        """Read the metadata of an image with these bytes."""
        contents = []
        for path in sidecars.paths:
            try:
                contents.append(read_file(path, MAX_BYTES, self.guard))
            except InputError:  # unreadable, too large or not allowed
                continue
        return self.of(image_id, uri, data, contents, sidecars)

    def of(
        self,
        image_id: str,
        uri: str,
        data: bytes,
        contents: Sequence[bytes] = (),
        sidecars: Sidecars = NO_SIDECARS,
    ) -> FileMetadata:
        """The metadata of an image, given the contents of its sidecar files."""
        try:
            found = self.read_properties(data, contents)
        except ImageError:
            found = {}
        burst = burst_of(image_id, uri, found)
        found.pop("burst", None)
        if sidecars.video:
            found["live.video"] = sidecars.video
        return FileMetadata(nested(found), sidecars.stamp, stack_of(image_id, uri), burst)


def _sidecar_names(stem: str, suffix: str) -> Iterator[str]:
    """Folded names of the sidecar files of an image, those that count most first."""
    yield f"{stem}{suffix}.xmp"
    yield f"{stem}.xmp"
    number = ""
    if stem.endswith(")") and (opening := stem.rfind("(")) > 0:
        # Takeout moves the number of a repeated name to the end: IMG_1.jpg(2).json
        stem, number = stem[:opening], stem[opening:]
    for original in dict.fromkeys([stem, stem.rpartition("-")[0]]):
        if original:
            longest = f"{original}{suffix}{_TAKEOUT}"
            for end in range(len(longest), len(original + suffix) - 1, -1):
                yield f"{longest[:end][:_TAKEOUT_NAME]}{number}.json"

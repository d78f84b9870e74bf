"""Read the properties of one image from its encoded bytes and its sidecar files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from PIL import Image, ImageFile

from imagefinder.images.decoding import pillow_decoder
from imagefinder.images.metadata import exif, iptc, takeout, xmp

_XMP_TAG = 700
_TIFF = (b"II*\0", b"MM\0*")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0"  # the keyword of an uncompressed text; language and translation follow
_CHUNKS = 100_000
"""Maximum number of chunks of a PNG that are read."""

_EXIF_HEADER = b"Exif\0\0"


def read(data: bytes, sidecars: Sequence[bytes] = ()) -> dict[str, Any]:
    """The properties of an image by name, and ``burst``, the id of its burst, as far as there are any.

    A sidecar file counts before the image file, except one of Google Takeout, which counts last; of the formats in
    a file, XMP counts before IPTC and EXIF, but EXIF has the better times and coordinates.

    Args:
        data: The encoded image.
        sidecars: Contents of sidecar files: XMP, or JSON of Google Takeout.
    """
    parts: list[dict[str, Any]] = []
    last: list[dict[str, Any]] = []
    for sidecar in sidecars:
        if sidecar.lstrip()[:1] == b"{":
            last.append(takeout.properties(sidecar))
        else:
            parts.append(xmp.properties(sidecar))
    found = dict[str, Any]()
    for part in [*parts, *_of_file(data), *last]:
        for name, value in part.items():
            if value is not None:
                found.setdefault(name, value)
    return found


def _of_file(data: bytes) -> Iterator[dict[str, Any]]:
    """The properties in the formats of a file, in the order in which they count."""
    image = pillow_decoder.header(data)
    of_exif = _attempt(lambda: exif.properties(_exif(image, data)))
    yield {name: value for name, value in of_exif.items() if name.startswith("exif.")}
    yield _attempt(lambda: xmp.properties(_xmp(image, data)))
    yield _attempt(lambda: iptc.properties(image) if isinstance(image, ImageFile.ImageFile) else {})
    yield of_exif


def _attempt(read_part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The properties of a part; none if it is damaged: the other parts may be intact."""
    try:
        return read_part()
    except pillow_decoder.DECODER_ERRORS:
        return {}


def _exif(image: Image.Image | None, data: bytes) -> Image.Exif:
    if data.startswith(_TIFF):  # also camera raw files
        found = Image.Exif()
        found.load(_EXIF_HEADER + data)
        return found
    if image is None:
        return Image.Exif()
    if data.startswith(_PNG):  # here, Pillow's own method would decode the pixels
        late = next((chunk for kind, chunk in _late_chunks(data) if kind == b"eXIf"), None)
        if late and "exif" not in image.info:
            image.info["exif"] = late
        return Image.Image.getexif(image)
    return image.getexif()


def _xmp(image: Image.Image | None, data: bytes) -> bytes:
    if image is None:
        return b""
    if data.startswith(_PNG) and "xmp" not in image.info:
        for kind, chunk in _late_chunks(data):
            if kind == b"iTXt" and chunk.startswith(_PNG_XMP):
                return chunk[len(_PNG_XMP) :].split(b"\0", 2)[-1]
    found = (
        image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or getattr(image, "tag_v2", {}).get(_XMP_TAG)
    )
    return found.encode() if isinstance(found, str) else bytes(found or b"")


def _late_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the chunks of a PNG that follow its pixels, up to the first damaged one."""
    offset, pixels = len(_PNG), False
    for _ in range(_CHUNKS):
        size, kind = int.from_bytes(data[offset : offset + 4]), data[offset + 4 : offset + 8]
        if len(kind) < 4 or offset + 12 + size > len(data):
            return
        if pixels and kind in (b"eXIf", b"iTXt"):
            yield kind, data[offset + 8 : offset + 8 + size]
        pixels = pixels or kind == b"IDAT"
        offset += 12 + size

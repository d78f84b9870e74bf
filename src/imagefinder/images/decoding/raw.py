"""Camera files built like TIFF (DNG, CR2, NEF, ARW, PEF): the picture that the camera has put into them.

Developing sensor data is another program's business. Nearly every camera file holds a JPEG of the whole picture as
the camera would have saved it; that is what people see in viewers, and what is read here.

Source of the layout: TIFF 6.0 and the DNG specification 1.7 (tags of image file directories).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAKE, _ORIENTATION, _SUB_IFDS, _DNG_VERSION = 271, 274, 330, 50706
_COMPRESSION, _PHOTOMETRIC, _OFFSETS, _LENGTHS = 259, 262, 273, 279
_JPEG_OFFSET, _JPEG_LENGTH = 513, 514

_SENSOR = (32803, 34892)  # photometric interpretations: colour filter array, linear raw
_PACKED = (32767, 34713, 65535)  # compressions that only Sony, Nikon and Pentax use for sensor data
_OF_JPEG = (6, 7)
_MAX_DIRECTORIES = 64
_MAX_VALUES = 64  # of a tag that are looked at
_FORMS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I"}


@dataclass(frozen=True, slots=True)
class Preview:
    """What a camera file holds.

    Attributes:
        format: ``DNG``, ``CR2``, ``NEF``, ``ARW``, ``PEF`` or ``RAW``.
        jpeg: The largest JPEG in it; empty if there is none.
        orientation: The EXIF orientation of the file, 1 to 8.
    """

    format: str
    jpeg: bytes
    orientation: int


def preview(data: bytes) -> Preview | None:
    """The picture inside a camera file; ``None`` for anything else, plain TIFF included."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return None
    directories = list(_directories(data, order))
    if not directories:
        return None
    canon = data[8:10] == b"CR" and order == "<"
    dng = any(_DNG_VERSION in directory for directory in directories)
    sensor = any(
        directory.get(_PHOTOMETRIC, [0])[0] in _SENSOR or directory.get(_COMPRESSION, [0])[0] in _PACKED
        for directory in directories
    )
    if not (canon or dng or sensor):
        return None
    maker = bytes(value for value in directories[0].get(_MAKE, []) if value < 256).upper()
    names = {b"NIKON": "NEF", b"SONY": "ARW", b"PENTAX": "PEF", b"RICOH": "PEF"}
    name = next((name for start, name in names.items() if maker.startswith(start)), "RAW")
    orientation = directories[0].get(_ORIENTATION, [1])[0]
    return Preview(
        format="DNG" if dng else "CR2" if canon else name,
        jpeg=max((jpeg for directory in directories for jpeg in _jpegs(data, directory)), key=len, default=b""),
        orientation=orientation if 1 <= orientation <= 8 else 1,
    )


def _directories(data: bytes, order: str) -> Iterator[dict[int, list[int]]]:
    """Every directory once, sub-directories included: tag -> its first whole numbers."""
    seen: set[int] = set()
    waiting = [struct.unpack_from(order + "I", data, 4)[0]] if len(data) >= 8 else []
    while waiting and len(seen) < _MAX_DIRECTORIES:
        place = waiting.pop(0)
        if place in seen or not 8 <= place <= len(data) - 2:
            continue
        seen.add(place)
        (count,) = struct.unpack_from(order + "H", data, place)
        end = place + 2 + 12 * count
        if end > len(data):
            continue
        directory = {}
        for entry in range(place + 2, end, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
            values = _values(data, order, entry + 8, 1 if kind == 2 else kind, min(number, _MAX_VALUES))
            if values:
                directory[tag] = values
        yield directory
        waiting += directory.get(_SUB_IFDS, [])
        if end + 4 <= len(data):
            waiting.append(struct.unpack_from(order + "I", data, end)[0])


def _values(data: bytes, order: str, field: int, kind: int, number: int) -> list[int]:
    form = _FORMS.get(kind)
    if form is None:
        return []
    layout = f"{order}{number}{form}"
    size = struct.calcsize(layout)
    place = field if size <= 4 else struct.unpack_from(order + "I", data, field)[0]
    return list(struct.unpack_from(layout, data, place)) if place + size <= len(data) else []


def _jpegs(data: bytes, directory: dict[int, list[int]]) -> Iterator[bytes]:
    places = [(directory.get(_JPEG_OFFSET, []), directory.get(_JPEG_LENGTH, []))]
    of_pixels = directory.get(_PHOTOMETRIC, [0])[0] not in _SENSOR
    if of_pixels and directory.get(_COMPRESSION, [0])[0] in _OF_JPEG and len(directory.get(_OFFSETS, [])) == 1:
        places.append((directory[_OFFSETS], directory.get(_LENGTHS, [])))
    for starts, lengths in places:
        if starts and lengths:
            jpeg = data[starts[0] : starts[0] + lengths[0]]
            if jpeg.startswith(b"\xff\xd8") and not _is_lossless(jpeg):
                yield jpeg


def _is_lossless(jpeg: bytes) -> bool:
    """Whether a JPEG is of the lossless process, which cameras use for sensor data."""
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF:
        marker, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker in (0xC3, 0xC7, 0xCB, 0xCF)
        place += 2 + length
    return True

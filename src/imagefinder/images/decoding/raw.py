"""Extract the preview JPEG from TIFF-based camera raw files (DNG, CR2, NEF, ARW, PEF).

Raw sensor data is not developed. Nearly every camera file embeds a full-frame JPEG as the camera would have saved
it, which is also what image viewers show.

Source: TIFF 6.0 and the DNG specification 1.7 (image file directory tags).
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
_JPEG_COMPRESSIONS = (6, 7)
_MAX_DIRECTORIES = 64
_MAX_VALUES = 64  # values read per tag
_STRUCT_CODES = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I"}  # by TIFF field type


@dataclass(frozen=True, slots=True)
class CameraPreview:
    """The preview of a camera raw file.

    Attributes:
        format: ``DNG``, ``CR2``, ``NEF``, ``ARW``, ``PEF`` or ``RAW``.
        jpeg: The largest embedded JPEG; empty if the file contains none.
        orientation: EXIF orientation of the file, 1 to 8.
    """

    format: str
    jpeg: bytes
    orientation: int


def extract_preview(data: bytes) -> CameraPreview | None:
    """Extract the preview of a camera raw file; ``None`` for any other file, including plain TIFF."""
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
    return CameraPreview(
        format="DNG" if dng else "CR2" if canon else name,
        jpeg=max((jpeg for directory in directories for jpeg in _jpegs(data, directory)), key=len, default=b""),
        orientation=orientation if 1 <= orientation <= 8 else 1,
    )


def _directories(data: bytes, order: str) -> Iterator[dict[int, list[int]]]:
    """Yield each image file directory and sub-directory once, as tag -> its first integer values."""
    seen: set[int] = set()
    pending = [struct.unpack_from(order + "I", data, 4)[0]] if len(data) >= 8 else []
    while pending and len(seen) < _MAX_DIRECTORIES:
        offset = pending.pop(0)
        if offset in seen or not 8 <= offset <= len(data) - 2:
            continue
        seen.add(offset)
        (count,) = struct.unpack_from(order + "H", data, offset)
        end = offset + 2 + 12 * count
        if end > len(data):
            continue
        directory = {}
        for entry in range(offset + 2, end, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
            values = _values(data, order, entry + 8, 1 if kind == 2 else kind, min(number, _MAX_VALUES))
            if values:
                directory[tag] = values
        yield directory
        pending += directory.get(_SUB_IFDS, [])
        if end + 4 <= len(data):
            pending.append(struct.unpack_from(order + "I", data, end)[0])


def _values(data: bytes, order: str, field: int, kind: int, number: int) -> list[int]:
    code = _STRUCT_CODES.get(kind)
    if code is None:
        return []
    layout = f"{order}{number}{code}"
    size = struct.calcsize(layout)
    offset = field if size <= 4 else struct.unpack_from(order + "I", data, field)[0]
    return list(struct.unpack_from(layout, data, offset)) if offset + size <= len(data) else []


def _jpegs(data: bytes, directory: dict[int, list[int]]) -> Iterator[bytes]:
    ranges = [(directory.get(_JPEG_OFFSET, []), directory.get(_JPEG_LENGTH, []))]
    is_jpeg = directory.get(_COMPRESSION, [0])[0] in _JPEG_COMPRESSIONS
    is_sensor = directory.get(_PHOTOMETRIC, [0])[0] in _SENSOR
    if is_jpeg and not is_sensor and len(directory.get(_OFFSETS, [])) == 1:
        ranges.append((directory[_OFFSETS], directory.get(_LENGTHS, [])))
    for offsets, lengths in ranges:
        if offsets and lengths:
            jpeg = data[offsets[0] : offsets[0] + lengths[0]]
            if jpeg.startswith(b"\xff\xd8") and not _is_lossless(jpeg):
                yield jpeg


def _is_lossless(jpeg: bytes) -> bool:
    """Whether a JPEG uses the lossless process, which cameras use for sensor data."""
    offset = 2
    while offset + 4 <= len(jpeg) and jpeg[offset] == 0xFF:
        marker, length = jpeg[offset + 1], int.from_bytes(jpeg[offset + 2 : offset + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker in (0xC3, 0xC7, 0xCB, 0xCF)
        offset += 2 + length
    return True

"""Read the samples of a TIFF page at full depth: any number of bits, integers, floats, planes and tiles.

Pillow decodes the common kinds of TIFF. This module reads the others. It leaves the
decompression to libtiff (through Pillow) or the standard library, and does the rest with NumPy.

Source: TIFF 6.0, its technical notes 1 (trees), 2 (JPEG) and 3 (floating-point predictor), and BigTIFF.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagefinder.core.errors import DamagedImageError, EmptyImageError, ImageTooLargeError, NotAnImageError

Array: TypeAlias = NDArray[Any]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_LENGTHS, _PLANAR = 273, 274, 277, 278, 279, 284
_MAX_SAMPLE_VALUE, _PREDICTOR = 281, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_LENGTHS = 322, 323, 324, 325
_SUBFILE, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _PROFILE = 254, 338, 339, 34675

_UNSIGNED, _SIGNED, _FLOAT, _VOID = 1, 2, 3, 4
_COMPRESSIONS = {
    2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "JPEG", 7: "JPEG", 9: "JBIG", 10: "JBIG", 34661: "JBIG",
    34676: "LogLuv", 34677: "LogLuv", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_PACK_BITS, _WEBP = 32773, 50001
_BY_LIBTIFF = (5, _PACK_BITS, 50000)  # and LZW, Zstandard
_PHOTOMETRICS = {
    3: "palette", 6: "YCbCr", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "raw sensor", 34892: "raw sensor",
    32844: "LogL", 32845: "LogLuv",
}  # fmt: skip
_COLOURS = {0: 1, 1: 1, 2: 3, 4: 1, 5: 4}
"""Number of colour samples by photometric interpretation: grey (0: white is zero), RGB, mask, CMYK."""

MAX_DIRECTORIES = 10_000
"""Largest number of directories of a file that are visited."""

_MAX_SAMPLES = 64
_MAX_ENTRIES = 4096
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
"""``struct`` codes by field type."""
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_HINT = "convert the image to 8-bit or 16-bit RGB TIFF or PNG with another program"


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The samples of an image at full depth.

    Attributes:
        values: ``(height, width, samples)``, integers or floats; not turned upright.
        bits: Bits per sample in the file.
        colours: Number of colour samples: 1 grey, 3 RGB, 4 CMYK; further samples follow them.
        inverted: Whether zero means white.
        alpha: ``straight`` or ``premultiplied`` if the sample after the colours is alpha; otherwise empty.
        largest: Largest value that the file declares (MaxSampleValue); 0 if it declares none.
        orientation: EXIF orientation, 1 to 8.
        profile: ICC profile; empty if there is none.
    """

    values: Array
    bits: int
    colours: int
    inverted: bool = False
    alpha: str = ""
    largest: int = 0
    orientation: int = 1
    profile: bytes = b""


def is_tiff(data: bytes) -> bool:
    """Whether these bytes start like a TIFF or BigTIFF."""
    return data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def page_offsets(file: BinaryIO, limit: int = MAX_DIRECTORIES) -> Iterator[int]:
    """Yield the positions of the pages in a TIFF file: image file directories that are neither previews nor masks.

    Args:
        file: A seekable TIFF.
        limit: Largest number of directories visited.
    """
    header = file.read(16)
    if not is_tiff(header):
        return
    layout = _Layout.of(header)
    try:
        (offset,) = struct.unpack_from(layout.pointer, header, layout.first)
        seen: set[int] = set()
        while offset and offset not in seen and len(seen) < limit:
            seen.add(offset)
            file.seek(offset)
            (entries,) = struct.unpack(layout.count, file.read(struct.calcsize(layout.count)))
            if entries > _MAX_ENTRIES:
                return
            directory = file.read(layout.entry * entries)
            (following,) = struct.unpack(layout.pointer, file.read(struct.calcsize(layout.pointer)))
            # NewSubfileType: bit 0 is a reduced image, bit 2 a mask.
            kind = layout.values(directory, directory).get(_SUBFILE, (0,))
            if not kind[0] & 5:
                yield offset
            offset = following
    except (struct.error, OSError, OverflowError, ValueError):
        return


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a TIFF stores its directories: struct formats, and bytes."""

    order: Literal["<", ">"]
    big: bool

    @classmethod
    def of(cls, header: bytes) -> _Layout:
        return cls("<" if header.startswith(b"II") else ">", b"+" in header[2:4])

    @property
    def first(self) -> int:
        """Position of the pointer to the first directory."""
        return 8 if self.big else 4

    @property
    def pointer(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def count(self) -> str:
        return self.order + ("Q" if self.big else "H")

    @property
    def entry(self) -> int:
        """Bytes of an entry."""
        return 20 if self.big else 12

    def content(self, directory: bytes, data: bytes, wanted: int) -> bytes:
        """The bytes of a tag that has more of them than fit into its entry; empty if there is no such tag."""
        for start in range(0, len(directory) - self.entry + 1, self.entry):
            tag, _ = struct.unpack_from(self.order + "HH", directory, start)
            if tag == wanted:
                (number,) = struct.unpack_from(self.pointer, directory, start + 4)
                (offset,) = struct.unpack_from(self.pointer, directory, start + (12 if self.big else 8))
                return data[offset : offset + number]
        return b""

    def values(self, directory: bytes, data: bytes) -> dict[int, tuple[int, ...]]:
        """Tag -> integers, of all entries of a directory whose values are integers inside the file."""
        tags: dict[int, tuple[int, ...]] = {}
        for start in range(0, len(directory) - self.entry + 1, self.entry):
            tag, kind = struct.unpack_from(self.order + "HH", directory, start)
            (number,) = struct.unpack_from(self.pointer, directory, start + 4)
            code, field = _INTEGERS.get(kind), start + (12 if self.big else 8)
            if code is None or number > len(data):
                continue
            form = f"{self.order}{number}{code}"
            size = struct.calcsize(form)
            if size <= struct.calcsize(self.pointer):
                tags[tag] = struct.unpack_from(form, directory, field)
            else:
                (offset,) = struct.unpack_from(self.pointer, directory, field)
                if offset + size <= len(data):
                    tags[tag] = struct.unpack_from(form, data, offset)
        return tags


def starting_at(data: bytes, offset: int) -> bytes:
    """The file with the page at this position as its first one."""
    layout = _Layout.of(data)
    at, field = layout.first, struct.pack(layout.pointer, offset)
    return data if data[at : at + len(field)] == field else data[:at] + field + data[at + len(field) :]


class Directory:
    """The tags of one page.

    Attributes:
        profile: Its ICC profile; empty if it has none.
    """

    def __init__(self, data: bytes, offset: int) -> None:
        """Read the tags.

        Raises:
            DamagedImageError: the directory cannot be read.
        """
        layout = _Layout.of(data)
        try:
            (entries,) = struct.unpack_from(layout.count, data, offset)
            if entries > _MAX_ENTRIES:
                raise DamagedImageError("the TIFF image is corrupt: it has too many tags")
            start = offset + struct.calcsize(layout.count)
            directory = data[start : start + layout.entry * entries]
            self._tags = layout.values(directory, data)
            self.profile = layout.content(directory, data, _PROFILE)
        except struct.error as error:
            raise DamagedImageError(f"the TIFF image is truncated or corrupt: {error}") from error
        self._swapped_big = layout.big and layout.order == ">"

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The integers of a tag."""
        return self._tags.get(tag) or default

    def number(self, tag: int, default: int = 0) -> int:
        """The first integer of a tag."""
        return self.numbers(tag, (default,))[0]

    @property
    def is_for_pillow(self) -> bool:
        """Whether Pillow reads the page rightly: it has unsigned integers of up to 8 bits."""
        plain = all(kind in (_UNSIGNED, _VOID) for kind in self.numbers(_SAMPLE_FORMAT, (_UNSIGNED,)))
        # libtiff ignores the predictor of PackBits, and Pillow misreads BigTIFF in big-endian order.
        compression = self.number(_COMPRESSION, 1)
        misread = self._swapped_big or (compression == _PACK_BITS and self.number(_PREDICTOR, 1) != 1)
        return plain and max(self.numbers(_BITS, (1,))) <= 8 and not misread and compression != _WEBP


def read_samples(data: bytes, offset: int, *, max_pixels: int) -> Samples:
    """Read the page at an offset.

    Raises:
        NotAnImageError: a kind of TIFF that is not supported; the message names it.
        DamagedImageError: truncated or corrupt.
        EmptyImageError: no pixels.
        ImageTooLargeError: over the limit.
    """
    page = _Page(data, Directory(data, offset))
    if page.width < 1 or page.height < 1:
        raise EmptyImageError(f"the image has no pixels ({page.width} x {page.height})")
    if page.width * page.height > max_pixels:
        raise ImageTooLargeError(
            f"the image has {page.width:,} x {page.height:,} pixels", limit=max_pixels, unit="pixels"
        )
    return page.read()


class _Page:
    """One page, while it is read."""

    def __init__(self, data: bytes, tags: Directory) -> None:
        self._data = data
        self._tags = tags
        self.width, self.height = tags.number(_WIDTH), tags.number(_HEIGHT)
        self._samples = tags.number(_SAMPLES, 1)
        bits = tags.numbers(_BITS, (1,))
        formats = tags.numbers(_SAMPLE_FORMAT, (_UNSIGNED,))
        self._bits, self._format = bits[0], _UNSIGNED if formats[0] == _VOID else formats[0]
        self._compression = tags.number(_COMPRESSION, 1)
        self._photometric = tags.number(_PHOTOMETRIC, 1)
        self._predictor = tags.number(_PREDICTOR, 1)
        self._planes = tags.number(_PLANAR, 1) == 2 and self._samples > 1
        self._order: Literal["<", ">"] = "<" if data.startswith(b"II") else ">"
        self._tiled = bool(tags.numbers(_TILE_OFFSETS))
        self._check(bits, formats)

    def _check(self, bits: tuple[int, ...], formats: tuple[int, ...]) -> None:
        """Refuse by name what cannot be read."""
        kind = _COMPRESSIONS.get(self._compression)
        colours = _PHOTOMETRICS.get(self._photometric)
        reason = ""
        if kind is not None:
            reason = f"{kind} compression and {self._bits} bits per sample"
        elif self._compression not in (1, 8, 32946, 34925, *_BY_LIBTIFF):
            reason = f"compression {self._compression}"
        elif colours is not None:
            reason = f"{colours} colours and {self._bits} bits per sample"
        elif self._photometric not in _COLOURS:
            reason = f"photometric interpretation {self._photometric}"
        elif not _COLOURS[self._photometric] <= self._samples <= _MAX_SAMPLES:
            reason = f"{self._samples} samples per pixel"
        elif len(set(bits)) > 1 or len(set(formats)) > 1:
            reason = "samples of different sizes or types"
        elif self._format not in (_UNSIGNED, _SIGNED, _FLOAT):
            reason = "complex numbers"
        elif not self._is_readable_depth():
            reason = f"{self._bits}-bit {'floats' if self._format == _FLOAT else 'integers'}"
        if reason:
            raise NotAnImageError(f"unsupported kind of TIFF: {reason}", hint=_HINT)

    def _is_readable_depth(self) -> bool:
        if self._format == _FLOAT:
            return self._bits in (16, 32, 64) and self._predictor in (1, 2, 3)
        whole = self._bits in (8, 16, 32, 64)
        if self._predictor != 1:
            return whole and self._predictor == 2
        return whole or (self._format == _UNSIGNED and 1 <= self._bits <= 31)

    def read(self) -> Samples:
        values = np.empty((self.height, self.width, self._samples), self._dtype())
        for top, left, plane, chunk in self._chunks():
            rows, columns = min(chunk.shape[0], self.height - top), min(chunk.shape[1], self.width - left)
            planes = slice(plane, plane + 1) if self._planes else slice(None)
            values[top : top + rows, left : left + columns, planes] = chunk[:rows, :columns]
        colours = _COLOURS[self._photometric]
        extra = self._tags.numbers(_EXTRA_SAMPLES, (2,))[:1]
        alpha = {1: "premultiplied", 2: "straight"}.get(extra[0] if extra else 0, "")
        orientation = self._tags.number(_ORIENTATION, 1)
        largest = self._tags.number(_MAX_SAMPLE_VALUE) if self._format == _UNSIGNED else 0
        return Samples(
            values=values,
            bits=self._bits,
            colours=colours,
            inverted=self._photometric == 0,
            alpha=alpha if self._samples > colours else "",
            largest=largest,
            orientation=orientation if 1 <= orientation <= 8 else 1,
            profile=self._tags.profile,
        )

    def _dtype(self) -> np.dtype[Any]:
        """The type of the values, in the order of this machine."""
        kind = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f"}[self._format]
        return np.dtype(f"{kind}{next(size for size in (1, 2, 4, 8) if self._bits <= 8 * size)}")

    def _chunks(self) -> Iterator[tuple[int, int, int, Array]]:
        """Yield each strip or tile: first row, first column, plane, and ``(rows, columns, samples)``."""
        tags = self._tags
        if self._tiled:
            width, height = tags.number(_TILE_WIDTH), tags.number(_TILE_HEIGHT)
            offsets, lengths = tags.numbers(_TILE_OFFSETS), tags.numbers(_TILE_LENGTHS)
        else:
            width, height = self.width, min(tags.number(_ROWS_PER_STRIP, self.height), self.height)
            offsets, lengths = tags.numbers(_STRIP_OFFSETS), tags.numbers(_STRIP_LENGTHS)
        if width < 1 or height < 1 or width * height > 1 << 31:
            raise DamagedImageError("the TIFF image is corrupt: its strips or tiles have no size")
        across, down = -(-self.width // width), -(-self.height // height)
        each = across * down
        if not lengths and len(offsets) == 1:
            lengths = (len(self._data) - offsets[0],)
        if min(len(offsets), len(lengths)) < each * (self._samples if self._planes else 1):
            raise DamagedImageError("the TIFF image is truncated or corrupt: strips or tiles are missing")
        for plane in range(self._samples if self._planes else 1):
            for number in range(each):
                at = plane * each + number
                top, left = number // across * height, number % across * width
                rows = height if self._tiled else min(height, self.height - top)
                part = self._data[offsets[at] : offsets[at] + lengths[at]]
                yield top, left, plane, self._decode(part, rows, width)

    def _decode(self, part: bytes, rows: int, columns: int) -> Array:
        samples = 1 if self._planes else self._samples
        row = -(-columns * samples * self._bits // 8)
        if self._tags.number(_FILL_ORDER, 1) == 2:
            part = part.translate(_REVERSED)
        plain = _decompress(part, self._compression, row, rows)
        if len(plain) < row * rows:
            raise DamagedImageError("the TIFF image is truncated or corrupt: a strip or tile ends early")
        lines = np.frombuffer(plain, np.uint8, row * rows).reshape(rows, row)
        if self._predictor == 3:
            values = _unpredict_floats(lines, samples, self._bits // 8)
        elif self._bits in (8, 16, 32, 64):
            stored = self._dtype().newbyteorder(self._order)
            values = lines.view(stored).astype(self._dtype(), copy=False)
            if self._predictor == 2:
                values = _unpredict(values.reshape(rows, columns, samples))
        else:
            values = _unpack(lines, columns * samples, self._bits, self._dtype())
        return values.reshape(rows, columns, samples)


def _decompress(part: bytes, compression: int, row: int, rows: int) -> bytes:
    """The first ``row * rows`` bytes of a strip or tile; fewer if it ends early."""
    size = row * rows
    try:
        if compression == 1:
            return part[:size]
        if compression in (8, 32946):
            return zlib.decompressobj().decompress(part, size)
        if compression == 34925:
            return lzma.LZMADecompressor().decompress(part, size)
        with Image.open(io.BytesIO(_as_bytes_image(part, compression, row, rows)), formats=["TIFF"]) as image:
            return image.tobytes()
    except (zlib.error, lzma.LZMAError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise DamagedImageError(f"the TIFF image is truncated or corrupt: {error}"[:200]) from error


def _as_bytes_image(part: bytes, compression: int, row: int, rows: int) -> bytes:
    """A TIFF of 8-bit grey pixels, one for each byte, which libtiff decompresses without interpreting it."""
    tags = ((256, row), (257, rows), (258, 8), (259, compression), (262, 1), (273, 8), (277, 1), (278, rows))
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in (*tags, (279, len(part)))]
    padding = b"\0" * (len(part) % 2)
    start = struct.pack("<4sI", b"II*\0", 8 + len(part) + len(padding))
    return b"".join([start, part, padding, struct.pack("<H", len(entries)), *entries, bytes(4)])


def _unpredict(values: Array) -> Array:
    """Undo horizontal differencing; ``(rows, columns, samples)``. Floats are differenced by their bits."""
    whole = values.view(f"u{values.itemsize}")
    return np.cumsum(whole, axis=1, dtype=whole.dtype).view(values.dtype)


def _unpredict_floats(lines: NDArray[np.uint8], samples: int, size: int) -> Array:
    """Undo the floating-point predictor: bytes are differenced, and sorted with the most significant first."""
    rows, row = lines.shape
    summed = np.cumsum(lines.reshape(rows, row // samples, samples), axis=1, dtype=np.uint8)
    planes = summed.reshape(rows, size, row // size)
    joined = np.ascontiguousarray(planes.transpose(0, 2, 1)).reshape(rows, row)
    return joined.view(f">f{size}").astype(f"f{size}")


def _unpack(lines: NDArray[np.uint8], count: int, bits: int, dtype: np.dtype[Any]) -> Array:
    """Unpack samples that do not fill bytes; each row starts at a byte. Block by block, to save memory."""
    values = np.empty((len(lines), count), dtype)
    weights = (1 << np.arange(bits - 1, -1, -1, dtype=np.int64)).astype(dtype)
    step = max(1, (1 << 22) // max(1, count * bits))
    for top in range(0, len(lines), step):
        block = np.unpackbits(lines[top : top + step], axis=1)[:, : count * bits]
        values[top : top + step] = block.reshape(len(block), count, bits) @ weights
    return values

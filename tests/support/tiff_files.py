"""Write small TIFF files of any kind, for tests."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

LZW, DEFLATE, PACK_BITS, ZSTD = 5, 8, 32773, 50000
_PILLOW = {LZW: "tiff_lzw", PACK_BITS: "packbits", ZSTD: "zstd"}
_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(array, **kind):
    """One page: (rows, columns, samples) -> bytes."""
    return tiff_pages([(array, kind)], kind.pop("order", "<"))


def tiff_pages(pages, order="<", big=False):
    """Pages, each an array and the keyword arguments of ``_page``, written one after the other."""
    header, pointer = (16, order + "Q") if big else (8, order + "I")
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    start += struct.pack(order + "HHQ", 8, 0, 0) if big else struct.pack(order + "I", 0)
    out, link = bytearray(start), header - struct.calcsize(pointer)
    for array, kind in pages:
        tags, parts = _page(array, order=order, **kind)
        offsets = []
        for part in parts:
            offsets.append(len(out))
            out += part + b"\0" * (len(part) % 2)
        tiled = 322 in tags
        tags[324 if tiled else 273] = (4, offsets)
        tags[325 if tiled else 279] = (4, [len(part) for part in parts])
        entries = []
        for tag, (code, values) in sorted(tags.items()):
            packed = struct.pack(f"{order}{len(values)}{ {3: 'H', 4: 'I', 7: 'B'}[code] }", *values)
            size = struct.calcsize(pointer)
            if len(packed) > size:
                at = len(out)
                out += packed + b"\0" * (len(packed) % 2)
                packed = struct.pack(pointer, at)
            entries.append(
                struct.pack(order + "HH", tag, code)
                + struct.pack(pointer, len(values))
                + packed.ljust(size, b"\0")
            )
        out[link : link + struct.calcsize(pointer)] = struct.pack(pointer, len(out))
        out += struct.pack(order + ("Q" if big else "H"), len(entries)) + b"".join(entries)
        link = len(out)
        out += bytes(struct.calcsize(pointer))
    return bytes(out)


def _page(
    array,
    *,
    photometric=None,
    order="<",
    planar=1,
    bits=0,
    compression=1,
    predictor=1,
    rows=0,
    tile=None,
    tags=None,
):
    array = array if array.ndim == 3 else array[:, :, None]
    height, width, samples = array.shape
    bits = bits or 8 * array.dtype.itemsize
    photometric = (2 if samples >= 3 else 1) if photometric is None else photometric
    found = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [compression]),
        262: (3, [photometric]), 277: (3, [samples]), 284: (3, [planar]), 317: (3, [predictor]),
        339: (3, [_FORMATS[array.dtype.kind]] * samples),
    }  # fmt: skip
    if tile:
        found |= {322: (4, [tile[1]]), 323: (4, [tile[0]])}
    else:
        found[278] = (4, [rows or height])
    found |= tags or {}
    parts = []
    for plane in [array[:, :, i : i + 1] for i in range(samples)] if planar == 2 else [array]:
        high, wide = tile or (rows or height, width)
        for top in range(0, height, high):
            for left in range(0, width, wide):
                chunk = plane[top : top + high, left : left + wide]
                if tile:
                    chunk = np.pad(chunk, ((0, high - chunk.shape[0]), (0, wide - chunk.shape[1]), (0, 0)))
                parts.append(_compressed(_rows(chunk, bits, order, predictor), compression, len(chunk)))
    return found, parts


def _rows(chunk, bits, order, predictor):
    rows, _, samples = chunk.shape
    if predictor == 2:
        whole = chunk.view(f"u{chunk.itemsize}")
        first = np.zeros_like(whole[:, :1])
        chunk = np.diff(whole, axis=1, prepend=first)
    if predictor == 3:
        planes = chunk.astype(chunk.dtype.newbyteorder(">")).reshape(rows, -1).view(np.uint8)
        planes = planes.reshape(rows, -1, chunk.itemsize).transpose(0, 2, 1).reshape(rows, -1, samples)
        return np.diff(planes, axis=1, prepend=np.zeros_like(planes[:, :1])).tobytes()
    if bits != 8 * chunk.itemsize:
        values = chunk.reshape(rows, -1)
        each = (values[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
        return np.packbits(each.reshape(rows, -1).astype(np.uint8), axis=1).tobytes()
    return chunk.astype(chunk.dtype.newbyteorder(order)).tobytes()


def _compressed(data, compression, rows):
    if compression == DEFLATE:
        return zlib.compress(data)
    if compression not in _PILLOW:
        return data
    buffer = io.BytesIO()
    image = Image.frombytes("L", (len(data) // rows, rows), data)
    image.save(buffer, "TIFF", compression=_PILLOW[compression], strip_size=1 << 30)
    with Image.open(buffer) as saved:
        (start,), (size,) = saved.tag_v2[273], saved.tag_v2[279]
    return buffer.getvalue()[start : start + size]

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imagefinder.images.decoding.decode import decode
from imagefinder.images.decoding.depth import to_8_bit, value_range

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 5], np.uint16), (0, 255)),  # a mask of labels is as dark as in 8 bits
        (np.array([0, 256], np.uint16), (0, 1023)),
        (np.array([0, 4095], np.uint16), (0, 4095)),
        (np.array([0, 16384], np.uint16), (0, 65535)),
        (np.array([0, 40_000], np.int32), (0, 65535)),
        (np.array([10, 70_000], np.uint32), (10, 70_000)),
        (np.array([-5, 9], np.int16), (-5, 9)),
        (np.array([0, 20_000], np.int16), (0, 32767)),
        (np.array([0, 0.3]), (0, 1)),
        (np.array([0, 0.01]), (0, 0.01)),
        (np.array([0, 200.0]), (0, 255)),
        (np.array([7.0, 7.0]), (7, 7)),
        (np.array([np.nan, np.inf, -2, 3]), (-2, 3)),
        (np.array([np.nan]), (0, 0)),
    ],
)
def test_the_range_that_becomes_0_to_255(values, expected):
    assert value_range(values) == expected


def test_extreme_values_do_not_overflow():
    extreme = np.array([-1.7e308, 0, 1.7e308])
    with np.errstate(all="raise"):
        assert to_8_bit(extreme).tolist() == [0, 128, 255]
        assert to_8_bit(np.array([0, 2**64 - 1], np.uint64)).tolist() == [0, 255]
        assert to_8_bit(np.array([-(2**63), 2**63 - 1], np.int64)).tolist() == [0, 255]


def png(values):
    """A PNG of 16 bits: grey, grey and alpha, RGB or RGBA."""
    height, width, samples = values.shape
    body = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[samples], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", body), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_png_of_sixteen_bits_with_fewer_significant_ones(bits, samples):
    full = (1 << bits) - 1
    values = np.repeat(np.rint(GREY / 255 * full)[:, :, None], samples, 2).astype(np.uint16)
    if samples in (2, 4):
        values[:, :, -1] = 65535
    rgb = decode(png(values), max_bytes=10**6, max_pixels=10**6).rgb
    np.testing.assert_allclose(rgb[:, :, 0].astype(int), GREY, atol=1)


def test_pgm_and_ppm_are_scaled_by_their_maximum():
    for largest in (255, 1023, 4095, 65535):
        values = np.rint(GREY / 255 * largest).astype(">u2" if largest > 255 else np.uint8)
        data = f"P5 16 16 {largest}\n".encode() + values.tobytes()
        rgb = decode(data, max_bytes=10**6, max_pixels=10**6).rgb
        np.testing.assert_allclose(rgb[:, :, 0].astype(int), GREY, atol=1)
        colour = np.repeat(values[:, :, None], 3, 2)
        data = f"P6 16 16 {largest}\n".encode() + colour.tobytes()
        rgb = decode(data, max_bytes=10**6, max_pixels=10**6).rgb
        np.testing.assert_allclose(rgb[:, :, 1].astype(int), GREY, atol=1)


def test_jpeg_2000_of_sixteen_bits():
    buffer = io.BytesIO()
    Image.fromarray(GREY.astype(np.uint16) * 257).save(buffer, "JPEG2000", irreversible=False)
    rgb = decode(buffer.getvalue(), max_bytes=10**6, max_pixels=10**6).rgb
    np.testing.assert_allclose(rgb[:, :, 0].astype(int), GREY, atol=1)

import io

import numpy as np
import pytest
from PIL import Image
from tiff_files import DEFLATE, LZW, PACK_BITS, ZSTD, tiff, tiff_pages

from imagefinder.core.errors import DamagedImageError, ImageError, NotAnImageError
from imagefinder.images.decoding.decode import decode as decode_limited
from imagefinder.images.decoding.tiff import page_offsets

RGB = np.random.default_rng(1).integers(0, 256, (21, 37, 3), np.uint8)
RGB[0, 0], RGB[0, 1] = 0, 255
GREY = RGB[:, :, 0]


def decode(data, page=1):
    return decode_limited(data, max_bytes=10_000_000, max_pixels=5_000_000, page=page).rgb


def shows(data, expected):
    expected = expected if expected.ndim == 3 else np.repeat(expected[:, :, None], 3, 2)
    np.testing.assert_array_equal(decode(data), expected)


def wide(array):
    return array.astype(np.uint16) * 257


def real(array, kind=np.float32):
    return (array / 255).astype(kind)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    "layout", [{}, {"rows": 8}, {"tile": (16, 32)}, {"planar": 2}, {"planar": 2, "tile": (16, 16)}]
)
@pytest.mark.parametrize("compression", [1, LZW, DEFLATE, PACK_BITS, ZSTD])
def test_sixteen_bits(order, big, layout, compression):
    for values, photometric in ((wide(RGB), 2), (wide(GREY), 1)):
        kind = {"photometric": photometric, "compression": compression, **layout}
        if photometric == 1:
            kind.pop("planar", None)
        shows(tiff_pages([(values, kind)], order, big), RGB if photometric == 2 else GREY)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [LZW, DEFLATE, PACK_BITS])
def test_predictors(order, compression):
    for values, expected in ((RGB, RGB), (wide(RGB), RGB), (GREY.astype(np.uint32) * 16843009, GREY)):
        shows(tiff(values, order=order, compression=compression, predictor=2), expected)
    for kind in (np.float16, np.float32, np.float64):
        page = (real(RGB, kind), {"compression": compression, "predictor": 3})
        np.testing.assert_allclose(decode(tiff_pages([page], order)).astype(int), RGB, atol=1)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats(kind):
    for scale in (1, 255, 65535 if kind != np.float16 else 255):
        shows(tiff((real(RGB, np.float64) * scale).astype(kind)), RGB)
    shows(tiff(real(GREY, kind)), GREY)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_fewer_significant_bits_than_stored(bits):
    full = (1 << bits) - 1
    for array in (RGB, GREY):
        shows(tiff(np.rint(array / 255 * full).astype(np.uint16)), array)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 14, 24])
def test_packed_samples(bits):
    full = (1 << bits) - 1
    dtype = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    for array in (GREY, RGB):
        values = np.rint(array / 255 * full).astype(dtype)
        shows(tiff(values, bits=bits), np.rint(values / full * 255).astype(np.uint8))


def test_white_is_zero():
    shows(tiff(255 - GREY, photometric=0), GREY)
    shows(tiff(65535 - wide(GREY), photometric=0), GREY)
    shows(tiff((4095 - np.rint(GREY / 255 * 4095)).astype(np.uint16), photometric=0), GREY)
    shows(tiff(real(255 - GREY), photometric=0), GREY)


def test_integers_of_other_sizes():
    shows(tiff(GREY.astype(np.uint32) * 16843009), GREY)
    shows(tiff(GREY.astype(np.uint64) * 72340172838076673), GREY)
    for kind in (np.int8, np.int16, np.int32):
        shows(tiff((GREY.astype(int) - 128).astype(kind)), GREY)
    shows(tiff(np.rint(GREY / 255 * 32767).astype(np.int16)), GREY)


def test_the_declared_range():
    largest = {281: (3, [40_000])}
    np.testing.assert_array_equal(
        decode(tiff(np.array([[0, 30_000, 40_000]], np.uint16), tags=largest))[0, :, 0], [0, 191, 255]
    )
    np.testing.assert_array_equal(decode(tiff(np.array([[0, 65535]], np.uint16), tags=largest))[0, :, 0], [0, 255])


def test_alpha():
    opaque = np.full(GREY.shape, 65535, np.uint16)
    for extra in ({}, {338: (3, [2])}, {338: (3, [1])}):
        for planar in (1, 2):
            shows(tiff(np.dstack([wide(RGB), opaque]), planar=planar, tags=extra), RGB)
            shows(tiff(np.dstack([wide(GREY), opaque]), planar=planar, tags=extra), GREY)
    half = np.dstack([np.full((4, 4, 3), v, np.uint16) for v in (0,)] + [np.full((4, 4), 32896, np.uint16)])
    assert decode(tiff(half, tags={338: (3, [2])}))[0, 0].tolist() == [127, 127, 127]
    ignored = np.dstack([wide(RGB), np.zeros(GREY.shape, np.uint16)])
    shows(tiff(ignored, tags={338: (3, [0])}), RGB)


def test_cmyk_of_sixteen_bits():
    cmyk = np.dstack([wide(255 - RGB), np.zeros(GREY.shape, np.uint16)])
    np.testing.assert_allclose(decode(tiff(cmyk, photometric=5)).astype(int), RGB, atol=1)


def test_orientation_of_deep_images():
    turned = np.ascontiguousarray(np.rot90(wide(RGB)))
    shows(tiff(turned, tags={274: (3, [6])}), RGB)


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ((wide(GREY), {"photometric": 8, "compression": 1}), "1 samples|CIELab"),
        ((wide(RGB), {"photometric": 32845}), "LogLuv"),
        ((wide(RGB), {"compression": 34887}), "LERC"),
        ((RGB, {"compression": 34712}), "JPEG 2000"),
        ((RGB, {"compression": 50001}), "WebP"),
        ((wide(RGB), {"compression": 7}), "JPEG compression and 16 bits"),
        ((GREY.astype(np.uint32), {"tags": {339: (3, [5])}}), "complex"),
        ((np.zeros((4, 4, 80), np.uint16), {}), "80 samples per pixel"),
        ((wide(GREY), {"compression": 4242}), "compression 4242"),
        ((np.zeros((4, 4), np.float32), {"bits": 32, "tags": {258: (3, [24])}}), "24-bit floats"),
    ],
)
def test_other_kinds_are_refused_by_name(page, name):
    with pytest.raises(NotAnImageError, match=name) as caught:
        decode(tiff_pages([page]))
    assert "PNG" in caught.value.hint


def test_cut_short():
    data = tiff(wide(RGB), rows=4)
    directory = data[int.from_bytes(data[4:8], "little") :]
    for compression in (1, DEFLATE, LZW):
        data = bytearray(tiff(wide(RGB), rows=30, compression=compression))
        offset = int.from_bytes(data[4:8], "little")
        for cut in (offset // 2, offset + 20):
            with pytest.raises(DamagedImageError):
                decode(bytes(data[:cut]))
    assert directory


def test_pages():
    pages = [(RGB, {}), (wide(255 - RGB), {"compression": LZW}), (GREY, {"tags": {254: (4, [1])}}), (GREY, {})]
    for order, big in (("<", False), (">", True), (">", False)):
        data = tiff_pages(pages, order, big)
        assert decode_limited(data, max_bytes=10**6, max_pixels=10**6).pages == 3  # the third is a preview
        for number, expected in enumerate([RGB, 255 - RGB, np.repeat(GREY[:, :, None], 3, 2)], start=1):
            np.testing.assert_array_equal(decode(data, number), expected)
        with pytest.raises(DamagedImageError, match="3 pages, so there is no page 4"):
            decode(data, 4)
    with pytest.raises(DamagedImageError, match="1 page, so there is no page 2"):
        decode(tiff_pages(pages[:1], "<", False), 2)


def test_directories_that_form_a_circle_end():
    data = bytearray(tiff(RGB))
    data[-4:] = data[4:8]
    assert len(list(page_offsets(io.BytesIO(bytes(data))))) == 1


def test_changed_bytes_give_a_picture_or_a_named_error():
    random = np.random.default_rng(5)
    sound = [
        tiff(wide(RGB), compression=LZW, predictor=2, rows=5), tiff(real(RGB), compression=DEFLATE, predictor=3),
        tiff(wide(RGB), planar=2, tile=(16, 16)), tiff_pages([(wide(GREY), {}), (RGB, {})], ">", big=True),
    ]  # fmt: skip
    for number in range(400):
        data = bytearray(sound[number % len(sound)])
        start = max(0, len(data) - 300) if number % 3 else 0
        for at in random.integers(start, len(data), 3):
            data[at] = random.integers(256)
        try:
            assert decode(bytes(data)).ndim == 3
        except ImageError:
            continue


def test_bilevel_fax_still_reads():
    buffer = io.BytesIO()
    Image.fromarray(GREY > 128).save(buffer, "TIFF", compression="group4")
    shows(buffer.getvalue(), np.where(GREY > 128, 255, 0).astype(np.uint8))

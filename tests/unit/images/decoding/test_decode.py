import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imagefinder.core.errors import (
    DamagedImageError,
    EmptyImageError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
)
from imagefinder.images.decoding.decode import decode as decode_limited


def decode(data, max_bytes=10_000_000, max_pixels=5_000_000):
    return decode_limited(data, max_bytes=max_bytes, max_pixels=max_pixels)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colours(width=40, height=24):
    """Four flat quarters: red, green over blue, grey."""
    array = np.zeros((height, width, 3), np.uint8)
    array[: height // 2, : width // 2] = (220, 30, 30)
    array[: height // 2, width // 2 :] = (30, 200, 30)
    array[height // 2 :, : width // 2] = (30, 30, 210)
    array[height // 2 :, width // 2 :] = (120, 120, 120)
    return array


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM", "TGA"])
def test_lossless_formats(kind):
    image = decode(encoded(Image.fromarray(colours()), kind))
    assert image.format == kind
    assert (image.width, image.height) == (40, 24)
    assert image.rgb.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(image.rgb, colours())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "HEIF", "JPEG2000"])
def test_lossy_formats(kind):
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    data = encoded(Image.fromarray(colours(160, 96)), kind, quality=95)
    image = decode(data)
    assert image.format == kind
    centres = image.rgb[[24, 24, 72, 72], [40, 120, 40, 120]].astype(int)
    np.testing.assert_allclose(centres, colours(160, 96)[[24, 24, 72, 72], [40, 120, 40, 120]], atol=8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation, kind):
    turns = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    stored = Image.fromarray(colours(160, 96))
    for turn in turns[orientation]:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encoded(stored, kind, exif=exif, quality=95))
    np.testing.assert_allclose(image.rgb.astype(int)[12::24, 12::24], colours(160, 96)[12::24, 12::24], atol=8)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_broken_exif_does_not_refuse_the_picture(exif):
    image = decode(encoded(Image.fromarray(colours()), "JPEG", exif=exif))
    assert (image.width, image.height) == (40, 24)


def test_transparency_is_laid_over_white():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[:, 2:, 3] = 255
    rgba[0, 0] = (0, 0, 0, 128)
    rgb = decode(encoded(Image.fromarray(rgba, "RGBA"))).rgb
    assert rgb[3, 0].tolist() == [255, 255, 255]
    assert rgb[3, 3].tolist() == [255, 0, 0]
    assert rgb[0, 0].tolist() == [127, 127, 127]


def test_transparency_of_palettes_grey_and_colour_keys():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    assert decode(encoded(palette, transparency=0)).rgb.tolist() == [[[255, 255, 255], [200, 100, 50]]]
    grey = Image.fromarray(np.array([[[90, 0], [90, 255]]], np.uint8), "LA")
    assert decode(encoded(grey)).rgb.tolist() == [[[255, 255, 255], [90, 90, 90]]]
    key = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert decode(encoded(key, transparency=(1, 2, 3))).rgb.tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_grey_and_bilevel():
    grey = np.array([[0, 77, 255]], np.uint8)
    assert decode(encoded(Image.fromarray(grey))).rgb[0, :, 1].tolist() == [0, 77, 255]
    assert decode(encoded(Image.fromarray(grey).convert("1", dither=0))).rgb[0, :, 2].tolist() == [0, 0, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_upper_eight(kind):
    deep = np.array([[0, 257 * 100, 65535, 127, 129]], np.uint16)
    assert decode(encoded(Image.fromarray(deep), kind)).rgb[0, :, 0].tolist() == [0, 100, 255, 0, 1]


def test_float_pictures_are_stretched():
    real = np.array([[-1.0, 0.0, 1.0, np.nan]], np.float32)
    assert decode(encoded(Image.fromarray(real), "TIFF")).rgb[0, :, 0].tolist() == [0, 128, 255, 0]
    flat = np.full((2, 2), 7, np.float32)
    assert decode(encoded(Image.fromarray(flat), "TIFF")).rgb.max() == 0


def test_cmyk_and_lab_become_rgb():
    cmyk = Image.fromarray(colours()).convert("CMYK")
    np.testing.assert_allclose(decode(encoded(cmyk, "TIFF")).rgb.astype(int), colours(), atol=2)
    lab = Image.merge("LAB", [Image.new("L", (2, 2), v) for v in (128, 128, 128)])
    assert np.ptp(decode(encoded(lab, "TIFF")).rgb.astype(int)) < 12


def test_first_frame_of_animations():
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decode(data).rgb[2, 2].tolist() == [255, 0, 0]


def test_no_bytes():
    with pytest.raises(EmptyImageError, match="0 bytes"):
        decode(b"")


@pytest.mark.parametrize(
    "data", [b"hello", b"\0" * 100, b"<html></html>", b"%PDF-1.4 ", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_not_a_picture(data):
    with pytest.raises(NotAnImageError):
        decode(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "AVIF"])
def test_cut_short(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(DamagedImageError):
        decode(data[: len(data) * 2 // 3])


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def test_limit_on_bytes_names_both_numbers():
    with pytest.raises(ImageTooLargeError, match=r"101 bytes.* 100\b") as caught:
        decode(b"x" * 101, max_bytes=100)
    assert (caught.value.limit, caught.value.unit) == (100, "bytes")


@pytest.mark.parametrize("side", [2001, 60_000, 2**31 - 1])
def test_a_bomb_is_refused_from_its_header(side):
    with pytest.raises(ImageTooLargeError, match=r"4,000,000 pixels") as caught:
        decode(png_header(side, side), max_pixels=4_000_000)
    assert caught.value.unit == "pixels"


def test_the_limit_itself_is_accepted():
    assert decode(encoded(Image.new("RGB", (20, 10))), max_pixels=200).width == 20
    with pytest.raises(ImageTooLargeError):
        decode(encoded(Image.new("RGB", (20, 10))), max_pixels=199)


def test_zero_pixels():
    jpeg = bytearray(encoded(Image.new("RGB", (9, 9)), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\0\0\0\0"
    bmp = bytearray(encoded(Image.new("RGB", (9, 9)), "BMP"))
    bmp[18:26] = b"\0" * 8
    for data in (
        png_header(0, 5),
        png_header(5, 0),
        b"GIF89a" + b"\0" * 20,
        b"P6\n0 0\n255\n",
        bytes(jpeg),
        bytes(bmp),
    ):
        with pytest.raises(EmptyImageError, match="no pixels"):
            decode(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # silenced once in each process
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_bytes_give_a_picture_or_a_named_error(data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
    raw = bytearray(encoded(Image.fromarray(colours()), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode(bytes(raw), max_pixels=100_000)
    except ImageError:
        return
    assert image.rgb.ndim == 3

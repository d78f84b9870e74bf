"""Colours of pictures with an ICC profile, against formulas that do not use littleCMS."""

import io
import struct

import numpy as np
import pytest
from colour_profiles import (
    SPACES,
    cmyk_profile,
    encoded,
    grey_profile,
    rgb_profile,
    srgb_of_grey,
    srgb_of_lab,
    srgb_of_rgb,
)
from PIL import Image, ImageCms
from tiff_files import tiff

from imagefinder.images.decoding.decode import decode as decode_within

LIMITS = {"max_bytes": 10_000_000, "max_pixels": 5_000_000}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def decode(data, **options):
    return decode_within(data, **LIMITS, **options).rgb


def colours():
    """A picture with every combination of seven levels of each channel."""
    levels = np.linspace(0, 255, 7).round()
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(7, 49, 3).astype(np.uint8)


def assert_close(shown, expected, *, within=2):
    assert np.abs(shown.astype(int) - expected).max() <= within


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_wide_gamut_becomes_srgb(space, kind):
    pixels, options = colours(), {"lossless": True} if kind == "WEBP" else {}
    shown = decode(encoded(pixels, kind, rgb_profile(space), **options))
    assert_close(shown, srgb_of_rgb(space, pixels))
    assert np.abs(shown.astype(int) - pixels).max() > 15


@pytest.mark.parametrize("space", SPACES)
def test_jpeg_heic_and_avif(space):
    pixels = np.zeros((64, 64, 3), np.uint8) + np.array([180, 90, 60], np.uint8)
    expected = srgb_of_rgb(space, [180, 90, 60])
    for kind in ("JPEG", "HEIF", "AVIF"):
        if kind == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
        shown = decode(encoded(pixels, kind, rgb_profile(space), quality=100))
        assert_close(shown[20:40, 20:40].mean(axis=(0, 1)).round(), expected, within=4)


def lab_of(c, m, y, k):
    """Colours of a press; its black is black, so nothing depends on black point compensation."""
    if k:
        return 0, 0, 0
    return 100 - 45 * c - 52 * m - 11 * y + 30 * c * m, -36 * c + 74 * m - 5 * y, -50 * c - 3 * m + 93 * y


def test_cmyk_jpeg_and_tiff():
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (255, 255, 0, 0), (0, 0, 0, 255)]
    for ink in inks:
        image = Image.new("CMYK", (32, 32), ink)
        expected = srgb_of_lab(lab_of(*(int(value > 0) for value in ink)))
        for kind in ("TIFF", "JPEG"):
            shown = decode(encoded(image, kind, cmyk_profile(lab_of), mode="CMYK"))
            assert_close(shown[10, 10], expected, within=3)


def test_cmyk_without_a_profile_is_as_before():
    image = Image.new("CMYK", (32, 32), (200, 30, 90, 10))
    shown = decode(encoded(image, "TIFF", mode="CMYK"))
    assert shown[5, 5].tolist() == list(image.convert("RGB").getpixel((5, 5)))


def test_grey_with_a_grey_profile_and_with_an_rgb_profile():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = srgb_of_grey(1.8, levels)[..., None]
    assert_close(decode(encoded(levels, "PNG", grey_profile(1.8))), expected)
    assert_close(decode(encoded(levels, "PNG", rgb_profile("ProPhoto"))), expected)


def test_16_bit_tiff_and_png_with_a_profile():
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    expected = srgb_of_grey(1.8, np.rint(levels / 257))[..., None]
    profile = grey_profile(1.8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", icc_profile=profile)
    assert_close(decode(buffer.getvalue()), expected)
    pixels = np.stack([levels] * 3, axis=-1)
    shown = decode(tiff(pixels, tags={34675: (7, list(rgb_profile("ProPhoto")))}))
    assert_close(shown, srgb_of_rgb("ProPhoto", np.rint(pixels / 257)))


def test_transparency_keeps_its_edge():
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[10:30, 10:30] = (180, 90, 60, 255)
    shown = decode(encoded(pixels, "PNG", rgb_profile("Adobe RGB")))
    assert_close(shown[20, 20], srgb_of_rgb("Adobe RGB", [180, 90, 60]))
    assert shown[0, 0].tolist() == [255, 255, 255]


def test_palette_with_a_profile():
    palette = Image.new("RGB", (20, 20), (180, 90, 60)).quantize(4)
    shown = decode(encoded(palette, "PNG", rgb_profile("Adobe RGB"), mode="P"))
    assert_close(shown[9, 9], srgb_of_rgb("Adobe RGB", [180, 90, 60]))


def test_large_reduced_picture_equals_littlecms_on_the_whole():
    """Converted in strips and reduced, it is what an independent call of littleCMS gives for the whole."""
    pixels = np.random.default_rng(1).integers(0, 256, (1500, 1200, 3), dtype=np.uint8)
    profile = rgb_profile("ProPhoto")
    whole = ImageCms.profileToProfile(
        Image.fromarray(pixels), io.BytesIO(profile), ImageCms.createProfile("sRGB"), renderingIntent=1
    )
    np.testing.assert_array_equal(decode(encoded(pixels, "PNG", profile)), np.asarray(whole))
    reduced = decode(encoded(pixels, "PNG", profile), fit_in=500_000)
    np.testing.assert_array_equal(reduced, np.asarray(whole.reduce(2)))


# -- nothing changes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
def test_srgb_profile_changes_nothing(mode):
    image = Image.fromarray(colours()).convert(mode)
    plain, tagged = (encoded(image, "PNG", profile, mode=mode) for profile in (None, SRGB))
    np.testing.assert_array_equal(decode(plain), decode(tagged))


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        rgb_profile("Adobe RGB")[:200],
        rgb_profile("Adobe RGB")[:128] + struct.pack(">I", 2**32 - 1) + rgb_profile("Adobe RGB")[132:],
        cmyk_profile(lab_of),
        grey_profile(1.8),
        bytes(1 << 20),
    ],
    ids=["text", "cut", "tags", "cmyk", "grey", "zeros"],
)
def test_unusable_profile_is_ignored(profile):
    pixels = colours()
    np.testing.assert_array_equal(decode(encoded(pixels, "PNG", profile)), pixels)


def test_colours_as_in_the_file():
    """Collections of earlier versions keep their colours."""
    pixels = colours()
    data = encoded(pixels, "PNG", rgb_profile("ProPhoto"))
    np.testing.assert_array_equal(decode(data, colours="file"), pixels)

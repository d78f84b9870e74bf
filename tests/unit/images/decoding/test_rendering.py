"""Previews: what they show, and what they do not contain."""

import io

import numpy as np
import pytest
from colour_profiles import encoded, rgb_profile, srgb_of_rgb
from PIL import Image
from tiff_files import tiff, tiff_pages

from imagefinder.core.errors import DamagedImageError, ImageError, ImageTooLargeError
from imagefinder.images.decoding.decode import InProcessDecoder, decode
from imagefinder.images.decoding.pool import DecoderPool
from imagefinder.images.decoding.rendering import render_pixels
from imagefinder.testing.extractors import textured_image

LIMITS = {"max_bytes": 50_000_000, "max_pixels": 20_000_000}


@pytest.fixture(params=["workers", "in process"])
def decoder(request):
    decoder = (
        DecoderPool(workers=1, seconds=60, memory=1 << 30) if request.param == "workers" else InProcessDecoder()
    )
    yield decoder
    decoder.close()


def shown(rendered):
    with Image.open(io.BytesIO(rendered.data)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (rendered.width, rendered.height))
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        return np.asarray(image).astype(int)


def test_size_and_content(decoder):
    picture = textured_image(3, 900, 1201)
    for side, size in [(1600, (1201, 900)), (400, (400, 300)), (100, (100, 75))]:
        rendered = decoder.render(encoded(picture, "PNG"), side=side, **LIMITS)
        assert (rendered.width, rendered.height) == size
        expected = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)).astype(int)
        assert np.abs(shown(rendered) - expected).mean() < 8 < np.abs(shown(rendered)[::-1] - expected).mean()


def test_upright_in_srgb_and_without_metadata(decoder):
    image = Image.new("RGB", (300, 200), (180, 90, 60))
    exif = Image.Exif()
    exif[274], exif[271] = 6, "A camera"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    data = encoded(image, "JPEG", rgb_profile("ProPhoto"), mode="RGB", exif=exif, comment=b"secret", quality=100)
    assert b"A camera" in data
    rendered = decoder.render(data, side=1600, **LIMITS)
    pixels = shown(rendered)
    assert pixels.shape == (300, 200, 3)
    assert np.abs(pixels[150, 100] - srgb_of_rgb("ProPhoto", [180, 90, 60])).max() <= 4
    for part in (b"A camera", b"secret", b"Exif", b"ICC_PROFILE"):
        assert part not in rendered.data


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "TIFF", "JPEG2000", "WEBP", "GIF", "BMP", "ICO", "PSD", "CMYK"])
def test_formats_that_browsers_do_not_show(decoder, kind):
    import pillow_heif

    pillow_heif.register_heif_opener()
    picture = Image.fromarray(textured_image(3, 200, 256))
    if kind == "PSD":
        data = b"8BPS" + bytes([0, 1]) + bytes(6) + bytes([0, 3]) + (200).to_bytes(4) + (256).to_bytes(4)
        data += bytes([0, 8, 0, 3]) + bytes(12) + bytes(2) + np.asarray(picture).transpose(2, 0, 1).tobytes()
    else:
        mode = "CMYK" if kind == "CMYK" else "RGB"
        data = encoded(picture.convert(mode), "JPEG" if kind == "CMYK" else kind, mode=mode)
    expected = decode(data, **LIMITS).rgb.astype(int)
    assert np.abs(shown(decoder.render(data, side=1600, **LIMITS)) - expected).mean() < 6


def test_16_bits_and_pages(decoder):
    levels = np.linspace(0, 65535, 120 * 160).astype(np.uint16).reshape(120, 160)
    rendered = decoder.render(tiff(levels), side=400, **LIMITS)
    assert np.abs(shown(rendered)[..., 0] - levels / 257).max() < 6
    pages = tiff_pages([(np.full((50, 60), value, np.uint8), {}) for value in (10, 200)])
    assert abs(shown(decoder.render(pages, side=400, page=2, **LIMITS)).mean() - 200) < 1
    with pytest.raises(DamagedImageError, match="no page 3"):
        decoder.render(pages, side=400, page=3, **LIMITS)


def test_limits(decoder):
    data = encoded(np.zeros((2000, 2000, 3), np.uint8), "PNG")
    with pytest.raises(ImageTooLargeError):
        decoder.render(data, side=400, max_bytes=50_000_000, max_pixels=1_000_000)
    rendered = decoder.render(data, side=6400, fit_in=1_000_000, **LIMITS)
    assert (rendered.width, rendered.height) == (1000, 1000)
    with pytest.raises(ImageError):
        decoder.render(data[: len(data) // 2], side=400, **LIMITS)


def test_extreme_shapes(decoder):
    rendered = decoder.render(encoded(np.zeros((2, 9000, 3), np.uint8), "PNG"), side=400, **LIMITS)
    assert (rendered.width, rendered.height) == (400, 1)


def test_decoded_pixels_give_the_same_preview():
    picture = textured_image(3, 700, 900)
    for side in (1600, 400, 100):
        encoded_first = InProcessDecoder().render(encoded(picture, "PNG"), side=side, **LIMITS)
        assert render_pixels(picture, side=side) == encoded_first

import io

import numpy as np
import pytest
from PIL import Image

from imagefinder.core.errors import ImageTooLargeError
from imagefinder.images.decoding.decode import decode
from imagefinder.images.decoding.pool import DecoderPool
from imagefinder.testing.extractors import textured_image

PICTURE = textured_image(3, 301, 403)
LIMITS = {"max_bytes": 10**7, "max_pixels": 10**6}


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("fit_in", "factor"), [(0, 1), (10**6, 1), (40_000, 2), (9_000, 4)])
def test_large_images_are_reduced_by_a_whole_factor(kind, fit_in, factor):
    image = decode(encoded(Image.fromarray(PICTURE), kind, quality=95), fit_in=fit_in, **LIMITS)
    assert (image.width, image.height) == (403, 301)
    assert image.rgb.shape == (-(-301 // factor), -(-403 // factor), 3)
    expected = np.asarray(Image.fromarray(PICTURE).reduce(factor)).astype(int)
    assert np.abs(image.rgb.astype(int) - expected)[:-1, :-1].mean() < 6


def test_strips_have_no_seams():
    rows = np.arange(4096, dtype=np.uint16)[:, None] // 16 + np.zeros(1500, np.uint16)
    image = decode(
        encoded(Image.fromarray(rows.astype(np.uint8)), "PNG"), max_bytes=10**8, max_pixels=10**8, fit_in=10**6
    )
    assert image.rgb.shape == (1366, 500, 3)
    np.testing.assert_allclose(image.rgb[:, 7, 0].astype(int), np.arange(1366) * 3 / 16, atol=1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_size_and_pixels_are_upright(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = decode(encoded(Image.fromarray(PICTURE), kind, exif=exif, quality=95), fit_in=40_000, **LIMITS)
    assert (image.width, image.height) == (301, 403)
    assert image.rgb.shape == (202, 151, 3)


def test_deep_and_transparent_images_are_reduced():
    deep = Image.fromarray(PICTURE[:, :, 0].astype(np.uint16) * 257)
    assert decode(encoded(deep, "TIFF"), fit_in=40_000, **LIMITS).rgb.shape == (151, 202, 3)
    clear = Image.new("RGBA", (400, 300), (255, 255, 255, 0))
    clear.paste((255, 255, 255, 255), (100, 100, 200, 200))
    image = decode(encoded(clear, "PNG"), fit_in=40_000, **LIMITS)
    assert image.rgb.shape == (150, 200, 3)
    assert (image.rgb[0, 0, 0], image.rgb[75, 75, 0]) == (0, 255)


def test_the_limit_of_local_files_is_named():
    data = encoded(Image.new("L", (2000, 1000)), "PNG")
    with pytest.raises(
        ImageTooLargeError, match=r"2,000 x 1,000 pixels; the limit is 1,000,000 .*max_local_pixels"
    ):
        decode(data, fit_in=1000, **LIMITS)
    with pytest.raises(ImageTooLargeError, match="max_image_pixels"):
        decode(data, **LIMITS)


def test_pages_and_reduction_in_a_worker():
    pages = [Image.fromarray(textured_image(seed, 100, 120)) for seed in range(3)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    pool = DecoderPool(workers=1, seconds=30, memory=1 << 30)
    try:
        image = pool.decode(data, page=2, fit_in=4_000, **LIMITS)
    finally:
        pool.close()
    assert (image.pages, image.width, image.height, image.rgb.shape) == (3, 120, 100, (50, 60, 3))
    np.testing.assert_allclose(image.rgb, np.asarray(pages[1].reduce(2)), atol=1)

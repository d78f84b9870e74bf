from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from imagefinder.images.resize import center_crop_box, normalise, resize_center_crop, resize_exact, thumbnail

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def slow_resize_center_crop(image: np.ndarray, side: int, size: int, interpolation: str) -> np.ndarray:
    """torchvision's documented steps: resize the whole image, then crop."""
    height, width = image.shape[:2]
    shorter, longer = min(height, width), max(height, width)
    new_longer = int(side * longer / shorter)
    new_width, new_height = (side, new_longer) if width <= height else (new_longer, side)
    resized = Image.fromarray(image).resize((new_width, new_height), FILTERS[interpolation])
    top, left = round((new_height - size) / 2.0), round((new_width - size) / 2.0)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def grey_levels(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    return int(np.abs(a.astype(int) - b).max())


sizes = st.integers(1, 600)
filters = st.sampled_from(["bilinear", "bicubic"])


@settings(max_examples=120, deadline=None)
@given(height=sizes, width=sizes, interpolation=filters, seed=st.integers(0, 9))
@example(height=259, width=71, interpolation="bicubic", seed=0)
def test_resize_center_crop_against_its_slow_twin(height, width, interpolation, seed):
    # Away from black and white nothing is clipped, whatever order Pillow resamples rows and columns in.
    image = noise(height, width, seed) // 4 + 96
    expected = slow_resize_center_crop(image, 64, 56, interpolation)
    cut = resize_center_crop(image, 64, 56, interpolation)
    # Pillow rounds between its two passes; the negative weights of the bicubic filter enlarge that by a quarter.
    assert grey_levels(cut, expected) <= (2 if interpolation == "bicubic" else 1)
    if 2 * width >= height >= 100 <= width:
        assert np.mean(cut != expected) < 0.05


@pytest.mark.parametrize("size", [(256, 256), (256, 700), (1, 1), (1, 2000), (2000, 1), (1500, 1000), (255, 257)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resize_center_crop_at_the_size_of_the_networks(size, interpolation):
    image = noise(*size)
    expected = slow_resize_center_crop(image, 256, 224, interpolation)
    assert grey_levels(resize_center_crop(image, 256, 224, interpolation), expected) <= 1


def test_resize_center_crop_shows_the_middle():
    image = np.zeros((100, 300, 3), dtype=np.uint8)
    image[:, 100:200] = 200
    middle = resize_center_crop(image, 256, 224, "bilinear")
    assert middle.shape == (224, 224, 3)
    assert (middle[:, 4:-4] == 200).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(1, 1), (37, 53), (224, 224), (900, 61), (30, 28_000)])
def test_resize_exact_is_pillows(size, interpolation):
    image = noise(*size)
    expected = np.asarray(Image.fromarray(image).resize((224, 224), FILTERS[interpolation]))
    np.testing.assert_array_equal(resize_exact(image, 224, interpolation), expected)


@pytest.mark.parametrize("size", [(4, 60_000), (60_000, 4)])
def test_resize_exact_of_a_strip_is_pillows_within_one_grey_level(size):
    image = noise(*size)
    expected = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR))
    assert grey_levels(resize_exact(image, 224, "bilinear"), expected) <= 1


@pytest.mark.parametrize("size", [(1, 3_000_000), (3_000_000, 1)])
def test_strips_need_no_more_memory_than_the_picture(size):
    image = np.full((*size, 3), 77, dtype=np.uint8)
    tracemalloc.start()
    try:
        assert (resize_center_crop(image, 256, 224, "bicubic") == 77).all()
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        assert (resize_exact(image, 224, "bilinear") == 77).all()
        assert len(thumbnail(image)) < 10_000
        assert tracemalloc.get_traced_memory()[1] < 2 * image.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(256, 256), (300, 400), (1000, 90), (61, 900), (1, 5000)])
def test_the_box_is_what_the_crop_keeps(shape):
    """Cropping to the box and resizing gives nearly the same as the crop."""
    x, y, width, height = center_crop_box(*shape, 256, 224)
    assert x + width / 2 == pytest.approx(shape[1] / 2, abs=max(1, 0.01 * min(shape)))
    assert y + height / 2 == pytest.approx(shape[0] / 2, abs=max(1, 0.01 * min(shape)))
    assert max(width, height) == pytest.approx(min(shape) * 224 / 256, rel=0.01)
    image = np.dstack([np.add.outer(np.linspace(0, 90, shape[0]), np.linspace(0, 90, shape[1]))] * 3).astype(
        np.uint8
    )
    part = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR, box=(x, y, x + width, y + height))
    assert grey_levels(np.asarray(part), resize_center_crop(image, 256, 224, "bilinear")) <= 3


def test_normalise_is_its_formula_bit_for_bit():
    image, mean, std = noise(30, 40), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = (image.astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)
    np.testing.assert_array_equal(normalise(image, mean, std), expected.transpose(2, 0, 1))
    out = np.empty((3, 30, 40), dtype=np.float32)
    assert normalise(image, mean, std, out) is out
    np.testing.assert_array_equal(out, expected.transpose(2, 0, 1))


def test_normalise():
    image = np.zeros((2, 5, 3), dtype=np.uint8)
    image[0, 1] = 255, 128, 0
    planes = normalise(image, (0.5, 0.25, 0.0), (0.5, 0.5, 2.0))
    assert planes.shape == (3, 2, 5)
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    np.testing.assert_allclose(planes[:, 0, 1], [1.0, (128 / 255 - 0.25) / 0.5, 0.0], rtol=1e-6)
    np.testing.assert_allclose(planes[:, 1, 4], [-1.0, -0.5, 0.0], rtol=1e-6)
    assert not image[1].any(), "the input is not changed"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 50), (100, 50)),
        ((256, 256), (256, 256)),
        ((512, 1024), (128, 256)),
        ((2000, 3), (2000, 3)),
        ((3000, 100), (3000, 100)),
        ((900, 30_000), (128, 4267)),
        ((100, 80_000), (10, 8192)),
        ((1, 1), (1, 1)),
    ],
)
def test_thumbnail_sizes(size, expected):
    encoded = thumbnail(noise(*size))
    with Image.open(io.BytesIO(encoded)) as opened:
        assert opened.format == "JPEG"
        assert opened.size == expected[::-1]


def test_a_thumbnail_looks_like_the_picture():
    image = np.zeros((600, 900, 3), dtype=np.uint8)
    image[:, :450] = 250, 10, 10
    image[:, 450:] = 10, 10, 250
    with Image.open(io.BytesIO(thumbnail(image, side=90, quality=95))) as opened:
        small = np.asarray(opened).astype(int)
    assert small.shape == (60, 90, 3)
    assert np.abs(small[30, 20] - [250, 10, 10]).max() < 8
    assert np.abs(small[30, 70] - [10, 10, 250]).max() < 8


def test_each_pixel_of_a_thumbnail_is_the_mean_of_its_area():
    image = noise(400, 800) // 8 + 110  # without the contrasts that JPEG blurs
    with Image.open(io.BytesIO(thumbnail(image, side=100, quality=95))) as opened:
        small = np.asarray(opened.convert("L")).astype(float)
    means = image.mean(axis=2).reshape(50, 8, 100, 8).mean(axis=(1, 3))
    assert np.abs(small - means).mean() < 1.5


def test_quality_makes_thumbnails_larger():
    image = noise(300, 300)
    assert len(thumbnail(image, quality=90)) > len(thumbnail(image, quality=40))

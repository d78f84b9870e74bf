"""The native kernels, compared with their definition in NumPy, and that with OpenCV."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.kernels import mutual_nn, pixels, pixels_numpy
from imagefinder.testing.extractors import textured_image

try:
    from imagefinder.kernels import _native
except ImportError:
    _native = None

needs_native = pytest.mark.skipif(_native is None, reason="the package was built without a compiler")

FIT = {"ridge": 1e-5, "kept": 0.7, "fits": 6}
EDGES = {"strong": 6.0, "weak": 2.1, "like": 0.7, "cell": 6}


def grey(seed, height=90, width=120):
    image = cv2.cvtColor(textured_image(seed, height, width), cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.2)


def moved(image, dx, dy):
    matrix = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64)
    return cv2.warpAffine(image, matrix, image.shape[::-1], borderMode=cv2.BORDER_REPLICATE)


def corners_of(image, block, step):
    ys, xs = np.mgrid[0 : image.shape[0] - block + 1 : step, 0 : image.shape[1] - block + 1 : step]
    return np.stack([xs.reshape(-1), ys.reshape(-1)], axis=1)


def centres_of(image, side, step):
    ys, xs = np.mgrid[side // 2 : image.shape[0] : step, side // 2 : image.shape[1] : step]
    return np.stack([ys.reshape(-1), xs.reshape(-1)], axis=1)


# -- displacements -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("block", "radius"), [(24, 5), (28, 4), (3, 1), (9, 7), (12, 0), (90, 5)])
def test_displacements_equal_the_definition(block, radius):
    one = grey(1)
    other = moved(one, 2.3, -1.6) * 0.9 + 11
    corners = corners_of(one, block, 7)
    found = pixels.displacements(one, other, corners, block, radius)
    np.testing.assert_allclose(found, pixels_numpy.displacements(one, other, corners, block, radius), atol=1e-6)
    assert found.shape == (len(corners), 3)


def test_displacements_have_the_scores_of_opencv():
    one, other = grey(1), grey(2)
    for x, y in corners_of(one, 24, 31).tolist():
        left, top = max(0, x - 5), max(0, y - 5)
        area = other[top : y + 29, left : x + 29]
        scores = cv2.matchTemplate(area, one[y : y + 24, x : x + 24], cv2.TM_CCOEFF_NORMED)
        row, column = divmod(int(scores.argmax()), scores.shape[1])
        dx, dy, score = pixels.displacements(one, other, np.array([[x, y]]), 24, 5)[0].tolist()
        assert score == pytest.approx(float(scores[row, column]), abs=1e-6)
        assert (round(dx + x - left - column), round(dy + y - top - row)) == (0, 0)


def test_displacements_are_found_to_a_fraction_of_a_pixel():
    one = grey(3)
    inner = corners_of(one, 24, 10)
    inner = inner[((inner > 8) & (inner + 24 < (112, 82))).all(axis=1)]
    found = pixels.displacements(one, moved(one, 2.3, -1.6), inner, 24, 5)
    np.testing.assert_allclose(np.median(found[:, :2], axis=0), (2.3, -1.6), atol=0.1)
    assert found[:, 2].min() > 0.95


@pytest.mark.parametrize("values", [(0.0, 0.0), (200.0, 17.0), (1e-3, 1e4)])
def test_displacements_of_blocks_without_texture(values):
    one, other = (np.full((40, 50), value, np.float32) for value in values)
    corners = corners_of(one, 12, 9)
    for sides in ((one, other), (grey(1, 40, 50), other), (one, grey(1, 40, 50))):
        found = pixels.displacements(*sides, corners, 12, 3)
        np.testing.assert_allclose(found, pixels_numpy.displacements(*sides, corners, 12, 3), atol=1e-6)


# -- colours -------------------------------------------------------------------------------------------------


def pixels_of(seed, count):
    generator = np.random.default_rng(seed)
    rgb = generator.integers(0, 256, (count, 3), dtype=np.uint8)
    values = (rgb @ np.array([0.3, 0.5, 0.2]) + generator.normal(0, 2, count)).astype(np.float32)
    values[: count // 5] = generator.uniform(0, 255, count // 5)
    return rgb, values


@pytest.mark.parametrize("number", [1, 16, 256])
def test_pixels_by_level_equal_the_definition(number):
    generator = np.random.default_rng(number)
    levels = generator.integers(0, min(256, number + 2), (31, 43), dtype=np.uint8)
    for inside in (generator.random(levels.shape) < 0.6, np.zeros(levels.shape, dtype=bool)):
        found = pixels.by_level(levels, inside, number)
        assert [some.tolist() for some in found] == [
            some.tolist() for some in pixels_numpy.by_level(levels, inside, number)
        ]
        assert [some.dtype for some in found] == [np.int64] * number


@pytest.mark.parametrize("count", [1, 2, 9, 200, 1003, 6400])
def test_fits_equal_the_definition(count):
    rgb, values = pixels_of(count, count)
    found = pixels.fit_colours(rgb, values, **FIT)
    np.testing.assert_allclose(found, pixels_numpy.fit_colours(rgb, values, **FIT), rtol=1e-6, atol=1e-6)


def test_fits_ignore_pixels_that_do_not_follow():
    rgb, values = pixels_of(5, 4000)
    coefficients = pixels.fit_colours(rgb, values, **FIT)
    grey_levels = pixels.map_colours(rgb[None], coefficients, (-64.0, 320.0))[0]
    assert np.median(np.abs(grey_levels - rgb @ np.array([0.3, 0.5, 0.2]))) < 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_there_is_no_fit_to_values_that_are_not_finite(value):
    rgb, values = pixels_of(6, 900)
    values[77] = value
    assert pixels.fit_colours(rgb, values, **FIT) is None
    with np.errstate(invalid="ignore"):
        assert pixels_numpy.fit_colours(rgb, values, **FIT) is None


@pytest.mark.parametrize("level", [0, 128, 255])
def test_fits_to_one_colour(level):
    rgb, values = np.full((300, 3), level, np.uint8), np.full(300, 77, np.float32)
    found = pixels.fit_colours(rgb, values, **FIT)
    assert pixels.map_colours(rgb[None], found, (-64.0, 320.0))[0] == pytest.approx(77, abs=1e-2)
    np.testing.assert_allclose(found, pixels_numpy.fit_colours(rgb, values, **FIT), rtol=1e-6, atol=1e-6)


@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([1, 64, 255]))
@settings(max_examples=40, deadline=None)
def test_fits_of_few_and_equal_pixels(seed, count, step):
    generator = np.random.default_rng(seed)
    rgb = (generator.integers(0, 256, (count, 3)) // step * step).astype(np.uint8)
    values = (generator.integers(0, 256, count) // step * step).astype(np.float32)
    # With equal residuals, rounding decides which pixels the next fit uses; a single fit has no such choice.
    options = {**FIT, "fits": 1}
    ours, twin = (kernel.fit_colours(rgb, values, **options) for kernel in (pixels, pixels_numpy))
    np.testing.assert_allclose(ours, twin, rtol=1e-5, atol=1e-5)


def test_mapped_colours_equal_the_definition():
    image = np.random.default_rng(4).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    coefficients = np.random.default_rng(0).normal(100, 400, 10)
    found = pixels.map_colours(image, coefficients, (-64.0, 320.0))
    np.testing.assert_array_equal(found, pixels_numpy.map_colours(image, coefficients, (-64.0, 320.0)))
    assert found.dtype == np.float32
    assert (found.min(), found.max()) == (-64, 320)


# -- correlation and windows ---------------------------------------------------------------------------------


def test_correlation_equals_the_definition():
    one, other = grey(1), moved(grey(1), 1.2, 0.4)
    inside = np.random.default_rng(0).random(one.shape) < 0.6
    found = pixels.correlation(one, other, inside)
    assert found == pytest.approx(pixels_numpy.correlation(one, other, inside), abs=1e-9)
    assert found == pytest.approx(np.corrcoef(one[inside], other[inside])[0, 1], abs=1e-6)
    assert pixels.correlation(one, one, inside) == pytest.approx(1)
    assert pixels.correlation(one, 255 - one, inside) == pytest.approx(-1)
    assert pixels.correlation(one, other, np.zeros_like(inside)) == -1
    assert pixels.correlation(one, np.ones_like(one), inside) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("side", "reach", "step"), [(15, 3, 7), (5, 3, 2), (9, 0, 4), (7, 6, 5), (41, 3, 20)])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.0, -1.0), (0.4, 0.7)])
def test_windows_equal_the_definition(side, reach, step, shift):
    one = grey(6)
    other = moved(one, *shift)
    one[:30, :40] = 99  # without texture
    centres = centres_of(one, side, step)
    found, twin = (
        kernel.windows(one, other, centres, side=side, reach=reach, flat=20.0) for kernel in (pixels, pixels_numpy)
    )
    np.testing.assert_allclose(found, twin, rtol=1e-5, atol=1e-4)
    if reach >= 3 and shift == (2.0, -1.0):
        assert np.median(found[found[:, 1] >= 20, 3]) == pytest.approx(np.hypot(*shift))


def test_windows_have_the_means_of_opencv():
    one, other = grey(6), moved(grey(6), 1.0, 1.0)
    here, variance, _, _ = pixels.windows(one, other, centres_of(one, 9, 4), side=9, reach=0, flat=20.0).T

    def means(values):
        return cv2.blur(values, (9, 9), borderType=cv2.BORDER_REFLECT)[4::4, 4::4].reshape(-1)

    a, b = (means(image * image) - means(image) ** 2 for image in (one, other))
    covariance = means(one * other) - means(one) * means(other)
    np.testing.assert_allclose(here, covariance / (np.sqrt(a * b) + np.float32(1e-3)), atol=1e-5)
    np.testing.assert_allclose(variance, np.minimum(a, b), rtol=1e-4, atol=1e-2)


# -- agreement -----------------------------------------------------------------------------------------------

ALIKE = {"side": 16, "texture": 0.05, "least": 0.6}


@pytest.mark.parametrize("side", [1, 2, 15, 16, 60])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.5, 0.5), (9.0, 4.0)])
def test_alike_windows_equal_the_definition(side, shift):
    one = grey(11)
    other = moved(one, *shift)
    other[50:] = 40 + 0.1 * grey(12)[50:]
    inside = np.ones(one.shape, dtype=bool)
    inside[:, 70:] = np.random.default_rng(0).random((90, 50)) < 0.7
    for mask in (inside, ~inside, inside & (np.arange(120) < 5)):
        found, twin = (
            kernel.alike(one, other, mask, **{**ALIKE, "side": side}) for kernel in (pixels, pixels_numpy)
        )
        assert found == twin
    assert pixels.alike(one, other, np.zeros_like(inside), **ALIKE) == (0, 0)


def test_alike_windows_have_the_sums_of_opencv():
    one, other = grey(11), moved(grey(11), 2.0, 1.0)
    inside = np.arange(120) + 0 * one < 100

    def sums(values):
        size = (16, 16)
        return cv2.boxFilter(values * inside, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)

    counts = np.maximum(sums(np.ones_like(one)), 1)
    compared = inside & (counts >= 128)
    means = [sums(image) / counts for image in (one, other)]
    a, b = (
        np.maximum(sums(image * image) / counts - mean * mean, 0)
        for image, mean in zip((one, other), means, strict=True)
    )
    textured = np.maximum(a / (a[compared].mean() + 1), b / (b[compared].mean() + 1))[compared] > 0.05
    correlations = (sums(one * other) / counts - means[0] * means[1]) / (np.sqrt(a * b) + 1e-3)
    alike = np.count_nonzero(correlations[compared][textured] > 0.6)
    assert pixels.alike(one, other, inside, **ALIKE) == (np.count_nonzero(textured), alike)
    assert 1000 < alike < np.count_nonzero(textured)


# -- edges ---------------------------------------------------------------------------------------------------


def gradients(image):
    x, y = cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=1 / 8)
    return x, y, cv2.magnitude(x, y)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.6, 0.3), (5.0, 2.0)])
def test_unexplained_edges_equal_the_definition(shift):
    one = grey(7)
    sides = gradients(one), gradients(moved(one, *shift))
    inside = np.ones(one.shape, dtype=bool)
    inside[:, :10] = False
    found = pixels.unexplained(*sides, inside, **EDGES)
    np.testing.assert_array_equal(found, pixels_numpy.unexplained(*sides, inside, **EDGES))
    assert found.shape == (15, 20)
    assert (found.sum() > 20) == (shift == (5.0, 2.0))  # a pixel is tolerated
    assert not found[:, 0].any()


def test_an_edge_of_another_direction_explains_nothing():
    one = np.zeros((24, 24), np.float32)
    one[:, 12:] = 200
    sides = gradients(one), gradients(one.T.copy())
    assert pixels.unexplained(*sides, np.ones(one.shape, dtype=bool), **EDGES).sum() > 20


# -- all -----------------------------------------------------------------------------------------------------


@needs_native
def test_every_processor_gives_the_same_sums():
    one, other = grey(8), moved(grey(8), 1.3, 0.8)
    for block, radius in ((24, 5), (11, 8)):
        corners = corners_of(one, block, 6)
        found = [np.empty((len(corners), 3)) for _ in range(2)]
        for plain, to in enumerate(found):
            _native.displacements(one, other, corners, to, block, radius, bool(plain))
        np.testing.assert_array_equal(*found)
    for side, reach in ((15, 3), (9, 7)):
        centres = centres_of(one, side, 4)
        found = [np.empty((len(centres), 4), np.float32) for _ in range(2)]
        for plain, to in enumerate(found):
            _native.windows(one, other, centres, to, side, reach, 20.0, bool(plain))
        np.testing.assert_array_equal(*found)


def test_without_the_native_kernel_numpy_computes(monkeypatch):
    monkeypatch.setattr(pixels, "backend", lambda: "numpy")
    assert mutual_nn.backend is not pixels.backend
    one = grey(9)
    assert pixels.correlation(one, one, np.ones(one.shape, dtype=bool)) == pytest.approx(1)
    assert pixels.displacements(one, one, np.array([[3, 4]]), 24, 5)[0].tolist() == pytest.approx(
        [0, 0, 1], abs=0.1
    )
    assert pixels.windows(one, one, np.array([[20, 20]]), side=9, reach=3, flat=1.0)[0, 3] == 0
    assert pixels.unexplained(gradients(one), gradients(one), one > 0, **EDGES).sum() == 0
    assert len(set(pixels.alike(one, one, one > 0, **ALIKE))) == 1
    rgb, values = pixels_of(3, 500)
    assert pixels.map_colours(rgb[None], pixels.fit_colours(rgb, values, **FIT), (-64.0, 320.0)).shape == (1, 500)


@needs_native
@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (67, 0), (0, 37)])
def test_blocks_outside_the_image_are_refused(corner):
    one = grey(1, 60, 90)
    with pytest.raises(ValueError, match="outside"):
        pixels.displacements(one, one, np.array([corner]), 24, 5)


@needs_native
@pytest.mark.parametrize("centre", [(3, 10), (10, 3), (60, 10), (10, 90)])
def test_windows_outside_the_image_are_refused(centre):
    one = grey(1, 60, 90)
    with pytest.raises(ValueError, match="outside"):
        pixels.windows(one, one, np.array([centre]), side=9, reach=3, flat=20.0)


@needs_native
def test_arrays_that_do_not_belong_together_are_refused():
    one, inside = grey(1, 60, 90), np.ones((60, 90), dtype=bool)
    with pytest.raises(ValueError, match="of one size"):
        pixels.displacements(one, one[1:], np.array([[0, 0]]), 24, 5)
    with pytest.raises(ValueError, match="invalid"):
        pixels.displacements(one, one, np.array([[0, 0]]), 61, 5)
    with pytest.raises(ValueError, match="invalid"):
        pixels.windows(one, one, np.array([[9, 9]]), side=9, reach=32, flat=20.0)
    with pytest.raises(ValueError, match="of one size"):
        pixels.correlation(one, one, inside[1:])
    with pytest.raises(ValueError, match="of one size"):
        pixels.alike(one, one, inside[1:], **ALIKE)
    with pytest.raises(ValueError, match="belong together"):
        pixels.by_level(np.zeros((3, 3), np.uint8), inside, 16)
    with pytest.raises(ValueError, match="side"):
        pixels.alike(one, one, inside, **{**ALIKE, "side": 0})
    with pytest.raises(ValueError, match="of one size"):
        pixels.unexplained((one, one, one), (one, one, one[1:]), inside, **EDGES)
    with pytest.raises(ValueError, match="float32"):
        pixels.fit_colours(np.zeros((3, 3), np.uint8), np.zeros(2, np.float32), **FIT)
    with pytest.raises(ValueError, match="belong together"):
        pixels.map_colours(np.zeros((3, 3, 3), np.uint8), np.zeros(9), (0.0, 1.0))

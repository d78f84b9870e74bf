import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from imagefinder.core.results import Evidence
from imagefinder.testing.extractors import textured_image
from imagefinder.verification.photometry import WindowedPhotometricCheck, _lower_bound

FRAME = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0))


def registered(rows):
    transform = tuple(tuple(float(value) for value in row) for row in rows)
    return Evidence(9, 9, "similarity", transform, False, FRAME, FRAME, 1.0, 1.0)


IDENTITY = registered(np.eye(3))


def picture(seed=1, height=240, width=320):
    return textured_image(seed, height, width)


def size(image):
    return image.shape[1], image.shape[0]


def agreement(query, candidate, how=IDENTITY, query_size=None, candidate_size=None):
    return WindowedPhotometricCheck().agreement(
        query, query_size or size(query), candidate, candidate_size or size(candidate), how
    )


def filtered(image, what):
    return np.asarray(Image.fromarray(image).filter(what))


def test_the_same_image_agrees_and_another_does_not():
    assert agreement(picture(1), picture(1)) > 0.99
    assert agreement(picture(1), picture(2)) < 0.3


@pytest.mark.parametrize(
    "edit",
    [
        lambda image: filtered(image, ImageFilter.GaussianBlur(2)),
        lambda image: (image * 0.5 + 60).astype(np.uint8),
        lambda image: np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8),
    ],
)
def test_blur_contrast_and_grey_change_little(edit):
    assert agreement(edit(picture(1)), picture(1)) > 0.75


def test_a_negative_does_not_agree():
    assert agreement(255 - picture(1), picture(1)) < 0.1


def test_an_overlay_costs_the_area_it_covers():
    covered = picture(1).copy()
    covered[60:120] = picture(7)[60:120]
    assert 0.5 < agreement(covered, picture(1)) < 0.85


def test_a_crop_is_compared_at_its_position():
    crop = picture(1)[40:200, 60:300]
    assert agreement(crop, picture(1), registered([[1, 0, 60], [0, 1, 40], [0, 0, 1]])) > 0.8
    assert agreement(crop, picture(1), registered([[1, 0, 20], [0, 1, 40], [0, 0, 1]])) < 0.4


def test_an_image_within_a_larger_one():
    page = picture(5, 600, 800)
    page[100:340, 200:520] = picture(1)
    assert agreement(page, picture(1), registered([[1, 0, -200], [0, 1, -100], [0, 0, 1]])) > 0.95


def test_mirrored():
    how = registered([[-1, 0, 319], [0, 1, 0], [0, 0, 1]])
    assert agreement(picture(1)[:, ::-1], picture(1), how) > 0.99


def test_downscaled_versions_represent_the_whole_image():
    whole = picture(1, 480, 640)
    small = np.asarray(Image.fromarray(whole).resize((256, 192), Image.Resampling.LANCZOS))
    crop = whole[100:400, 200:600]
    how = registered([[1, 0, 200], [0, 1, 100], [0, 0, 1]])
    assert agreement(crop, small, how, candidate_size=(640, 480)) > 0.8
    reduced = np.asarray(Image.fromarray(crop).resize((200, 150), Image.Resampling.LANCZOS))
    assert agreement(reduced, small, how, query_size=(400, 300), candidate_size=(640, 480)) > 0.7


def test_too_little_to_compare():
    assert agreement(picture(1), picture(1), registered([[1, 0, 316], [0, 1, 0], [0, 0, 1]])) is None
    flat = np.full((240, 320, 3), 200, np.uint8)
    assert agreement(flat, flat) is None
    assert agreement(picture(1), picture(1), registered([[1, 0, 9999], [0, 1, 0], [0, 0, 1]])) is None


def test_few_windows_give_a_lower_bound():
    assert _lower_bound(1.0, 10) == pytest.approx(10 / 11)
    assert _lower_bound(1.0, 1000) > 0.99
    assert _lower_bound(0.0, 50) == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-3, 3), min_size=8, max_size=8),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_any_transform_and_size_gives_a_fraction_or_none(numbers, height, width):
    a, b, c, d, e, f, g, h = numbers
    how = registered([[a, b, 20 * c], [d, e, 20 * f], [g / 100, h / 100, 1]])
    found = agreement(picture(1, height, width), picture(2, 60, 50), how)
    assert found is None or 0 <= found <= 1


@pytest.mark.parametrize(("height", "width"), [(5, 256), (256, 5), (7, 200)])
def test_a_narrow_strip_is_not_compared(height, width):
    assert agreement(picture(1, height, width), picture(1, height, width)) is None


@pytest.mark.parametrize("upright", [False, True])
def test_a_part_of_an_elongated_image_is_compared_at_the_size_of_the_part(upright):
    parts = [picture(seed, 200, 240) for seed in range(30)]
    strip = np.concatenate(parts, axis=1)  # 7200 x 200
    shift = np.array([[1, 0, 20 * 240], [0, 1, 0], [0, 0, 1]])
    part, other = parts[20], picture(99, 200, 240)
    if upright:
        strip, part, other = (np.ascontiguousarray(image.transpose(1, 0, 2)) for image in (strip, part, other))
        shift = np.array([[1, 0, 0], [0, 1, 20 * 240], [0, 0, 1]])
    assert agreement(part, strip, registered(shift)) > 0.9
    assert agreement(strip, part, registered(np.linalg.inv(shift))) > 0.9
    assert agreement(other, strip, registered(shift)) < 0.3
    assert agreement(strip, strip[::-1] if upright else strip[:, ::-1]) < 0.3
    assert agreement(strip, strip) > 0.9
    small = np.asarray(Image.fromarray(strip).resize((strip.shape[1] // 4, strip.shape[0] // 4)))
    assert agreement(part, small, registered(shift), candidate_size=size(strip)) > 0.7


def test_an_elongated_image_without_overlap():
    strip = np.concatenate([picture(seed, 60, 80) for seed in range(12)], axis=1)
    far = registered(np.array([[1, 0, 10_000], [0, 1, 0], [0, 0, 1]]))
    assert agreement(picture(3, 60, 80), strip, far) is None

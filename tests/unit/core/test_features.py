import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.core.features import (
    FeatureSpec,
    GlobalFeatures,
    LocalFeatures,
    concatenate,
    empty,
    is_patch,
    patch_cell,
)
from imagefinder.testing.matchers import random_features

SPECS = [FeatureSpec("global", 6, "float32"), FeatureSpec("local", 5, "uint8"), FeatureSpec("local", 4, "float32")]


@pytest.mark.parametrize("spec", SPECS)
@given(counts=st.lists(st.integers(0, 4), max_size=6))
def test_split_and_join_gives_the_same(spec, counts):
    features = random_features(spec, counts)
    assert len(features) == len(counts)
    joined = concatenate(spec, [features.image(index) for index in range(len(counts))])
    assert len(joined) == len(counts)
    if spec.kind == "global":
        np.testing.assert_array_equal(joined.vectors, features.vectors)
    else:
        np.testing.assert_array_equal(joined.descriptors, features.descriptors)
        np.testing.assert_array_equal(joined.keypoints, features.keypoints)
        np.testing.assert_array_equal(joined.offsets, features.offsets)


@pytest.mark.parametrize("spec", SPECS)
def test_empty_features_have_the_spec_and_no_images(spec):
    assert len(empty(spec)) == 0
    assert empty(spec).spec() == spec
    assert concatenate(spec, []).spec() == spec


def test_features_of_other_specs_are_not_concatenated():
    with pytest.raises(ValueError, match="cannot concatenate"):
        concatenate(SPECS[1], [random_features(SPECS[2], [1])])


@pytest.mark.parametrize(
    ("descriptors", "keypoints", "offsets"),
    [
        (np.zeros((2, 3), np.float64), np.zeros((2, 4), np.float32), [0, 2]),
        (np.zeros((2, 3), np.uint8), np.zeros((1, 4), np.float32), [0, 2]),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 4), np.float64), [0, 2]),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 4), np.float32), [0, 1]),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 4), np.float32), [1, 2]),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 4), np.float32), [0, 2, 1, 2]),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 4), np.float32), []),
    ],
)
def test_local_arrays_must_be_consistent(descriptors, keypoints, offsets):
    with pytest.raises(ValueError, match=r"descriptors|keypoints|offsets"):
        LocalFeatures(descriptors, keypoints, np.array(offsets, np.int64))


@pytest.mark.parametrize("vectors", [np.zeros(3, np.float32), np.zeros((1, 3), np.float64)])
def test_vectors_must_be_float32_rows(vectors):
    with pytest.raises(ValueError, match="vectors"):
        GlobalFeatures(vectors)


def grid(columns, rows, width, height):
    """Keypoints of a class token, which represents the whole image, followed by those of a grid of patch
    tokens."""
    places = [
        (
            (c + 0.5) * width / columns - 0.5,
            (r + 0.5) * height / rows - 0.5,
            (width + height) / (columns + rows),
            -1,
        )
        for r in range(rows)
        for c in range(columns)
    ]
    return np.array([((width - 1) / 2, (height - 1) / 2, max(width, height), -1), *places], dtype=np.float32)


@pytest.mark.parametrize(("columns", "rows"), [(14, 14), (7, 7), (2, 2), (5, 9)])
@pytest.mark.parametrize("size", [(224, 224), (4000, 3000), (300, 100), (37, 53)])
def test_the_cell_of_a_grid_of_tokens(columns, rows, size):
    keypoints = grid(columns, rows, *size)
    assert is_patch(keypoints, size).tolist() == [False] + [True] * (columns * rows)
    assert patch_cell(keypoints, size) == pytest.approx((size[0] / columns, size[1] / rows), rel=1e-3)


def test_keypoints_are_not_tokens():
    keypoints = np.array([(10, 10, 4, 90), (30, 10, 0, -1)], dtype=np.float32)
    assert not is_patch(keypoints, (100, 100)).any()
    assert patch_cell(keypoints, (100, 100)) == (0, 0)
    assert patch_cell(keypoints[:0], (100, 100)) == (0, 0)

import numpy as np
import pytest

from imagefinder.ann.codec import check_shapes
from imagefinder.ann.hamming_embedding import HammingEmbedding
from imagefinder.ann.ivf_sq8 import IvfSq8
from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures


def trained(kind):
    rng = np.random.default_rng(0)
    if kind == "local":
        spec = FeatureSpec("local", 16, "uint8")
        rows = rng.integers(0, 255, (60, 16), dtype=np.uint8)
        sample = LocalFeatures(rows, np.zeros((60, 4), np.float32), np.array([0, 60], np.int64))
        return HammingEmbedding(spec), HammingEmbedding(spec).train(sample, 1, 60)
    spec = FeatureSpec("global", 16, "float32")
    sample = GlobalFeatures(rng.standard_normal((60, 16)).astype(np.float32))
    return IvfSq8(spec), IvfSq8(spec).train(sample, 60, 60)


@pytest.mark.parametrize("kind", ["local", "global"])
def test_a_trained_model_is_sound(kind):
    codec, model = trained(kind)
    codec.check(model)


@pytest.mark.parametrize("kind", ["local", "global"])
def test_a_model_without_one_of_its_arrays_is_refused(kind):
    codec, model = trained(kind)
    for name in model:
        with pytest.raises(ValueError, match="arrays"):
            codec.check({key: value for key, value in model.items() if key != name})


@pytest.mark.parametrize("kind", ["local", "global"])
def test_a_model_with_an_array_of_another_shape_or_dtype_is_refused(kind):
    codec, model = trained(kind)
    for name, array in model.items():
        for changed in (array[:-1], array[..., None], array.astype(np.float64), array[:0]):
            with pytest.raises(ValueError, match="model"):
                codec.check({**model, name: changed})


def test_equal_letters_are_equal_sizes():
    a, b = np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32)
    check_shapes({"a": a, "b": b}, {"a": "XY", "b": "YX"}, {"X": 2})
    with pytest.raises(ValueError, match="shape"):
        check_shapes({"a": a, "b": b}, {"a": "XY", "b": "XY"}, {})
    with pytest.raises(ValueError, match="shape"):
        check_shapes({"a": a, "b": b}, {"a": "XY", "b": "YX"}, {"X": 3})

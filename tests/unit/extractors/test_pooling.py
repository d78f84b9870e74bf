from dataclasses import replace

import numpy as np
import pytest

from imagefinder.core.errors import ModelError
from imagefinder.core.features import FeatureSpec
from imagefinder.extractors.pooling import pool
from imagefinder.models.catalogue import MODELS, Output

MAP = np.random.default_rng(1).uniform(0, 2, (2, 4, 3, 5)).astype(np.float32)
TOKENS = np.random.default_rng(2).normal(size=(2, 6, 4)).astype(np.float32)


def pooled(output, **how):
    linear = how.pop("linear", None)
    dim = how.pop("dim", 4)
    model = replace(
        MODELS["resnet50"], name="m", output=Output(**how), features=FeatureSpec("global", dim, "float32")
    )
    return pool(output, model, linear)


def test_vectors_and_tokens():
    np.testing.assert_array_equal(pooled(TOKENS[:, 0], pool="vector"), TOKENS[:, 0])
    np.testing.assert_array_equal(pooled(TOKENS, pool="class token"), TOKENS[:, 0])
    np.testing.assert_array_equal(pooled(TOKENS, pool="tokens", skip=2), TOKENS[:, 2:])
    np.testing.assert_allclose(
        pooled(TOKENS, pool="mean of tokens", skip=1), TOKENS[:, 1:].sum(axis=1) / 5, rtol=1e-5
    )


def test_maps():
    np.testing.assert_allclose(pooled(MAP, pool="mean of map"), MAP.reshape(2, 4, 15).mean(axis=2), rtol=1e-5)
    slow = np.array([[(sum(float(v) ** 3 for v in c.ravel()) / 15) ** (1 / 3) for c in one] for one in MAP])
    np.testing.assert_allclose(pooled(MAP, pool="GeM of map"), slow, rtol=1e-5)
    np.testing.assert_allclose(
        pooled(MAP, pool="GeM of map", power=1.0), pooled(MAP, pool="mean of map"), rtol=1e-5
    )


def test_a_linear_layer():
    weight, bias = np.arange(8, dtype=np.float32).reshape(2, 4), np.array([1, -1], dtype=np.float32)
    found = pooled(MAP, pool="mean of map", dim=2, linear=(weight, bias))
    np.testing.assert_allclose(found, MAP.mean(axis=(2, 3)) @ weight.T + bias, rtol=1e-5)
    with pytest.raises(ModelError, match=r"the linear layer has \(2, 4\) weights"):
        pooled(MAP, pool="mean of map", dim=3, linear=(weight, bias))


@pytest.mark.parametrize(
    ("output", "how", "message"),
    [
        (MAP, {"pool": "vector"}, r"\(2, 4, 3, 5\).*\(images, dimensions\)"),
        (TOKENS, {"pool": "mean of map"}, r"\(2, 6, 4\).*rows, columns"),
        (TOKENS, {"pool": "class token", "dim": 5}, "dim = 5"),
        (TOKENS, {"pool": "tokens", "skip": 6}, "skip = 6 leaves no tokens"),
    ],
)
def test_an_output_that_does_not_fit_its_description(output, how, message):
    with pytest.raises(ModelError, match=message) as error:
        pooled(output, **how)
    assert "models show m" in error.value.hint

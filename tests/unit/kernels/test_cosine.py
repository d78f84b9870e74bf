import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imagefinder.kernels.cosine import cosine

# Features have ordinary magnitudes; products of the smallest float32 numbers would underflow.
numbers = st.floats(-1e3, 1e3, width=32).map(lambda x: x if abs(x) > 1e-6 else 0.0)


def slow_cosine(a, b):
    dot = math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    norm = math.sqrt(math.fsum(float(x) ** 2 for x in a)) * math.sqrt(math.fsum(float(x) ** 2 for x in b))
    return dot / norm if norm > 0 else 0.0


@given(arrays(np.float32, 5, elements=numbers), arrays(np.float32, (4, 5), elements=numbers))
def test_equals_the_definition(query, gallery):
    scores = cosine(query, gallery)
    assert scores.dtype == np.float64
    for score, vector in zip(scores, gallery, strict=True):
        assert math.isclose(score, slow_cosine(query, vector), abs_tol=1e-5)


def test_zero_vectors_score_zero():
    zero, one = np.zeros(3, np.float32), np.ones((1, 3), np.float32)
    assert cosine(zero, one).tolist() == [0.0]
    assert cosine(one[0], zero[None]).tolist() == [0.0]
    assert cosine(one[0], np.empty((0, 3), np.float32)).shape == (0,)


def test_same_direction_is_one_and_opposite_minus_one():
    vector = np.array([3, 4, 0], np.float32)
    np.testing.assert_allclose(cosine(vector, np.stack([vector * 7, -vector])), [1, -1], rtol=1e-7)

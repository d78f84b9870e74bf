"""Quantiles equal those of NumPy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.kernels.quantiles import quantiles


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
def test_equal_to_numpy(values, shares):
    assert quantiles(values, tuple(shares)) == pytest.approx(np.quantile(values, shares).tolist(), abs=1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_equal_to_percentiles_of_pixels(dtype):
    pixels = np.random.default_rng(3).integers(0, 256, (37, 41)).astype(dtype)
    assert quantiles(pixels, (0.03, 0.97)) == np.percentile(pixels, (3, 97)).tolist()


def test_import_no_masked_arrays():
    code = (
        "import sys; from imagefinder.kernels.quantiles import quantiles; quantiles([1.0, 2.0], (0.5,));"
        "sys.exit('numpy.ma' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

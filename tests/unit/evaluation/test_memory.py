import sys

import numpy as np
import pytest

from imagefinder.evaluation.memory import forget_peak, peak_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="only there a peak can be forgotten")
def test_a_peak_is_that_since_it_was_forgotten():
    forget_peak()
    before = peak_bytes()
    much = np.ones(50_000_000, dtype=np.uint8)
    assert peak_bytes() - before > 40_000_000
    del much
    with_it = peak_bytes()
    forget_peak()
    assert peak_bytes() <= with_it


def test_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr("imagefinder.evaluation.memory._STATUS", tmp_path / "none")
    monkeypatch.setattr("imagefinder.evaluation.memory._CLEAR", tmp_path / "none" / "none")
    forget_peak()
    if sys.platform != "win32":
        assert peak_bytes() > 10_000_000

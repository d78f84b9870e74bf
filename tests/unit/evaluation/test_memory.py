import subprocess
import sys

import pytest

from imagefinder.evaluation.memory import forget_peak, peak_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="only there a peak can be forgotten")
def test_a_peak_is_that_since_it_was_forgotten():
    # In a process of its own: this one may have held more before, and not every system forgets peaks.
    code = (
        "import numpy as np; from imagefinder.evaluation.memory import forget_peak, peak_bytes; forget_peak();"
        "before = peak_bytes(); much = np.ones(50_000_000, dtype=np.uint8); with_it = peak_bytes(); del much;"
        "forget_peak(); print(with_it - before > 40_000_000, peak_bytes() <= with_it)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr("imagefinder.evaluation.memory._STATUS", tmp_path / "none")
    monkeypatch.setattr("imagefinder.evaluation.memory._CLEAR", tmp_path / "none" / "none")
    forget_peak()
    if sys.platform != "win32":
        assert peak_bytes() > 10_000_000

import subprocess
import sys

import pytest

from imagefinder.evaluation.memory import peak_bytes, reset_peak


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_the_peak_counts_from_the_last_reset():
    # In a separate process: this one may have used more memory before.
    code = (
        "import numpy as np; from imagefinder.evaluation.memory import reset_peak, peak_bytes; reset_peak();"
        "before = peak_bytes(); much = np.ones(50_000_000, dtype=np.uint8); with_it = peak_bytes(); del much;"
        "reset_peak(); print(with_it - before > 40_000_000, peak_bytes() <= with_it)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr("imagefinder.evaluation.memory._STATUS", tmp_path / "none")
    monkeypatch.setattr("imagefinder.evaluation.memory._CLEAR", tmp_path / "none" / "none")
    reset_peak()
    if sys.platform != "win32":
        assert peak_bytes() > 10_000_000

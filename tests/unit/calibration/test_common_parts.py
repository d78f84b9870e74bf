import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.calibration.common_parts import NO_WITNESS, TAIL, witness
from imagefinder.calibration.evalue import TailCalibrator


def test_the_shipped_tail_is_a_tail():
    assert TailCalibrator().read(TAIL.to_dict()) == TAIL
    assert TAIL.log10_shares[0] == 0
    assert TAIL.log10_p(np.array([-9.0, 9.0])).tolist() == [0, pytest.approx(-1 - 9.04 / (0.22 * math.log(10)))]


@settings(deadline=None)
@given(st.floats(-3000, 0), st.floats(0, 1), st.floats(0, 0.3), st.floats(0, 500))
def test_more_agreement_and_more_strength_are_more_evidence(log10_chance, agreement, more, stronger):
    value = witness(log10_chance, agreement)
    assert math.isfinite(value)
    assert witness(log10_chance, min(1.0, agreement + more)) >= value
    assert witness(log10_chance - stronger, agreement) >= value


def test_an_agreement_that_was_not_measured_counts_as_none():
    assert witness(-50.0, None) == witness(-50.0, 0.0)


def test_agreement_that_is_no_witness_is_limited():
    assert witness(-50.0, 0.9, most=NO_WITNESS) == witness(-50.0, NO_WITNESS)
    assert witness(-50.0, 0.1, most=NO_WITNESS) == witness(-50.0, 0.1)

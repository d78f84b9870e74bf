import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.calibration.common_parts import MOST_SIMILAR, NO_WITNESS, TAIL, similarity, witness
from imagefinder.calibration.evalue import TailCalibrator


def test_the_shipped_tail_is_a_tail():
    assert TailCalibrator().read(TAIL.to_dict()) == TAIL
    assert TAIL.log10_shares[0] == 0
    assert TAIL.log10_p(np.array([-9.0, 9.0])).tolist() == [0, pytest.approx(-1 - 8.93 / (0.349 * math.log(10)))]


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


@given(st.floats(-300, 6), st.integers(1, 10**7))
def test_a_cosine_only_supports_a_geometry(log10_evalue, images):
    similar = similarity(log10_evalue, images)
    assert 0 <= similar <= MOST_SIMILAR
    assert witness(-50.0, 0.3, similar) == pytest.approx(witness(-50.0, 0.3) + similar)


def test_a_cosine_is_a_witness_if_hardly_any_wrong_image_reaches_it():
    assert similarity(math.log10(2), 500) == 0
    assert similarity(math.log10(0.2), 500) == pytest.approx(1)
    assert similarity(-300, 500) == MOST_SIMILAR
    assert similarity(math.inf, 500) == 0


def test_among_few_images_the_most_similar_one_is_no_witness():
    for images in range(1, 11):
        assert similarity(math.log10(images), images) == 0
        assert similarity(math.log10(images / 10), images) == 0
    assert similarity(-1.0, 10) == pytest.approx(1)

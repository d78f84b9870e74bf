import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.core.fingerprint import Fingerprint

values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers(), max_size=3)
fingerprints = st.builds(
    Fingerprint, st.text(), st.integers(), st.dictionaries(st.text(), values, max_size=4), st.text()
)


@given(fingerprints)
def test_json_round_trip(fingerprint):
    again = Fingerprint.from_json(fingerprint.to_json())
    assert again == fingerprint
    assert again.digest == fingerprint.digest
    assert again.difference(fingerprint) == ""


@given(fingerprints, fingerprints)
def test_different_fingerprints_report_the_difference(a, b):
    assert (a.to_json() == b.to_json()) == (a.difference(b) == "")


def test_order_of_parameters_does_not_matter():
    assert Fingerprint("m", 1, {"a": 1, "b": 2}).digest == Fingerprint("m", 1, {"b": 2, "a": 1}).digest


def test_difference_names_both_values():
    text = Fingerprint("m", 1, {"side": 800}, "aa").difference(Fingerprint("m", 1, {"side": 900}, ""))
    assert text == "weights aa vs. none; side 800 vs. 900"


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"method": "m"}', "null"])
def test_invalid_text_is_rejected(text):
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one, too
        Fingerprint.from_json(text)

import pytest

from imagefinder.core.csv_cells import cell


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_text_is_a_formula(text):
    assert cell(text) == f"'{text}"
    assert cell([text, "x"]) == f"'{text}; x"


@pytest.mark.parametrize("value", ["cat.jpg", "", -1.5, 3, None, True])
def test_other_values_stay(value):
    assert cell(value) is value


def test_lists_are_joined():
    assert cell(("sea", "sun")) == "sea; sun"

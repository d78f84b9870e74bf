import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.evaluation.metrics import average_precision, recall_at


@pytest.mark.parametrize(
    ("ranked", "positives", "ignore", "expected"),
    [
        # Worked by hand: precision at each right answer, missing ones count nothing.
        ("abcd", "a", "", 1.0),
        ("abcd", "b", "", 1 / 2),
        ("abcd", "ac", "", (1 / 1 + 2 / 3) / 2),
        ("abcd", "dz", "", (1 / 4 + 0) / 2),
        ("abcd", "d", "ab", 1 / 2),
        ("", "a", "", 0.0),
    ],
)
def test_average_precision(ranked, positives, ignore, expected):
    assert average_precision(list(ranked), set(positives), set(ignore)) == pytest.approx(expected)


@given(st.permutations("abcdef"), st.sets(st.sampled_from("abcdef"), min_size=1))
def test_average_precision_is_one_only_when_the_right_ones_come_first(ranked, positives):
    value = average_precision(ranked, positives)
    assert 0 < value <= 1
    assert (value == 1) == (set(ranked[: len(positives)]) == positives)


def test_recall():
    assert recall_at(1, ["a", "b"], {"b"}) == 0
    assert recall_at(2, ["a", "b"], {"b"}) == 1
    assert recall_at(1, ["a", "b"], {"b"}, {"a"}) == 1
    assert recall_at(5, [], {"b"}) == 0

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.core.collection_names import COLLECTION_NAME, suggested_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My Photos", "my-photos"),
        ("Größe & Maß (2024)", "grosse-mass-2024"),
        ("shop", "shop"),
        ("a_b-c", "a_b-c"),
        ("  ..  ", ""),
        ("日本", ""),
        ("x" * 62 + " y", "x" * 62),
    ],
)
def test_a_name_is_suggested(text: str, name: str) -> None:
    assert suggested_name(text) == name


@given(st.text(max_size=100))
def test_a_suggestion_is_valid_or_empty(text: str) -> None:
    name = suggested_name(text)
    assert not name or re.fullmatch(COLLECTION_NAME, name)

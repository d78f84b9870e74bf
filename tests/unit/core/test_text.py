import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.core.text import printable


@pytest.mark.parametrize("text", ["a.jpg", "Été à la plage.jpg", "[red]x[/red].jpg", "写真 1.png", ""])
def test_printable_text_is_unchanged(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("caf\udce9", "caf\\udce9"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_other_characters_are_escaped(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_no_control_characters_remain(text):
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")

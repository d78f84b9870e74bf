import pytest

from imagefinder.cli.command_group import unwrapped


def test_unwrapped_joins_prose_and_keeps_examples():
    text = "First\nline.\n\nMore\nprose.\n\n  an example\n  another"
    assert unwrapped(text) == "First line.\n\nMore prose.\n\n\b\nExamples:\n  an example\n  another"


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_prose_is_wrapped_and_examples_are_not(call, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = [line.strip() for line in call("search", "--help").out.splitlines()]
    assert "curl -s https://example.org/photo.jpg | imagefinder search -" in lines
    assert max(len(line) for line in lines if "imagefinder search" not in line) <= min(columns, 100)
    assert "\b" not in "".join(lines)


def test_a_group_lists_the_whole_summaries_of_its_commands(call):
    text = " ".join(call("models", "--help").out.split())
    assert "pull Download weights from the model hub. An interrupted download resumes where it stopped." in text
    assert call("models").out == call("models", "--help").out

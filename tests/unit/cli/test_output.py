import io
import json
import re
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from imagefinder.cli import output
from imagefinder.core.errors import UnknownMethodError
from imagefinder.core.results import Evidence, Hit, SearchResult
from imagefinder.indexing.progress import Progress


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")

    def attach(*names):
        stream = Terminal()
        for name in names:
            monkeypatch.setattr(sys, name, stream)
        return stream

    return attach


class TestNumbers:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.0, "0.0 ms"),
            (0.0042, "4.2 ms"),
            (0.0123, "12 ms"),
            (0.9996, "1.0 s"),
            (3.14, "3.1 s"),
            (59.96, "1 min 00 s"),
            (245, "4 min 05 s"),
            (7800, "2 h 10 min"),
        ],
    )
    def test_duration(self, seconds, text):
        assert output.duration(seconds) == text

    @pytest.mark.parametrize(
        ("count", "text"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_234_567, "1.2 MB"),
            (123_456_789, "123 MB"),
            (4e9, "4.0 GB"),
        ],
    )
    def test_size(self, count, text):
        assert output.size(count) == text

    @pytest.mark.parametrize(
        ("value", "unit", "text"),
        [(1, "matches", "1 match"), (212.0, "matches", "212 matches"), (0.98765, "cosine", "0.988")],
    )
    def test_score(self, value, unit, text):
        assert output.score(value, unit) == text

    def test_location(self, tmp_path):
        path = tmp_path / "a b#.jpg"
        assert output.location(path.as_uri()) == f"{path} (missing)"
        path.touch()
        assert output.location(path.as_uri()) == str(path)
        assert output.location("https://example.org/a%20b.jpg") == "https://example.org/a%20b.jpg"


class TestTable:
    def test_in_a_pipe_it_is_plain_and_never_shortened(self, capsys):
        name = "folder/" + "x" * 300 + ".jpg"
        output.table(("id", ">score"), [(name, "12 matches"), ("b.jpg", "3 matches")])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["id", "score"]
        assert lines[1] == f"{name}  12 matches"
        assert lines[2].startswith("b.jpg ")
        assert lines[2].endswith("  3 matches")
        assert len(lines) == 3
        assert "\x1b" not in "".join(lines)

    def test_markup_in_a_name_is_not_interpreted(self, capsys):
        output.table(("id",), [("[bold red]a[/bold red] :smile:",)])
        assert "[bold red]a[/bold red] :smile:" in capsys.readouterr().out

    def test_control_characters_in_a_name_are_escaped(self, capsys):
        output.table(("id",), [("\x1b]0;title\x07",)])
        assert "\\x1b]0;title\\x07" in capsys.readouterr().out

    def test_in_a_pipe_wide_characters_take_two_columns(self, capsys):
        output.table(("id", ">score"), [("写真.jpg", "1"), ("🐈.jpg", "22"), ("plain.jpg", "333")])
        lines = capsys.readouterr().out.splitlines()
        assert {cell_len(line) for line in lines} == {len("plain.jpg  score")}

    def shown(self, terminal, monkeypatch, width, columns, rows, **options):
        monkeypatch.setenv("COLUMNS", str(width))
        stream = terminal("stdout")
        output.table(columns, rows, **options)
        return re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue()).splitlines()

    @pytest.mark.parametrize("width", [40, 80, 120])
    def test_in_a_terminal_a_table_that_fits(self, terminal, monkeypatch, width):
        lines = self.shown(terminal, monkeypatch, width, ("id", ">score"), [("写真.jpg", "12 matches")])
        assert lines[0].split() == ["id", "score"]
        assert set(lines[1].strip()) == {"─"}
        assert lines[2].strip() == "写真.jpg  12 matches"

    @pytest.mark.parametrize("width", [40, 80, 120])
    @pytest.mark.parametrize("id_", ["x" * 200, "写真/" * 50, "🐈" * 80, "two words/" * 20])
    def test_in_a_narrow_terminal_each_row_is_a_block(self, terminal, monkeypatch, width, id_):
        rows = [(id_, "12", ""), ("b.jpg", "3", "/home/b.jpg")]
        lines = self.shown(terminal, monkeypatch, width, ("id", ">score", "location"), rows)
        assert lines == [
            f"id        {id_}",
            "score     12",
            "",
            "id        b.jpg",
            "score     3",
            "location  /home/b.jpg",
        ]

    def test_sentences_are_wrapped_between_words_first(self, terminal, monkeypatch):
        message = "the image /a/path/of/thirty/characters.jpg is truncated or corrupt, as its header is unreadable"
        rows = [("a.jpg", message)]
        lines = self.shown(terminal, monkeypatch, 60, ("id", "message"), rows, prose=("message",))
        assert max(map(len, lines)) <= 60
        assert lines[0].split() == ["id", "message"]
        assert " ".join(" ".join(lines[2:]).split()) == f"a.jpg {message}"
        assert any("/a/path/of/thirty/characters.jpg" in line for line in lines)
        lines = self.shown(terminal, monkeypatch, 36, ("id", "message"), rows, prose=("message",))
        assert lines == ["id       a.jpg", f"message  {message}"]

    @pytest.mark.parametrize(("variable", "coloured"), [("OTHER", True), ("NO_COLOR", False)])
    def test_no_color(self, terminal, monkeypatch, variable, coloured):
        monkeypatch.setenv(variable, "1")
        stream = terminal("stdout", "stderr")
        output.error(UnknownMethodError("sfit", ["sift"]), as_json=False)
        output.line("wrong", style="red")
        assert ("31m" in stream.getvalue()) == coloured


class TestDocument:
    @given(st.text(st.characters(exclude_categories=())))
    def test_is_ascii_without_control_characters(self, text):
        stream = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            output.document({"id": text})
        printed = stream.getvalue()
        assert printed.isascii()
        assert printed.replace("\n", "").isprintable()
        assert json.loads(printed) == {"id": text}


class TestError:
    def test_text(self, capsys):
        problem = UnknownMethodError("sfit", ["sift", "beit"])
        output.error(problem, as_json=False)
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err == f"error: {problem.message}\nhint: {problem.hint}\n"

    def test_json(self, capsys):
        problem = UnknownMethodError("sfit", ["sift"])
        output.error(problem, as_json=True)
        printed = capsys.readouterr()
        assert printed.err == ""
        assert json.loads(printed.out) == {
            "error": {"code": "unknown_method", "message": problem.message, "hint": problem.hint}
        }

    def test_a_narrow_encoding(self, monkeypatch):
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", stream)
        output.line("Été")
        assert stream.buffer.getvalue() == b"\\xc9t\\xe9\n"


class TestProgress:
    def test_without_a_terminal_a_line_every_ten_seconds(self, capsys, monkeypatch):
        now = 100.0
        monkeypatch.setattr(output.time, "monotonic", lambda: now)
        with output.progress_bar("adding") as show:
            show(Progress(200, 10, 0, 0, 0, 1.0, "a"))
            assert capsys.readouterr().err == ""
            now += 11
            show(Progress(200, 40, 0, 5, 5, 10.0, "b"))
        assert capsys.readouterr().err == "adding: 50 of 200, 5.0/s, 5 failed, 30.0 s left\n"

    def test_stages_after_adding_have_names(self, capsys, monkeypatch, terminal):
        now = 100.0
        monkeypatch.setattr(output.time, "monotonic", lambda: now)
        with output.progress_bar("adding") as show:
            now += 11
            show(Progress(200, 40, 0, 5, 5, 10.0, "b", stage="thumbnails", share=0.25))
        assert capsys.readouterr().err == "computing keypoints of thumbnails: 25%\n"
        stream = terminal("stderr")
        with output.progress_bar("adding") as show:
            show(Progress(200, 40, 0, 5, 5, 10.0, "b", stage="calibrate", share=0.5))
        assert "calibrating" in stream.getvalue()

    def test_in_a_terminal_a_progress_bar(self, terminal):
        stream = terminal("stderr")
        with output.progress_bar("adding") as show:
            show(Progress(None, 10, 0, 0, 0, 1.0, "a"))
            show(Progress(200, 40, 0, 5, 5, 10.0, "b"))
        assert "50 of 200, 5.0/s, 5 failed" in stream.getvalue()

    @pytest.mark.parametrize(("of_bytes", "shown"), [(True, "1.0/2.0 MB"), (False, "1000000/2000000")])
    def test_a_counter(self, terminal, of_bytes, shown):
        stream = terminal("stderr")
        with output.counter("resnet50", of_bytes=of_bytes) as show:
            show(1_000_000, 2_000_000)
        assert shown in stream.getvalue()

    def test_a_counter_without_a_terminal_is_silent(self, capsys):
        with output.counter("resnet50", of_bytes=True) as show:
            show(1, 2)
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (1e-300, "<1e-99"),
        (4.2e-98, "4e-98"),
        (0.00042, "4e-04"),
        (0.0042, "0.004"),
        (0.42, "0.4"),
        (7.93, "7.9"),
        (85.4, "85"),
    ],
)
def test_evalue(value, text):
    assert output.evalue(value) == text


@pytest.mark.parametrize(
    ("decision", "start"),
    [
        ("match", "match: a, similar "),
        ("possible", "possible match: a, similar "),
        ("none", "no match "),
    ],
)
def test_headline(decision, start):
    hit = Hit(1, "a", 1.0, evalue=0.5, decision=decision, relation="similar")
    result = SearchResult((hit,), "auto", "exact", {}, 1, {}, "evidence")
    assert output.headline(result).startswith(start)
    assert "0.5" in output.headline(result)
    assert output.headline(replace(result, hits=())) == "no hits"
    assert output.headline(replace(result, hits=(), searched=0)).startswith("no hits: ")


def test_evidence():
    outline = ((0.0, 0.0),) * 4
    found = Evidence(
        31, 40, "similarity", ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)), True, outline, outline, 0.98, 0.24
    )
    assert output.evidence(found) == ("31", "-", "98% / 24%")
    assert output.evidence(replace(found, mirrored=False, agreement=0.953)) == ("31", "95%", "98% / 24%")
    assert output.evidence(None) == ("-", "-", "-")
    assert output.relation("part of", found) == "part of, mirrored"
    assert (
        output.relation("part of", replace(found, mirrored=False)) == output.relation("part of", None) == "part of"
    )
    assert output.relation(None, found) == "-"
    assert output.relation("part of", found, "match") == "part of, mirrored"
    assert output.relation("part of", found, "possible") == "perhaps part of, mirrored"
    assert output.relation("similar", None, "possible") == "similar"

import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.main import get_command

from imagefinder.cli.plain_values import convert_plainly

PYDANTIC_OF_TYPER = pytest.mark.skipif(
    "pydantic" not in (Path(typer.__file__).parent / "core.py").read_text(encoding="utf-8")
    and not (Path(typer.__file__).parent / "_adapters.py").exists(),
    reason="this version of Typer does not use Pydantic",
)


class Colour(StrEnum):
    RED = "red"


def example(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    word: Annotated[str, typer.Option()] = "a",
    number: Annotated[int, typer.Option(min=1, max=9)] = 3,
    share: Annotated[float | None, typer.Option(min=0)] = None,
    mode: Annotated[Literal["auto", "fast"], typer.Option()] = "auto",
    path: Annotated[Path | None, typer.Option()] = None,
    several: Annotated[list[str] | None, typer.Option()] = None,
    colour: Annotated[Colour, typer.Option()] = Colour.RED,
    yes: Annotated[bool, typer.Option("--yes/--no")] = True,
):
    return names, word, number, share, mode, path, several, colour, yes


def result(arguments, *, plainly):
    app = typer.Typer(add_completion=False)
    app.command()(example)
    command = get_command(app)
    if plainly:
        for parameter in command.params:
            convert_plainly(parameter)
            convert_plainly(parameter)
    try:
        return command.main(arguments, standalone_mode=False)
    except typer.BadParameter.__base__ as problem:
        return problem.format_message()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a", "b"],
        ["--word", "x y", "--number", "9", "--share", "0.5", "--mode", "fast", "--path", "c", "--no"],
        ["--several", "1", "--several", "2", "--colour", "red"],
        ["--word", "", "--path", "", "--number", "01"],
        ["--number", "10"],
        ["--number", "0"],
        ["--number", "-0"],
        ["--number", "3.0"],
        ["--number", " 4 "],
        ["--number", "٣"],
        ["--number", "1" * 5000],
        ["--share", "-1"],
        ["--mode", "Fast"],
        ["--mode", ""],
        ["--colour", "blue"],
        ["--path", "/"],
        ["--path", "/proc/1/root/x"],
        ["--nothing"],
    ],
)
def test_values_and_errors_are_those_of_typer(arguments):
    assert repr(result(arguments, plainly=True)) == repr(result(arguments, plainly=False))


def test_an_unreadable_path_is_refused_as_by_typer(tmp_path, monkeypatch):
    file = tmp_path / "secret"
    file.touch()
    monkeypatch.setattr("os.access", lambda *_: False)
    answers = [result(["--path", str(file)], plainly=plainly) for plainly in (True, False)]
    assert answers[0] == answers[1]
    assert "not readable" in answers[0]


@PYDANTIC_OF_TYPER
@pytest.mark.parametrize(
    "arguments", [["settings"], ["-c", "c", "search", "a.jpg", "-k", "2", "--box", "1,2,3,4"], ["models", "list"]]
)
def test_a_command_line_of_simple_values_imports_no_pydantic(arguments, tmp_path):
    code = (
        "import sys; from imagefinder.cli.app import run; run(sys.argv[1:]); print('|', 'pydantic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.rpartition("|")[2].strip() == "False"

"""Commands of a user without HOME and without an entry in the user database, as in many containers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CAT = Path(__file__).parents[2] / "examples" / "pictures" / "cat.jpg"
PROGRAM = """
import pwd, sys
def missing(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = missing
from imagefinder.__main__ import main
main()
"""


def call(*arguments: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert not (folder / "~").exists()
    return done


@pytest.mark.parametrize(
    "arguments", [["--version"], ["methods"], ["settings"], ["models", "list"], ["compare", CAT, CAT]]
)
def test_commands_that_need_no_home_folder(arguments: list[object], tmp_path: Path) -> None:
    assert call(*arguments, folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["list"], "IMAGEFINDER_COLLECTION"),
        (["add", CAT], "IMAGEFINDER_COLLECTION"),
        (["-c", "~/c", "add", CAT], "IMAGEFINDER_COLLECTION"),
        (["search", CAT], "IMAGEFINDER_COLLECTION"),
        (["check"], "IMAGEFINDER_COLLECTION"),
        (["migrate"], "IMAGEFINDER_COLLECTION"),
        (["keys", "list"], "IMAGEFINDER_STATE"),
        (["models", "pull", "resnet50"], "IMAGEFINDER_MODELS"),
        (["serve", "--port", "0"], "IMAGEFINDER_COLLECTION"),
        (["serve", "--port", "0", "-c", "c"], "IMAGEFINDER_COLLECTIONS"),
    ],
)
def test_other_commands_name_the_setting(arguments: list[object], variable: str, tmp_path: Path) -> None:
    done = call(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert f"set {variable} or XDG_DATA_HOME" in done.stderr


def test_the_model_cache(tmp_path: Path) -> None:
    done = call("models", "pull", "resnet50", folder=tmp_path, XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "set HF_HOME" in done.stderr


def test_folders_that_are_named(tmp_path: Path) -> None:
    assert call("-c", "c", "add", CAT, "-m", "sift", folder=tmp_path).returncode == 0
    assert call("-c", "c", "search", CAT, folder=tmp_path, HOME="relative").returncode == 0
    assert call("list", folder=tmp_path, IMAGEFINDER_COLLECTION="c", HOME="").returncode == 0
    assert call("keys", "list", folder=tmp_path, XDG_DATA_HOME=str(tmp_path)).returncode == 0

"""Commands whose standard streams are closed, full or without a reader."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[2] / "examples" / "pictures"
FULL = Path("/dev/full")
CLOSED = {"input": "<&-", "output": ">&-", "error": "2>&-", "all": "<&- >&- 2>&-"}
COMMANDS = (
    "--version",
    "--help",
    "add --help",
    "add {images}/cat.jpg",
    "search {images}/cat.jpg",
    "search {images}/cat.jpg --json",
    "explain {images}/cat.jpg cat.jpg",
    "compare {images}/cat.jpg {images}/coins.jpg",
    "list",
    "list --json",
    "info",
    "methods",
    "settings",
    "models list",
    "keys list",
    "check",
)


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m imagefinder -c c {line}"],
        cwd=folder,
        env={**os.environ, "XDG_DATA_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done


def ids(folder: Path) -> list[str]:
    return [image["id"] for image in json.loads(shell("list --json", folder).stdout)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    assert shell(f"add {IMAGES}/cat.jpg -m sift", folder).returncode == 0
    return folder


@pytest.mark.parametrize(
    ("command", "closed"),
    [
        (command, closed)
        for command in COMMANDS
        for closed in (CLOSED if command.startswith(("add {", "search", "list")) else ("output", "all"))
    ],
)
def test_a_closed_stream_changes_nothing(command: str, closed: str, folder: Path) -> None:
    done = shell(f"{command.format(images=IMAGES)} {CLOSED[closed]}", folder)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("streams", CLOSED.values(), ids=CLOSED)
def test_images_are_added_without_standard_streams(streams: str, tmp_path: Path) -> None:
    assert shell(f"add {IMAGES}/cat.jpg {IMAGES}/coins.jpg -m sift {streams}", tmp_path).returncode == 0
    assert ids(tmp_path) == ["cat.jpg", "coins.jpg"]


def test_no_standard_input_is_an_empty_image(folder: Path) -> None:
    done = shell("search - <&-", folder)
    assert done.returncode == 3
    assert done.stderr.startswith("error: the image file is empty")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_reported(command: str, folder: Path) -> None:
    done = shell(f"{command.format(images=IMAGES)} > /dev/full", folder)
    assert done.returncode == 7
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_images_are_added_although_nothing_can_be_printed(tmp_path: Path) -> None:
    assert shell(f"add {IMAGES}/cat.jpg -m sift > /dev/full 2> /dev/full", tmp_path).returncode == 7
    assert ids(tmp_path) == ["cat.jpg"]
    assert shell(f"add {IMAGES}/coins.jpg 2> /dev/full", tmp_path).returncode == 0
    assert ids(tmp_path) == ["cat.jpg", "coins.jpg"]


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("command", "code"), [("nosuch", 2), ("search nope.jpg", 3), ("-c nope list", 5)])
def test_the_exit_code_of_an_error_that_cannot_be_printed(command: str, code: int, folder: Path) -> None:
    assert shell(f"{command} 2> /dev/full", folder).returncode == code
    assert shell(f"{command} --json > /dev/full", folder).returncode == code


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_the_version_alone_which_imports_no_command_line(tmp_path: Path) -> None:
    version = [sys.executable, "-m", "imagefinder", "--version"]
    with FULL.open("w") as full:
        done = subprocess.run(version, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.splitlines()) == (
        7,
        ["error: standard output cannot be written: No space left on device"],
    )
    command = [*version, "-c", str(tmp_path)]
    short, long = (subprocess.run(one, capture_output=True, timeout=60, check=True) for one in (version, command))
    assert short.stdout == long.stdout


@pytest.mark.parametrize("command", ["--help", "settings", "list", "list --json", "add --help"])
def test_a_reader_that_leaves(command: str, folder: Path) -> None:
    done = shell(f"{command} | true", folder)
    assert (done.returncode, done.stderr) in ((7, ""), (0, ""))  # 0: all was written before the reader ended


def test_decoding_in_a_program_without_standard_streams(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from imagefinder.images.decoding.pool import DecoderPool\n"
        "pool = DecoderPool(workers=1, seconds=60, memory=1 << 30)\n"
        f"data = open({str(IMAGES / 'cat.jpg')!r}, 'rb').read()\n"
        "pool.decode(data, max_bytes=1 << 30, max_pixels=1 << 30)\n"
    )
    for streams in CLOSED.values():
        line = f"exec {sys.executable} program.py {streams}"
        assert subprocess.run(["bash", "-c", line], cwd=tmp_path, timeout=120, check=False).returncode == 0, (
            streams
        )

"""Tests of the command line as a separate process."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagefinder

IMAGES = Path(__file__).parents[2] / "examples" / "pictures"
COMMAND = [sys.executable, "-m", "imagefinder"]
ODD_NAMES = (
    b"caf\xe9 \x1b[31mred.jpg",
    b"[bold red]x.jpg",
    "\u202egnp.jpg".encode(),
    b"a\nb.jpg",
    b"-k.jpg",
    b"--json",
)


def call(*arguments, **options):
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, timeout=60, check=False, **options
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("functional") / "collection"
    done = call("-c", folder, "add", IMAGES / "cat.jpg", IMAGES / "coins.jpg", "--method", "sift")
    assert done.returncode == 0
    assert done.stdout.startswith(b"2 added")
    return folder


def test_an_image_from_standard_input(collection):
    with (IMAGES / "coins.jpg").open("rb") as query:
        done = call("search", "-", "-c", collection, "--json", stdin=query)
    assert done.returncode == 0
    assert json.loads(done.stdout)["hits"][0]["id"] == "coins.jpg"
    done = call("search", "-", "-c", collection, input=b"")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"error: ")


def test_a_broken_pipe_prints_no_error(collection):
    process = subprocess.Popen(
        [*COMMAND, "list", "-c", str(collection)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), errors) == (7, b"")


def test_a_narrow_encoding(tmp_path):
    folder = tmp_path / "写真"
    folder.mkdir()
    shutil.copy(IMAGES / "coins.jpg", folder / "été.jpg")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = call("-c", tmp_path / "c", "add", folder, "-m", "sift", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    done = call("-c", tmp_path / "c", "list", env=environment)
    assert done.returncode == 0
    assert b"\\xe9t\\xe9.jpg" in done.stdout


def test_ids_and_queries_in_a_locale_without_utf_8(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(IMAGES / "coins.jpg", folder / "Größe.jpg")
    shutil.copy(IMAGES / "cat.jpg", os.fsencode(folder) + b"/caf\xe9.jpg")
    locale = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    options = ("-c", tmp_path / "c")
    assert call(*options, "add", folder, "-m", "sift", env=locale).returncode == 0
    found = json.loads(call(*options, "search", folder, "--json", env=locale).stdout)
    assert [Path(one["query"]).name for one in found["queries"]] == ["Größe.jpg", "caf\\xe9.jpg"]
    assert [one["hits"][0]["id"] for one in found["queries"]] == ["Größe.jpg", "caf\\xe9.jpg"]
    assert call(*options, "search", "--id", "Größe.jpg", env=locale).returncode in (0, 1)
    assert call(*options, "explain", folder / "Größe.jpg", "Größe.jpg", env=locale).returncode == 0
    command = [*COMMAND, *map(str, options), "remove", "Größe.jpg", b"caf\xe9.jpg"]
    for environment in (locale, {**os.environ, "PYTHONUTF8": "1"}):
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        assert done.returncode == (0 if environment is locale else 1), done.stderr
    assert json.loads(call(*options, "list", "--json").stdout) == []


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path):
    folder = os.fsencode(tmp_path / "odd")
    Path(os.fsdecode(folder)).mkdir()
    for name in ODD_NAMES:
        shutil.copyfile(IMAGES / "coins.jpg", os.path.join(folder, name + b".jpg"))  # noqa: PTH118 - bytes
    place = tmp_path / "c"
    assert call("-c", place, "add", os.fsdecode(folder), "-m", "sift").returncode == 0
    records = json.loads(call("-c", place, "list", "--json").stdout)
    assert len(records) == len(ODD_NAMES)
    assert {"[bold red]x.jpg.jpg", "\u202egnp.jpg.jpg", "a\nb.jpg.jpg", "--json.jpg"} <= {
        row["id"] for row in records
    }
    page = tmp_path / "page.html"
    done = call("-c", place, "search", IMAGES / "coins.jpg", "-k", "9", "--show", "--page", page)
    assert done.returncode == 0
    for text in (done.stdout.decode(), page.read_text(encoding="utf-8")):
        assert text.replace("\n", "").isprintable()
        for name in ("[bold red]x.jpg.jpg", "\\u202egnp.jpg.jpg", "a\\nb.jpg.jpg", "--json.jpg"):
            assert name in text
    assert call("-c", place, "remove", "--", "--json.jpg", "[bold red]x.jpg.jpg").returncode == 0


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Enough images for an interruption while they are added."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(random.integers(0, 255, (240, 320, 3), np.uint8)).save(folder / f"{number:03}.png")
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_cleanly_and_the_next_one_continues(tmp_path, noise, number):
    place = tmp_path / "collection"
    arguments = ["-c", str(place), "--set", "batch_size=4", "add", str(noise), "-m", "sift", "--json"]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_the_first_image(place, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"stopping" in err
    report = json.loads(out)
    assert report["interrupted"]
    assert report["failed"] == 0
    assert 0 < report["added"] < 60
    assert json.loads(call("-c", place, "info", "--json").stdout)["images"] == report["added"]
    again = json.loads(call(*arguments).stdout)
    assert again["unchanged"] == report["added"]
    assert again["added"] == 60 - report["added"]
    assert not again["interrupted"]


def wait_for_the_first_image(place, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        if (place / "collection.sqlite").exists():
            try:
                with imagefinder.open(place, create=False) as opened:
                    if opened.info().images:
                        return
            except imagefinder.ImagefinderError:
                pass  # being created
        time.sleep(0.02)
    pytest.fail("no image was added in 30 s")


def in_a_terminal(*arguments, **environment):
    """Output on an 80-column terminal, standard output and standard error together."""
    master, slave = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**variables, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )
    os.close(slave)
    shown = b""
    while process.poll() is None or select.select([master], [], [], 0)[0]:
        if select.select([master], [], [], 0.1)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:
                break
    os.close(master)
    return process.wait(timeout=60), shown.decode()


def test_in_a_terminal_a_bar_shows_rate_and_time_left(tmp_path, noise):
    code, shown = in_a_terminal("-c", tmp_path / "c", "add", noise, "-m", "sift")
    assert code == 0
    assert re.search(r"adding.*\d+%.*\d+ of 60, [\d.]+/s.*\d\d:\d\d", shown)
    assert "60 added" in shown


@pytest.mark.parametrize("width", [40, 80, 120])
def test_ids_and_paths_are_whole_in_every_terminal(tmp_path, width):
    name = "写真の長いフォルダ/🐈 a picture with a long name " + "x" * 60 + ".jpg"
    (tmp_path / "p" / name).parent.mkdir(parents=True)
    shutil.copy(IMAGES / "coins.jpg", tmp_path / "p" / name)
    assert call("-c", tmp_path / "c", "add", tmp_path / "p", "-m", "sift").returncode == 0
    for command in (["list"], ["search", IMAGES / "coins.jpg"]):
        code, shown = in_a_terminal("-c", tmp_path / "c", *command, COLUMNS=str(width), NO_COLOR="1")
        assert code == 0
        lines = [re.sub(r"\x1b\[[\d;?]*\w", "", line).split(None, 1) for line in shown.splitlines()]
        assert ["id", name] in lines
        assert ["location", str(tmp_path / "p" / name)] in lines


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color(collection, environment, coloured):
    _, shown = in_a_terminal("search", "no such file", "-c", collection, **environment)
    assert "error: " in shown
    assert bool(re.search(r"\x1b\[[\d;]*3\dm", shown)) == coloured


def test_a_terminal_as_standard_input_is_refused(collection):
    code, shown = in_a_terminal("search", "-", "-c", collection)
    assert code == 2
    assert "error: " in shown


def test_search_explain_and_find_duplicates(tmp_path):
    library, folder = tmp_path / "library", tmp_path / "collection"
    library.mkdir()
    names = ("cat.jpg", "coins.jpg", "clock.jpg", "dogs.jpg", "temple.jpg", "stream.jpg")
    for name in names:
        shutil.copy(IMAGES / name, library)
    with Image.open(IMAGES / "dogs.jpg") as dogs:
        width, height = dogs.size
        dogs.resize((width // 2, height // 2)).save(library / "dogs-small.jpg", quality=60)
        part = dogs.crop((width // 5, height // 5, width * 4 // 5, height * 4 // 5))
        part.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "part.png")
    assert call("-c", folder, "add", library).returncode == 0
    assert (folder / "index" / "background.json").is_file()

    done = call("-c", folder, "search", tmp_path / "part.png", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["decision"], answer["method"]) == (0, "match", "auto")
    assert {hit["id"] for hit in answer["hits"][:2]} == {"dogs.jpg", "dogs-small.jpg"}
    assert answer["hits"][0]["relation"] == "part of"
    assert answer["hits"][0]["evidence"]["mirrored"]

    done = call("-c", folder, "search", IMAGES / "motorcycle.jpg", "--json")
    assert (done.returncode, json.loads(done.stdout)["decision"]) == (1, "none")

    done = call("-c", folder, "explain", tmp_path / "part.png", "dogs.jpg", "-o", tmp_path / "why.png")
    assert done.returncode == 0
    with Image.open(tmp_path / "why.png") as why:
        assert min(why.size) > 300

    groups = json.loads(call("-c", folder, "duplicates", "--json").stdout)["groups"]
    assert [group["ids"] for group in groups] == [["dogs.jpg", "dogs-small.jpg"]]

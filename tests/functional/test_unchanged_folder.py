"""A second ``imagefinder add`` of an unchanged folder: what it does not do, and how little it reads."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

COUNT = 600

WATCHED = """
import collections, json, resource, sqlite3, sys
from imagefinder.stores.embedded import connections

statements = collections.Counter()
connect = connections.connect

def traced(*arguments, **options):
    database = connect(*arguments, **options)
    database.set_trace_callback(lambda text: statements.update([text.split()[0]]))
    return database

connections.connect = traced
from imagefinder.__main__ import main
sys.argv = ["imagefinder", *sys.argv[1:]]
try:
    code = main()
except SystemExit as exit:
    code = exit.code
own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({
    "code": code or 0, "networks": "onnxruntime" in sys.modules, "children": children.ru_maxrss,
    "statements": dict(statements), "seconds": own.ru_utime + own.ru_stime,
}), file=sys.stderr)
"""


def add(folder, collection, *options):
    command = ["-c", str(collection), "add", str(folder), "--json", "-m", "sift", "-m", "efficientnet-lite0"]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *command, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    seen = json.loads(done.stderr.strip().splitlines()[-1])
    assert seen["code"] == 0, done.stderr
    return json.loads(done.stdout), seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(COUNT):
        below = folder / f"{number % 7}"
        below.mkdir(exist_ok=True)
        name = f"{number} e\u0301.png" if number % 10 == 0 else f"{number}.png"
        Image.fromarray(np.full((8, 8, 3), number % 251, dtype=np.uint8)).save(below / name)
    return folder


def test_an_unchanged_folder_is_compared_and_nothing_else_happens(folder, tmp_path):
    first, seen = add(folder, tmp_path / "c")
    assert first["added"] == COUNT
    assert (seen["networks"], seen["children"] > 0) == (True, True)
    second, seen = add(folder, tmp_path / "c")
    assert (second["unchanged"], second["added"], second["failed"]) == (COUNT, 0, 0)
    assert not seen["networks"]
    assert seen["children"] == 0  # no decoder was started
    assert seen["statements"].get("INSERT", 0) + seen["statements"].get("UPDATE", 0) == 0
    assert seen["statements"]["SELECT"] < COUNT / 10

    changed = folder / "1" / "1.png"
    changed.write_bytes(changed.read_bytes() + b"\n")
    third, seen = add(folder, tmp_path / "c")
    assert (third["replaced"], third["unchanged"]) == (1, COUNT - 1)
    assert seen["networks"]

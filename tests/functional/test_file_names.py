"""Odd file names and special files in folders, added with ``imagefinder add`` as a process."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.indexing.discover import discover
from imagefinder.indexing.source_item import SourceItem, local_path, read_file

NAMES = (
    b"with space.jpg",
    b" leading and trailing .jpg",
    b"'single' \"double\" `back`.jpg",
    b"line\nbreak.jpg",
    b"tab\tand\x1b[31mcolour.jpg",
    b"-leading-dash.jpg",
    b"--json.jpg",
    b"$HOME;rm *.jpg",
    b"back\\slash.jpg",
    b"percent%20%ff.jpg",
    b"question?and#hash.jpg",
    b"caf\xe9.jpg",
    b"\xff\xfe\x80.jpg",
    "é nfc.jpg".encode(),
    "e\u0301 nfd.jpg".encode(),
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd.jpg".encode(),
    "名前 🖼.jpg".encode(),
    b"n" * 251 + b".jpg",
    b"UPPER.JPG",
    b"dots.tar.gz.jpeg",
)


def add(collection, *arguments, **options):
    command = [sys.executable, "-m", "imagefinder", "-c", str(collection), "add", "-m", "sift", *arguments]
    return subprocess.run(command, capture_output=True, timeout=120, check=False, **options)


@pytest.fixture
def folder(tmp_path):
    """A folder with that many images; its path as bytes."""
    path = os.fsencode(tmp_path / "pictures")
    os.mkdir(path)  # noqa: PTH102 - bytes
    return path


def write(folder, name, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
    path = os.path.join(folder, name)  # noqa: PTH118 - bytes
    with open(path, "wb") as file:  # noqa: PTH123 - bytes
        Image.fromarray(pixels).save(file, "PNG")
    return path


def test_every_name_is_kept(folder, tmp_path):
    for seed, name in enumerate(NAMES):
        write(folder, name, seed)
    done = add(tmp_path / "c", "--json", os.fsdecode(folder))
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["added"] == len(NAMES)
    command = [sys.executable, "-m", "imagefinder", "-c", str(tmp_path / "c"), "list"]
    records = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    ids = [record["id"] for record in records]
    assert len(set(ids)) == len(NAMES)
    assert all(json.dumps(image_id, ensure_ascii=False).encode() for image_id in ids)
    # The URI leads back to the exact bytes of the name.
    assert {os.path.basename(os.fsencode(local_path(record["uri"]))) for record in records} == set(NAMES)  # noqa: PTH119
    shown = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert shown.replace("\n", "").isprintable()
    # Again: all of them are known by their names.
    again = json.loads(add(tmp_path / "c", "--json", os.fsdecode(folder)).stdout)
    assert (again["added"], again["unchanged"]) == (0, len(NAMES))


def test_each_file_named_by_itself(folder, tmp_path):
    paths = [os.fsdecode(write(folder, name, seed)) for seed, name in enumerate(NAMES)]
    done = add(tmp_path / "c", "--json", "--", *(os.path.basename(path) for path in paths), cwd=folder)  # noqa: PTH119
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["added"] == len(NAMES)


def test_special_files_do_not_block(folder, tmp_path):
    root = Path(os.fsdecode(folder))
    write(folder, b"good.jpg")
    os.mkfifo(root / "pipe.jpg")
    (root / "device.jpg").symlink_to("/dev/zero")
    (root / "dangling.jpg").symlink_to("nowhere.jpg")
    (root / "itself.jpg").symlink_to("itself.jpg")
    (root / "below").mkdir()
    (root / "below" / "up").symlink_to("..")
    (root / "folder.jpg").mkdir()
    write(os.fsencode(root / "folder.jpg"), b"inside.jpg", 1)
    with (root / "sparse.jpg").open("wb") as file:
        file.truncate(10 << 30)
    (root / "empty.jpg").touch()
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # the name of a socket may have 107 bytes
        try:
            server.bind("socket.jpg")
        finally:
            os.chdir(here)
        done = add(tmp_path / "c", "--json", str(root))
    assert done.stderr == b""
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["added"] == 2
    assert {failure["id"]: failure["code"] for failure in report["failures"]} == {
        "dangling.jpg": "invalid_source",
        "empty.jpg": "empty_image",
        "itself.jpg": "invalid_source",
        "sparse.jpg": "image_too_large",
    }
    assert report["skipped"] == 3, "the pipe, the device and the socket"


def test_a_file_that_became_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(SourceError, match="not a regular file"):
        read_file(str(tmp_path / "x.jpg"), 1000)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become another user")
def test_no_permission():
    with tempfile.TemporaryDirectory() as name:  # not pytest's, whose folders other users cannot enter
        no_permission(Path(name))


def no_permission(place):
    place.chmod(0o711)
    folder = os.fsencode(place / "pictures")
    os.mkdir(folder)  # noqa: PTH102 - bytes
    write(folder, b"mine.jpg")
    os.chmod(write(folder, b"secret.jpg", 1), 0)  # noqa: PTH101 - bytes
    closed = Path(os.fsdecode(folder)) / "closed"
    closed.mkdir(mode=0)
    os.seteuid(65534)  # in this process: another user may be unable to run this Python
    try:
        reasons = {}
        for item in discover([os.fsdecode(folder)]):
            if isinstance(item, SourceItem):
                try:
                    assert item.read(1 << 20)
                    reasons[item.id] = ""
                except SourceError as error:
                    reasons[item.id] = error.message.rpartition(": ")[2]
            elif isinstance(item, Failure):
                reasons[item.id] = item.message.rpartition(": ")[2]
            else:
                assert not item.complete, "so nothing is pruned"
    finally:
        os.seteuid(0)
    closed.chmod(0o700)
    assert reasons == {"mine.jpg": "", "secret.jpg": "Permission denied", "closed/": "Permission denied"}


def test_files_that_vanish_and_change_while_they_are_read(folder, tmp_path):
    """A file changed during the run is indexed completely or reported; the next run adds the new state."""
    paths = [write(folder, b"%03d.jpg" % number, number) for number in range(60)]
    stop = threading.Event()

    def meddle():
        random = np.random.default_rng(0)
        while not stop.is_set():
            path = paths[random.integers(len(paths))]
            match random.integers(3):
                case 0 if os.path.exists(path):  # noqa: PTH110 - bytes
                    os.unlink(path)  # noqa: PTH108 - bytes
                case 1 if os.path.exists(path):  # noqa: PTH110 - bytes
                    os.truncate(path, 500)
                case _:
                    write(folder, os.path.basename(path), int(random.integers(1000)))  # noqa: PTH119 - bytes

    thread = threading.Thread(target=meddle)
    thread.start()
    done = add(tmp_path / "c", "--json", os.fsdecode(folder))
    stop.set()
    thread.join()
    assert done.stderr == b""
    report = json.loads(done.stdout)
    assert {failure["code"] for failure in report["failures"]} <= {
        "invalid_source",
        "damaged_image",
        "empty_image",
        "not_an_image",
    }
    for number, path in enumerate(paths):
        write(folder, os.path.basename(path), 2000 + number)  # noqa: PTH119 - bytes
    report = json.loads(add(tmp_path / "c", "--json", os.fsdecode(folder)).stdout)
    assert (report["failures"], report["added"] + report["replaced"]) == ([], len(paths))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_full_disk(folder, tmp_path):
    """A full disk is reported; stored images stay intact, and with free space the run continues."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        for number in range(150):
            write(folder, b"%03d.jpg" % number, number)
        done = add(disk / "c", os.fsdecode(folder))
        assert done.returncode == 5
        assert b"Traceback" not in done.stderr
        assert b"disk" in done.stderr.lower()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        report = json.loads(add(disk / "c", "--json", os.fsdecode(folder)).stdout)
        assert report["failures"] == []
        assert report["added"] + report["unchanged"] == 150
    finally:
        subprocess.run(["umount", str(disk)], check=True)

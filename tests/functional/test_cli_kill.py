"""Tests that kill commands at random times and run them again: no data is lost or incomplete.

``KILL_ROUNDS`` is the number of kills, ``KILL_SEED`` determines the times.
"""

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from make_collection import picture

import imagefinder
from imagefinder.core.errors import CollectionFormatError

ROUNDS = int(os.environ.get("KILL_ROUNDS", "8"))
FORMAT_1 = Path(__file__).parents[1] / "fixtures" / "collections" / "format-1"
SMALL = {"IMAGEFINDER_SIFT_MAX_KEYPOINTS": "40", "IMAGEFINDER_THREADS": "1"}
NAMES = [f"{number}.png" for number in range(10)]
# A fork server that has imported everything starts a command within milliseconds, so that most kills interrupt its
# work and not its start.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["imagefinder.cli.app", "imagefinder.collection", "imagefinder.indexing.pipeline", "cv2"]
)


def command(arguments):
    os.environ.update(SMALL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    from imagefinder.cli.app import run

    os._exit(run(arguments))


def call(*arguments, kill_after=None):
    """Run a command; returns its exit code, negative if killed by a signal, and the time it took."""
    process = FORKS.Process(target=command, args=([str(argument) for argument in arguments],))
    begin = time.monotonic()
    process.start()
    if kill_after is not None:
        process.join(kill_after)
        process.kill()
    process.join()
    return process.exitcode, time.monotonic() - begin


class World:
    """A folder of images, its collection, and the expected contents."""

    def __init__(self, folder, choose):
        self.choose, self.images, self.place = choose, folder / "images", folder / "collection"
        self.backups = folder / "backups"
        self.images.mkdir()
        self.state, self.made, self.version = {}, {}, 0
        self.settings = imagefinder.Settings(sift_max_keypoints=40, threads=1)

    def write(self, name):
        self.version += 1
        (self.images / name).write_bytes(picture(self.version))
        return picture(self.version)

    def next(self):
        """Choose a command; returns its kind, its arguments, and the state after it."""
        missing, present = [n for n in NAMES if n not in self.state], sorted(self.state)
        kinds = ["add"] * 3 * bool(missing) + ["replace", "remove", "prune", "check", "backup", "build-index"] * (
            len(present) > 3
        )
        kind, after = self.choose.choice(kinds), dict(self.state)
        add = ("-c", self.place, "add", self.images, "-m", "sift")
        names = missing if kind == "add" else present
        some = self.choose.sample(names, min(3, len(names)))
        if kind in ("add", "replace"):
            after.update({name: self.write(name) for name in some})
            return kind, add, after
        if kind in ("remove", "prune"):
            for name in some:
                (self.images / name).unlink(missing_ok=True)
                after.pop(name)
            return kind, ("-c", self.place, "remove", *some) if kind == "remove" else (*add, "--prune"), after
        if kind == "build-index":
            return kind, ("-c", self.place, "build-index", "--rebuild"), after
        self.version += 1
        backup = ("-c", self.place, "backup", self.backups / str(self.version))
        return kind, backup if kind == "backup" else ("-c", self.place, "check", "--repair"), after

    def verify(self, *states, place=None):
        """Check that each image matches a state, is complete and can be found, and that there are no others."""
        with imagefinder.open(place or self.place, create=False, settings=self.settings) as collection:
            assert collection.check().damages == ()
            stored = {record.id: record.sha256 for record in collection.images(limit=1000)}
            assert collection.info().images == len(stored)
            for name in set(stored).union(*states):
                allowed = [state.get(name) for state in states]
                found = stored.get(name)
                data = next((d for d in allowed if (d and hashlib.sha256(d).hexdigest()) == found), b"")
                assert data != b"", f"{name} has the digest {found}"
                if data is not None:
                    features = collection.store.features(name, "sift")
                    assert np.array_equal(features.descriptors, self.features(collection, data).descriptors)
                    assert Path(collection.get(name).uri).name == name
                    assert collection.thumbnail(name)
            for name in self.choose.sample(sorted(stored), min(2, len(stored))):
                data = next(
                    s[name] for s in states if hashlib.sha256(s.get(name, b"")).hexdigest() == stored[name]
                )
                best = collection.search(data, method="sift", ranking="matches", evalues=False, k=1).hits[0]
                own = self.features(collection, data)  # an image may contain equal descriptors
                assert (best.id, best.score) == (name, collection.method("sift").matcher.score(own, own)[0])
            if stored and place is None and self.choose.random() < 0.5:
                self.verify_index(collection, sorted(stored))

    def verify_index(self, collection, stored):
        """Check that fast searches equal exact ones, whatever state the kill left the index in, and update it."""
        name = self.choose.choice(stored)
        for mode in ("fast", "exact"):
            answer = collection.search(id=name, method="sift", ranking="matches", evalues=False, k=100, mode=mode)
            assert answer.mode == mode
            assert {hit.id for hit in answer.hits} == {*stored} - {name}
        assert collection.rebuild_index(rebuild=False).problems == ()
        assert collection.verify_index().problems == ()
        (state,) = collection.verify_index().indexes
        assert (state.images, state.waiting, state.kept) == (len(stored), 0, True)
        assert not list(self.place.glob("index/shortlist-sift/.new-*"))

    def features(self, collection, data):
        from imagefinder.images.decoding.decode import decode

        if data not in self.made:
            rgb = decode(data, max_bytes=1 << 20, max_pixels=1 << 20).rgb
            self.made[data] = collection.method("sift").extractor.extract([rgb])
        return self.made[data]


def test_a_killed_command_loses_no_data_and_can_be_repeated(tmp_path):
    choose = random.Random(os.environ.get("KILL_SEED", "1"))
    world = World(tmp_path, choose)
    after = {name: world.write(name) for name in NAMES[:6]}
    code, seconds = call("-c", world.place, "add", world.images, "-m", "sift")
    assert code == 0
    world.state = after
    killed, took = {}, {}
    for _ in range(ROUNDS):
        kind, arguments, after = world.next()
        code, _ = call(*arguments, kill_after=choose.uniform(0, took.get(kind, seconds)))
        if code == -signal.SIGKILL:
            killed[kind] = killed.get(kind, 0) + 1
        world.verify(world.state, after)
        destination = Path(arguments[-1]) if kind == "backup" else None
        if destination and destination.exists():  # a backup under its final name is complete
            world.verify(world.state, place=destination)
            assert code in (0, -signal.SIGKILL)
            shutil.rmtree(destination)
        code, took[kind] = call(*arguments)
        assert code == 0 or (code, kind) == (1, "remove")  # some are already removed
        world.verify(after, *([after] if kind != "backup" else []))
        if destination:
            world.verify(after, place=destination)
            shutil.rmtree(destination)
        world.state = after
    sys.stdout.write(f"killed: {killed}\n")
    assert sum(killed.values()) >= ROUNDS // 3


def test_a_killed_migration_leaves_one_format_or_the_other(tmp_path):
    choose = random.Random(os.environ.get("KILL_SEED", "1"))
    place = tmp_path / "c"
    shutil.copytree(FORMAT_1, place)
    _, seconds = call("-c", place, "migrate")
    formats = []
    for _ in range(ROUNDS):
        shutil.rmtree(place)
        shutil.copytree(FORMAT_1, place)
        code, _ = call("-c", place, "migrate", kill_after=choose.uniform(0, seconds))
        assert code in (0, -signal.SIGKILL)
        with closing(sqlite3.connect(place / "collection.sqlite")) as database:
            formats.append(database.execute("PRAGMA user_version").fetchone()[0])
        if formats[-1] == 1:
            with pytest.raises(CollectionFormatError, match="older format 1"):
                imagefinder.open(place, create=False)
            assert call("-c", place, "migrate")[0] == 0
        with closing(imagefinder.open(place, create=False)) as collection:
            assert collection.check().sound
            assert [record.metadata for record in collection.images()] == [{"seed": 1}, {"seed": 2}]
        assert not list(place.glob("*.half"))
    sys.stdout.write(f"formats after the kill: {formats.count(1)} old, {formats.count(2)} new\n")


def test_a_command_runs_after_a_concurrent_one_was_killed(tmp_path):
    """The lock of a dead process does not block others."""
    world = World(tmp_path, random.Random(1))
    world.state = {name: world.write(name) for name in NAMES}
    call("-c", world.place, "add", world.images, "-m", "sift", kill_after=0.5)
    call("-c", world.place, "remove", "0.png", kill_after=0.05)
    assert call("-c", world.place, "add", world.images, "-m", "sift")[0] == 0
    world.verify(world.state)

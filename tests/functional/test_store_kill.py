"""A writer that is killed while writing, and a reader next to a writer.

Run as a script this file is the writer; ``KILL_ROUNDS`` sets how often it is killed.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from imagefinder.core.errors import UnknownImageError
from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore

LOCAL, GLOBAL = FeatureSpec("local", 128, "uint8"), FeatureSpec("global", 64, "float32")
IDS = [f"image {number}" for number in range(40)]


def features_of(image_id, version):
    generator = np.random.default_rng([version, *image_id.encode()])
    count = int(generator.integers(1, 600))
    local = LocalFeatures(
        generator.integers(0, 256, (count, 128), dtype=np.uint8),
        generator.random((count, 4), dtype=np.float32),
        np.array([0, count], dtype=np.int64),
    )
    vectors = generator.random((1, 64), dtype=np.float32)
    # They tell a reader what the rest must be.
    local.keypoints[0, 0] = vectors[0, 0] = version
    return {"local": local, "global": GlobalFeatures(vectors)}


def entry_of(image_id, version):
    record = ImageRecord(image_id, "", "", 1, 1, 1, "JPEG", metadata={"version": version})
    return Entry(record, features_of(image_id, version), b"thumbnail %d" % version)


def open_store(folder, cache_bytes=1 << 30):
    store = EmbeddedStore(folder, create=True, cache_bytes=cache_bytes)
    store.register(Fingerprint("local", 1), LOCAL)
    store.register(Fingerprint("global", 1), GLOBAL)
    return store


def write_until_killed(folder, seed):
    """Print each change before and after making it."""
    choose, version = random.Random(seed), seed * 1_000_000
    store = open_store(folder)
    while True:
        version += 1
        ids = choose.sample(IDS, choose.randint(1, 12))
        change = choose.choices(["put", "delete", "features"], [6, 2, 2])[0]
        if change == "features":
            ids = [i for i in ids[:1] if store.status([i])]
        say(f"try {change} {version} {' '.join(i.replace(' ', '_') for i in ids)}")
        if change == "put":
            store.put([entry_of(image_id, version) for image_id in ids])
        elif change == "delete":
            store.delete(ids)
        for image_id in ids if change == "features" else []:
            # Other writers may delete it meanwhile.
            with suppress(UnknownImageError):
                store.put_features(image_id, {"local": features_of(image_id, version)["local"]})
        say("done")


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def start_writer(folder, seed):
    return subprocess.Popen(
        [sys.executable, __file__, str(folder), str(seed)], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


def apply(state, change, version, ids):
    """State: id -> (version of the image, version of its local features)."""
    state = dict(state)
    for image_id in ids:
        if change == "put":
            state[image_id] = (version, version)
        elif change == "delete":
            state.pop(image_id, None)
        else:
            state[image_id] = (state[image_id][0], version)
    return state


def same(given, expected):
    if isinstance(given, GlobalFeatures):
        return np.array_equal(given.vectors, expected.vectors)
    return np.array_equal(given.descriptors, expected.descriptors) and np.array_equal(
        given.keypoints, expected.keypoints
    )


def found_in(store, candidates):
    """Find the candidate state of the store; every image is read and compared bit by bit."""
    versions = {record.id: record.metadata["version"] for record in store.images(limit=1000)}
    scans = {
        method: {
            image_id: block.features.image(index)
            for block in store.scan(method)
            for index, image_id in enumerate(block.ids)
        }
        for method in ("local", "global")
    }
    assert set(scans["local"]) == set(scans["global"]) == set(versions)
    for state in candidates:
        if {image_id: version for image_id, (version, _) in state.items()} == versions and all(
            same(scans["local"][image_id], features_of(image_id, local)["local"])
            and same(scans["global"][image_id], features_of(image_id, version)["global"])
            and store.thumbnail(image_id) == b"thumbnail %d" % version
            for image_id, (version, local) in state.items()
        ):
            return state
    pytest.fail(f"the store contains {versions}, which is not one of {candidates}")


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path):
    folder = tmp_path / "collection"
    choose = random.Random(os.environ.get("KILL_SEED", "1"))
    state, changes = {}, 0
    for seed in range(int(os.environ.get("KILL_ROUNDS", "15"))):
        with start_writer(folder, seed) as writer:
            # The first round is killed while the process starts or the tables are made, the others at work.
            first = writer.stdout.readline() if seed else ""
            time.sleep(choose.uniform(0, 0.4))
            writer.kill()
            lines = (first + writer.stdout.read()).splitlines()
        assert writer.returncode == -signal.SIGKILL
        pending = state
        for line in lines:
            if line == "done":
                state = pending
                changes += 1
            elif line.startswith("try "):
                _, change, version, *ids = line.split()
                pending = apply(state, change, int(version), [i.replace("_", " ") for i in ids])
        with closing(open_store(folder)) as store:
            state = found_in(store, [state, pending])
            assert store.info().images == len(state)
            store.put([entry_of("after the fall", seed)])
            store.delete(["after the fall"])
        with closing(sqlite3.connect(folder / "collection.sqlite")) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    assert changes > 0


def test_a_reader_sees_complete_images_during_writes_without_waiting(tmp_path):
    folder = tmp_path / "collection"
    store = open_store(folder, cache_bytes=1 << 20)
    seen, scans, slowest = set(), 0, 0.0
    with closing(store), start_writer(folder, 1) as writer:
        try:
            writer.stdout.readline()
            end = time.monotonic() + 3
            while time.monotonic() < end:
                begin = time.monotonic()
                found = {
                    method: [
                        (image_id, block.features.image(index))
                        for block in store.scan(method)
                        for index, image_id in enumerate(block.ids)
                    ]
                    for method in ("global", "local")
                }
                slowest = max(slowest, time.monotonic() - begin)
                assert len(found["global"]) == len(dict(found["global"]))
                for image_id, given in found["global"]:
                    version = int(given.vectors[0, 0])
                    assert same(given, features_of(image_id, version)["global"])
                    seen.add((image_id, version))
                for image_id, given in found["local"]:
                    version = int(given.keypoints[0, 0])
                    assert same(given, features_of(image_id, version)["local"])
                scans += 1
        finally:
            writer.kill()
        acknowledged = writer.stdout.read().count("done")
    assert acknowledged > 3
    assert scans > 3
    assert len(seen) > 40  # changes were seen, not one state for ever
    assert slowest < 5


def test_many_processes_create_one_collection_at_once(tmp_path):
    folder = tmp_path / "new" / "collection"
    writers = [start_writer(folder, seed) for seed in range(1, 5)]
    try:
        for writer in writers:
            while (line := writer.stdout.readline()) and line != "done\n":
                pass
            assert line == "done\n"
    finally:
        for writer in writers:
            writer.kill()
            writer.stdout.close()
            writer.wait()
    with closing(open_store(folder)) as store:
        assert store.info().images == len(store.images(limit=1000))


if __name__ == "__main__":
    write_until_killed(Path(sys.argv[1]), int(sys.argv[2]))

"""``imagefinder copy`` is killed at random moments while its source changes, and resumed: the copy is complete.

``KILL_SEED`` determines the moments.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from imagefinder.core.features import FeatureSpec, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, Failure, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore

IMAGES, KILLS = 6000, 6
MADE_BY = Fingerprint("sift", 1, {})


def image(number, version=0):
    generator = np.random.default_rng([number, version])
    points = LocalFeatures(
        generator.integers(0, 256, (40, 128), dtype=np.uint8),
        generator.uniform(0, 99, (40, 4)).astype(np.float32),
        np.array([0, 40], dtype=np.int64),
    )
    name = f"{number:05}.jpg"
    record = ImageRecord(name, f"file:///{name}", f"{number:064x}", 1, 9, 9, "JPEG", metadata={"version": version})
    return Entry(record, {"sift": points}, generator.bytes(2000))


@pytest.fixture
def source(tmp_path):
    store = EmbeddedStore(tmp_path / "source", create=True, cache_bytes=0)
    store.register(MADE_BY, FeatureSpec("local", 128, "uint8"))
    for start in range(0, IMAGES, 500):
        store.put([image(number) for number in range(start, start + 500)])
    store.delete(["00007.jpg"], remember=True)
    store.record_failures([Failure("bad.jpg", "file:///bad.jpg", "not_an_image", "no image")])
    yield store
    store.close()


def start(tmp_path, *options):
    command = [sys.executable, "-m", "imagefinder", "copy", tmp_path / "source", tmp_path / "target", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stored(tmp_path):
    try:
        store = EmbeddedStore(tmp_path / "target", create=False, cache_bytes=0)
    except Exception:  # it is being created
        return 0
    try:
        return store.count()
    finally:
        store.close()


def test_a_copy_that_is_killed_again_and_again_is_complete_in_the_end(tmp_path, source):
    choose = random.Random(os.environ.get("KILL_SEED", "1"))
    stop = threading.Event()

    def write():
        number = 0
        while not stop.wait(0.05):
            number += 1
            source.put([image(choose.randrange(IMAGES + 500), number)])
            if number % 5 == 0:
                source.delete([f"{choose.randrange(IMAGES):05}.jpg"])

    writer = threading.Thread(target=write)
    writer.start()
    killed, counts = 0, []
    try:
        for attempt in range(KILLS):
            process = start(tmp_path, *(["--resume"] if attempt else []))
            before = counts[-1] if counts else 0
            while process.poll() is None and stored(tmp_path) <= before:
                time.sleep(0.02)
            time.sleep(choose.uniform(0, 0.4))
            process.kill()
            process.communicate()
            killed += process.returncode < 0
            counts.append(stored(tmp_path))
    finally:
        stop.set()
        writer.join()
    assert killed >= KILLS // 2
    process = start(tmp_path, "--resume", "--json")
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    report = json.loads(out)
    assert report["verified"]
    assert (report["failures"], report["removals"]) == (1, 1)
    target = EmbeddedStore(tmp_path / "target", create=False, cache_bytes=0)
    ids = [record.id for record in source.images(limit=IMAGES * 2)]
    assert [record.id for record in target.images(limit=IMAGES * 2)] == ids
    assert target.digests(ids) == source.digests(ids)
    assert target.check() == []
    target.close()

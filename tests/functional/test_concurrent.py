"""Several processes and threads at one collection, with a model of what must be there.

Each writer owns some images and knows what it left there; all of them fight for one more. Readers look at all.
``STRESS_SECONDS`` sets how long.
"""

import json
import multiprocessing
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np

from imagefinder.core.errors import UnknownImageError
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore

SECONDS = float(os.environ.get("STRESS_SECONDS", "2.5"))
SPEC = FeatureSpec("global", 64, "float32")
PROCESSES, THREADS = 3, 2
FORKS = multiprocessing.get_context("forkserver")


def entry(image_id, version):
    vector = np.random.default_rng([version, *image_id.encode()]).random((1, 64), dtype=np.float32)
    vector[0, 0] = version
    record = ImageRecord(image_id, "", "", 1, 1, 1, "", metadata={"version": version})
    return Entry(record, {"m": GlobalFeatures(vector)}, b"thumbnail %d" % version)


def open_store(folder):
    store = EmbeddedStore(folder, create=True, cache_bytes=1 << 20)
    store.register(Fingerprint("m", 1), SPEC)
    return store


def verify(store):
    """Whatever is there is whole, and each image once."""
    seen = set()
    for block in store.scan("m"):
        for index, image_id in enumerate(block.ids):
            assert image_id not in seen
            seen.add(image_id)
            given = block.features.image(index)
            assert np.array_equal(given.vectors, entry(image_id, int(given.vectors[0, 0])).features["m"].vectors)
    for record in store.images(limit=1000):
        try:
            assert store.thumbnail(record.id).startswith(b"thumbnail ")
        except UnknownImageError:  # gone meanwhile
            continue
    assert store.info().images >= 0


def work(store, worker, end):
    """Change what is one's own, and the common image; what is one's own must be as it was left, at every step."""
    choose, own, puts = random.Random(worker), {}, 0
    while time.monotonic() < end:
        image_id = f"{worker}/{choose.randrange(8)}"
        there = store.status([image_id])
        assert bool(there) == (image_id in own)
        if image_id in own:
            assert store.get(image_id).metadata == {"version": own[image_id]}
            assert int(store.features(image_id, "m").vectors[0, 0]) == own[image_id]
        if choose.random() < 0.3:
            assert store.delete([image_id]) == (image_id in own)
            own.pop(image_id, None)
        else:
            own[image_id] = choose.randrange(1 << 20)
            store.put([entry(image_id, own[image_id]), entry("common", worker)])
            puts += 1
        verify(store) if choose.random() < 0.1 else None
    return own, puts


def process(folder, number, end, results):
    with closing(open_store(folder)) as store, ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(work, store, number * THREADS + thread, end) for thread in range(THREADS)]
        results.put(json.dumps([future.result() for future in futures]))


def test_writers_and_readers_in_processes_and_threads(tmp_path):
    folder = tmp_path / "c"
    results = FORKS.Queue()
    with closing(open_store(folder)) as store:
        # The monotonic clock is one for all processes; starting them may take a while.
        end = time.monotonic() + 2 + SECONDS
        workers = [
            FORKS.Process(target=process, args=(folder, number, end, results)) for number in range(PROCESSES)
        ]
        stop, looks, failed = threading.Event(), [], []

        def look():
            while not stop.is_set():
                try:
                    verify(store)
                except BaseException as error:  # told by the main thread
                    failed.append(error)
                    return
                looks.append(1)

        reader = threading.Thread(target=look)
        for worker in workers:
            worker.start()
        reader.start()
        left = [json.loads(results.get(timeout=120)) for _ in workers]
        stop.set()
        reader.join()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        assert failed == []
        expected, puts = {}, 0
        for own, count in (pair for pairs in left for pair in pairs):
            expected.update(own)
            puts += count
        held = {record.id: record.metadata["version"] for record in store.images(limit=1000)}
        assert held.pop("common") in range(PROCESSES * THREADS)
        assert held == expected
        assert store.check() == []
        assert store.info().images == len(expected) + 1
        assert puts > PROCESSES * THREADS
        assert looks

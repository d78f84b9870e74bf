import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagefinder.core.features import GlobalFeatures, LocalFeatures
from imagefinder.core.records import GalleryBlock
from imagefinder.stores import cache as module
from imagefinder.stores.cache import Changes, FeatureCache

IMAGE = 16 + module._BYTES_PER_IMAGE
"""Bytes of an image of the fake, as the cache counts."""


class FakeSource:
    """Features in a dictionary, key -> image; the vector of a key is (key, -key, 0, 0)."""

    def __init__(self, key=1, kind="global"):
        self.key, self.kind = key, kind
        self.alive = {}
        self.removed = []
        self.last = self.loads = self.loaded = self.listings = 0

    def add(self, *ids):
        for image_id in ids:
            self.remove(*(i for i in self.alive.values() if i == image_id))
            self.last += 1
            self.alive[self.last] = image_id

    def remove(self, *ids):
        self.removed += [key for key, image_id in self.alive.items() if image_id in ids]
        self.alive = {key: image_id for key, image_id in self.alive.items() if image_id not in ids}

    def changes(self, since):
        last, removed = map(int, (since or "0.0").split("."))
        new = np.array([key for key in self.alive if key > last], dtype=np.int64)
        gone = np.array(self.removed[removed:] if since else [], dtype=np.int64)
        self.listings += len(new) > 0
        cursor = f"{self.last}.{len(self.removed)}"
        sizes = np.full(len(new), 16, dtype=np.int64)
        return Changes(cursor, new, sizes, gone, complete=since is None), len(self.alive)

    def load(self, listed, cursor):
        keys = np.array([key for key in self.alive if listed[0] <= key <= listed[-1]], dtype=np.int64)
        self.loads += 1
        self.loaded += len(keys)
        return keys, GalleryBlock(tuple(self.alive[key] for key in keys.tolist()), self.features(keys))

    def features(self, keys):
        rows = np.stack([keys, -keys, 0 * keys, 0 * keys], axis=1).astype(np.float32)
        if self.kind == "global":
            return GlobalFeatures(rows)
        counts = keys % 3
        return LocalFeatures(
            np.repeat(keys % 251, counts).astype(np.uint8)[:, None],
            np.repeat(rows, counts, axis=0),
            np.concatenate([[0], np.cumsum(counts)]),
        )


class SeveralWriters(FakeSource):
    """A feed with keys that are smaller than earlier ones, and some that it reports repeatedly."""

    def __init__(self, key=1, kind="global"):
        super().__init__(key, kind)
        self.alive_since = {}
        self.turn = 0

    def add(self, *ids):
        self.turn += 1
        for image_id in ids:
            self.remove(*(i for i in self.alive.values() if i == image_id))
            self.last += 1
            self.alive[self.last ^ 5] = image_id
            self.alive_since[self.last ^ 5] = self.turn
        self.alive = dict(sorted(self.alive.items()))

    def changes(self, since):
        turn, removed = map(int, (since or "0.0").split("."))
        new = np.array([key for key in self.alive if self.alive_since[key] > turn - 2], dtype=np.int64)
        gone = np.array(self.removed[removed:] if since else [], dtype=np.int64)
        sizes = np.full(len(new), 16, dtype=np.int64)
        cursor = f"{self.turn}.{len(self.removed)}"
        return Changes(cursor, new, sizes, gone, complete=since is None), len(self.alive)

    def load(self, listed, cursor):
        keys = np.array([key for key in listed.tolist() if key in self.alive], dtype=np.int64)
        assert (np.diff(listed) > 0).all()
        return keys, GalleryBlock(tuple(self.alive[key] for key in keys.tolist()), self.features(keys))


def scan(cache, source):
    """Id -> features, of a scan in which each image comes once and its features are those of its key."""
    found = {}
    for block in cache.scan(source, [1, 2, 3]):
        assert len(block.ids) == len(block.features)
        for index, image_id in enumerate(block.ids):
            assert image_id not in found
            found[image_id] = block.features.image(index)
    assert sorted(found) == sorted(source.alive.values())
    for key, image_id in source.alive.items():
        expected = source.features(np.array([key]))
        if source.kind == "global":
            np.testing.assert_array_equal(found[image_id].vectors, expected.vectors)
        else:
            np.testing.assert_array_equal(found[image_id].descriptors, expected.descriptors)
            np.testing.assert_array_equal(found[image_id].keypoints, expected.keypoints)
            np.testing.assert_array_equal(found[image_id].offsets, expected.offsets)
    return found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 10 * IMAGE)


def numbered(begin, end):
    return [f"i{number}" for number in range(begin, end)]


def test_the_second_scan_reads_nothing():
    cache, source = FeatureCache(1 << 20), FakeSource()
    source.add(*numbered(0, 95))
    scan(cache, source)
    assert (source.loads, source.loaded) == (10, 95)
    scan(cache, source)
    assert (source.loads, source.listings) == (10, 1)
    assert cache.nbytes == 95 * IMAGE


def test_only_new_images_are_read():
    cache, source = FeatureCache(1 << 20), FakeSource()
    source.add(*numbered(0, 95))
    scan(cache, source)
    source.add("new", "i3")
    source.remove("i50", "i60")
    scan(cache, source)
    assert source.loaded == 97
    assert cache.nbytes == 94 * IMAGE


def test_blocks_that_do_not_fit_are_read_each_time():
    cache, source = FeatureCache(35 * IMAGE), FakeSource()
    source.add(*numbered(0, 100))
    for _ in range(3):
        scan(cache, source)
        assert cache.nbytes == 30 * IMAGE
    assert source.loaded == 100 + 70 + 70


def test_no_cache_at_all():
    cache, source = FeatureCache(0), FakeSource()
    source.add(*numbered(0, 25))
    scan(cache, source)
    scan(cache, source)
    assert (source.loaded, cache.nbytes) == (50, 0)


def test_single_additions_do_not_pile_up():
    cache, source = FeatureCache(1 << 20), FakeSource()
    for number in range(200):
        source.add(f"i{number}")
        scan(cache, source)
    assert source.loaded < 300
    assert len(list(cache.scan(source, [1]))) <= 16 + 2 * 20 + 1


def test_an_unused_method_is_evicted():
    cache, old, new = FeatureCache(50 * IMAGE), FakeSource(1), FakeSource(2)
    old.add(*numbered(0, 50))
    new.add(*numbered(0, 50))
    scan(cache, old)
    scan(cache, new)
    scan(cache, old)
    assert old.loaded == 50
    for _ in range(12):
        scan(cache, new)
    read = new.loaded
    scan(cache, new)
    assert new.loaded == read
    assert cache.nbytes <= 50 * IMAGE


def test_a_deleted_method_is_dropped():
    cache, old, new = FeatureCache(1 << 20), FakeSource(1), FakeSource(2)
    old.add(*numbered(0, 50))
    scan(cache, old)
    assert cache.nbytes == 50 * IMAGE
    assert list(cache.scan(new, [2])) == []
    assert cache.nbytes == 0


def test_a_running_scan_keeps_its_initial_state():
    cache, source = FeatureCache(1 << 20), FakeSource()
    source.add(*numbered(0, 40))
    scan(cache, source)
    running = cache.scan(source, [1])
    first = next(running)
    source.add(*numbered(0, 40))
    scan(cache, source)
    assert [image_id for block in (first, *running) for image_id in block.ids] == numbered(0, 40)


def test_a_running_scan_keeps_no_blocks_that_others_will_not_use():
    cache, source = FeatureCache(1 << 20), FakeSource()
    source.add(*numbered(0, 40))
    running = cache.scan(source, [1])
    next(running)
    source.remove("i5", "i15", "i25", "i35")
    scan(cache, source)
    begun_with = running.gi_frame.f_locals["segments"]
    assert sum(len(block.ids) for block in running) == 27
    assert [segment.block is None for segment in begun_with] == [False, True, True, True]


def test_images_that_go_while_they_are_read():
    cache, source = FeatureCache(1 << 20), FakeSource()
    source.add(*numbered(0, 40))
    running = cache.scan(source, [1])
    next(running)
    source.remove("i15", *numbered(20, 30))
    rest = [image_id for block in running for image_id in block.ids]
    assert rest == [*numbered(10, 15), *numbered(16, 20), *numbered(30, 40)]
    scan(cache, source)
    scan(cache, source)
    assert cache.nbytes == 29 * IMAGE


def test_threads_read_each_block_once_without_waiting_for_consumers():
    cache, source = FeatureCache(1 << 20), FakeSource()
    source.add(*numbered(0, 95))
    open_scan = cache.scan(source, [1])
    next(open_scan)
    meeting = threading.Barrier(4)

    def search():
        meeting.wait()
        return sorted(scan(cache, source))

    with ThreadPoolExecutor(4) as pool:
        assert {tuple(found) for found in pool.map(lambda _: search(), range(4))} == {
            tuple(sorted(numbered(0, 95)))
        }
    assert source.loads == 10


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60, database=None
)
@given(
    st.sampled_from([FakeSource, SeveralWriters]),
    st.sampled_from(["global", "local"]),
    st.integers(0, 60),
    st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 60), max_size=40), st.booleans()), max_size=25),
)
def test_any_changes_in_any_order(feed, kind, limit, steps):
    cache, source, beside = FeatureCache(limit * IMAGE), feed(1, kind), feed(2)
    beside.add(*numbered(0, 15))
    for adding, numbers, look in steps:
        ids = [f"i{number}" for number in numbers]
        if adding:
            source.add(*ids)
        else:
            source.remove(*ids)
        if look:
            scan(cache, source)
            scan(cache, beside)
            assert cache.nbytes <= limit * IMAGE
    scan(cache, source)

"""Tests of making one store equal to another; each pair of stores in memory and on disk."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from imagefinder.core.features import FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Failure, Removal
from imagefinder.stores import transfer
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.memory import MemoryStore
from imagefinder.stores.transfer import PAGE, Stopped, Transfer, checksum_of
from imagefinder.testing.stores import METHODS, ODD_IDS, content, entry, fingerprint, register, scanned
from imagefinder.testing.stores.thumbnails import MADE_BY, SPEC, with_features

MANY = 2 * PAGE + 17


@pytest.fixture(params=["memory", "embedded"])
def source(request, tmp_path):
    store = make(request.param, tmp_path / "source")
    register(store)
    yield store
    store.close()


@pytest.fixture(params=["memory", "embedded"])
def target(request, tmp_path):
    store = make(request.param, tmp_path / "target")
    yield store
    store.close()


def make(kind, folder):
    return MemoryStore() if kind == "memory" else EmbeddedStore(folder, create=True, cache_bytes=0)


def images(source, target, **values):
    values = {"progress": lambda *_: None, "stop": threading.Event(), **values}
    made = Transfer(source, target, (MADE_BY, SPEC), **values)
    return made.images(), made


def assert_equal(source, target):
    ids = [record.id for record in source.images(limit=10_000)]
    assert list(target.images(limit=10_000)) == list(source.images(limit=10_000))
    assert target.thumbnails(ids) == source.thumbnails(ids)
    assert {name: method.fingerprint for name, method in target.info().methods.items()} == {
        name: method.fingerprint for name, method in source.info().methods.items()
    }
    for method in source.info().methods:
        assert scanned(target, method) == scanned(source, method)
    assert target.digests(ids) == source.digests(ids)
    assert checksum_of(target) == checksum_of(source)


def test_everything_about_an_image_is_copied(source, target):
    given = [with_features(image_id, seed, seed + 1) for seed, image_id in enumerate(ODD_IDS)]
    source.put([replace(given[0], image=replace(given[0].image, metadata={"title": "Ä", "n": [1, 2.5]}))])
    source.put(given[1:])
    source.put([replace(entry("bare", 1, methods=[]), thumbnail=b""), entry("one", 2, methods=["vector"])])
    equal, made = images(source, target)
    assert (equal, made.problems, made.copied, made.unchanged) == (True, [], len(ODD_IDS) + 2, 0)
    assert_equal(source, target)
    found, expected = (store.thumbnail_features(ODD_IDS, MADE_BY, SPEC) for store in (target, source))
    assert {one: content(batch) for one, batch in found.items()} == {
        one: content(batch) for one, batch in expected.items()
    }
    assert len(found) == len(ODD_IDS)


def test_a_second_run_copies_only_what_differs(source, target):
    source.put([entry(f"{number:04}", number % 7) for number in range(MANY)])
    images(source, target)
    source.put([entry("0005", 100), entry("new", 101)])
    source.put_features("0007", {"vector": entry("x", 102).features["vector"]})
    source.touch("0300", uri="file:///moved", stamp="2")
    source.delete(["0001", "0499", f"{MANY - 1:04}"])
    seen = []
    original = target.put
    target.put = lambda entries, **values: (
        seen.extend(one.image.id for one in entries),
        original(entries, **values),
    )
    equal, made = images(source, target)
    assert (equal, sorted(seen), made.copied, made.removed) == (True, ["0005", "0007", "0300", "new"], 4, 3)
    assert made.unchanged == MANY - 3 - 3
    assert_equal(source, target)


def test_an_empty_source_empties_the_target(source, target):
    source.put([entry(f"{number:04}", 1, methods=["vector"]) for number in range(MANY)])
    images(source, target)
    source.delete([f"{number:04}" for number in range(MANY)])
    equal, made = images(source, target)
    assert (equal, made.removed, target.count()) == (True, MANY, 0)
    assert_equal(source, target)


def test_methods_that_were_made_differently_replace_those_of_the_copy(source, target):
    source.put([entry("a", 1)])
    images(source, target)
    source.unregister("points")
    source.unregister("tokens")
    source.register(fingerprint("points", size=9), FeatureSpec("local", 8, "uint8"))
    source.put([entry("b", 2, methods=["points"])])
    assert images(source, target)[0]
    assert_equal(source, target)


def test_writers_do_not_escape_while_the_copy_runs(tmp_path):
    source, target = make("embedded", tmp_path / "source"), make("embedded", tmp_path / "target")
    register(source)
    source.put([entry(f"{number:04}", 1, methods=["vector"]) for number in range(MANY)])
    written, done = [], threading.Event()

    def write():
        generator = np.random.default_rng(1)
        for number in range(120):
            image_id = f"{generator.integers(0, MANY + 50):04}"
            if number % 4 == 0:
                source.delete([image_id])
            else:
                source.put([entry(image_id, 10 + number, methods=["vector", "points"])])
            written.append(image_id)
        done.set()

    writer = threading.Thread(target=write)
    started = threading.Event()

    def progress(stage, count, _total):
        if not started.is_set():
            started.set()
            writer.start()
        if stage == "copy" and count > PAGE:
            done.wait(60)  # the first page is behind the copy, the last ones are ahead of it

    equal, made = images(source, target, progress=progress)
    writer.join()
    assert len(written) == 120
    assert (equal, made.problems) == (True, [])
    assert_equal(source, target)
    source.close()
    target.close()


def test_a_source_that_never_rests_is_not_reported_as_equal(target):
    source = MemoryStore()
    register(source)
    source.put([entry("a", 1), entry("b", 2)])
    numbers, original = iter(range(3, 1000)), source.changes

    def changing(method, since):
        source.put([entry(f"{next(numbers)}", 3)])
        return original(method, since)

    source.changes = changing
    equal, made = images(source, target)
    assert not equal
    assert "kept changing" in made.problems[0]


def test_an_image_that_cannot_be_stored_as_it_is_is_named(source, target):
    source.put([entry("a", 1), entry("b", 2)])
    original = target.put

    def lossy(entries, **values):
        original([replace(one, thumbnail=b"") if one.image.id == "b" else one for one in entries], **values)

    target.put = lossy
    equal, made = images(source, target)
    assert not equal
    assert made.problems == ["the copy of image 'b' differs from the original"]


def test_batches_are_bounded_by_the_size_of_the_features(source, target, monkeypatch):
    monkeypatch.setattr(transfer, "_BATCH_BYTES", 3000)
    source.put([entry(f"{number}", number) for number in range(40)])
    size = sum(method.bytes for method in source.info().methods.values()) / 40
    seen = []
    original = target.put
    target.put = lambda entries, **values: (seen.append(len(entries)), original(entries, **values))
    assert images(source, target)[0]
    assert max(seen) == int(3000 / size) > 1
    assert sum(seen) == 40


def test_a_stop_is_obeyed_between_batches_and_continued(source, target):
    source.put([entry(f"{number:04}", 1, methods=["vector"]) for number in range(MANY)])
    stop = threading.Event()
    with pytest.raises(Stopped):
        images(source, target, stop=stop, progress=lambda *_: stop.set())
    stored = target.count()
    assert stored in (PAGE, 2 * PAGE)  # two pages are under way at once
    equal, made = images(source, target)
    assert (equal, made.copied, made.unchanged) == (True, MANY - stored, stored)


def test_failures_and_removals(source, target):
    failures = [
        Failure(f"{number:04}", "uri", "bad", "message", attempts=number % 5 + 1, at=float(number))
        for number in range(MANY)
    ]
    removals = [
        Removal(f"{number // 3:04}", f"file:///{number:04}", f"{number:064x}", "s", float(number))
        for number in range(MANY)
    ]
    for store, some in ((source, failures), (target, [*failures[:5], replace(failures[9], code="other")])):
        store.record_failures(some, copied=True)
    target.record_failures([Failure("zzz", "", "bad", "gone in the source")])
    source.record_removals(removals)
    target.record_removals(
        [removals[0], Removal("0001", "file:///other", "", "", 1.0), Removal("x", "u", "", "", 2.0)]
    )
    made = Transfer(source, target, (MADE_BY, SPEC), lambda *_: None, threading.Event())
    assert made.failures_and_removals() == (MANY, MANY)
    assert made.problems == []
    assert target.failures() == failures
    assert target.removals() == source.removals() == removals


def test_other_features_of_thumbnails_are_left_out(source, target):
    source.put([with_features("a", 1, by=Fingerprint("thumbnails", 99))])
    assert images(source, target)[0]
    assert target.thumbnail_features(["a"], Fingerprint("thumbnails", 99), SPEC) == {}


def test_the_checksum_does_not_depend_on_the_order(target):
    for name, seed in (("a", 1), ("b", 2)):
        target.register(fingerprint("vector"), METHODS["vector"])
        target.put([entry(name, seed, methods=["vector"], added_at=1.0)], copied=True)
    before = checksum_of(target)
    target.delete(["a"])
    assert checksum_of(target) != before
    target.put([entry("a", 1, methods=["vector"], added_at=1.0)], copied=True)
    assert checksum_of(target) == before

import shutil
import threading
from dataclasses import replace

import pytest
from runtimes import runtime

import imagefinder
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.core.settings import Settings
from imagefinder.images.resize import thumbnail
from imagefinder.indexing import thumbnails
from imagefinder.indexing.thumbnails import ThumbnailIndexer
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.extractors import textured_image
from imagefinder.testing.stores.samples import content

JPEGS = [thumbnail(textured_image(seed, 150, 200)) for seed in range(3)]


def entries(count=3):
    return [
        Entry(ImageRecord(f"{n}", "", "", 1, 400, 300, "JPEG"), {}, JPEGS[n % len(JPEGS)]) for n in range(count)
    ]


def indexer(store, **settings):
    return ThumbnailIndexer(store, runtime(Settings(threads=1, **settings)))


def usage(store):
    return store.thumbnail_usage(runtime(Settings(threads=1)).thumbnail_method.extractor.fingerprint())


def features(store, *ids):
    extractor = runtime(Settings(threads=1)).thumbnail_method.extractor
    return store.thumbnail_features(ids, extractor.fingerprint(), extractor.spec)


def test_new_images_get_the_features_of_their_thumbnails():
    store = MemoryStore()
    store.put(indexer(store).with_features([*entries(), replace(entries()[0], thumbnail=b"")][1:]))
    assert set(features(store, "0", "1", "2")) == {"1", "2"}


def test_features_of_the_same_thumbnail_are_used_again(monkeypatch):
    store = MemoryStore()
    store.put(indexer(store).with_features(entries(1)))
    monkeypatch.setattr(thumbnails, "thumbnail_features", lambda _method, images, _sizes: [None] * len(images))
    copy = replace(entries(1)[0], image=replace(entries(1)[0].image, id="copy"))
    store.put(indexer(store).with_features([copy, entries(2)[1]], ["0", ""]))
    found = features(store, "0", "1", "copy")
    assert set(found) == {"0", "copy"}
    assert content(found["copy"]) == content(found["0"])


def test_the_budget_is_not_exceeded():
    store = MemoryStore()
    store.put(indexer(store).with_features(entries(1)))
    one = usage(store).bytes
    for number in (1, 2):
        limited = indexer(store, thumbnail_features_bytes=one + 9)
        store.put(limited.with_features(entries()[number : number + 1]))
        assert limited.complete(threading.Event()) == 0
    assert usage(store).images == 1
    both = indexer(store, thumbnail_features_bytes=2 * one + 50_000)
    assert both.complete(threading.Event()) >= 1
    assert one < usage(store).bytes <= 2 * one + 50_000


def test_no_budget_means_none_are_stored_or_looked_up():
    store = MemoryStore()
    made = indexer(store, thumbnail_features_bytes=0).with_features(entries())
    assert [one.thumbnail_features for one in made] == [None] * 3
    store.put(made)
    assert indexer(store, thumbnail_features_bytes=0).complete(threading.Event()) == 0


@pytest.mark.parametrize("batch", [2, 100])
def test_images_of_earlier_versions_are_completed_a_bounded_number_at_a_time(monkeypatch, batch):
    monkeypatch.setattr(thumbnails, "COMPLETED", 4)
    monkeypatch.setattr(thumbnails, "_BATCH", batch)
    store = MemoryStore()
    store.put([*entries(5), replace(entries(6)[5], thumbnail=b""), replace(entries(7)[6], thumbnail=b"damaged")])
    seen = []
    assert [indexer(store).complete(threading.Event(), lambda *step: seen.append(step)) for _ in range(2)] == [
        4,
        1,
    ]
    assert seen == [*((start, 4) for start in range(0, 4, batch)), (0, 2)]  # one is damaged
    assert usage(store).images == 5
    stopped = threading.Event()
    stopped.set()
    store.put(entries(1))
    assert indexer(store).complete(stopped) == 0
    assert indexer(store).complete(threading.Event()) == 1


@pytest.fixture
def folder(tmp_path):
    for number, jpeg in enumerate(JPEGS):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg)
    return tmp_path


@pytest.fixture
def collection():
    with imagefinder.open(settings=Settings(store="memory", threads=1, isolate=False)) as collection:
        yield collection


def test_a_moved_file_and_a_copy_keep_the_features(folder, collection, monkeypatch):
    collection.add(folder, methods=["sift"])
    before = features(collection.store, "0.jpg", "1.jpg", "2.jpg")
    assert set(before) == {"0.jpg", "1.jpg", "2.jpg"}
    monkeypatch.setattr(thumbnails, "thumbnail_features", lambda _method, images, _sizes: [None] * len(images))
    (folder / "0.jpg").rename(folder / "moved.jpg")
    shutil.copy(folder / "1.jpg", folder / "copy.jpg")
    report = collection.add(folder)
    assert (report.moved, report.added) == (1, 1)
    after = features(collection.store, "moved.jpg", "1.jpg", "2.jpg", "copy.jpg")
    assert content(after["moved.jpg"]) == content(before["0.jpg"])
    assert content(after["copy.jpg"]) == content(before["1.jpg"])
    assert collection.add(folder / "moved.jpg").unchanged == 1
    assert usage(collection.store).images == 4


def test_only_a_run_that_stores_images_or_verifies_contents_completes_others(folder, collection):
    collection.add(folder, methods=["sift"])
    collection.store.put([collection.store.entry(f"{number}.jpg") for number in (0, 1)])
    assert collection.add(folder).unchanged == 3
    assert usage(collection.store).images == 1
    (folder / "3.jpg").write_bytes(thumbnail(textured_image(7, 90, 90)))
    assert collection.add(folder).added == 1
    assert usage(collection.store).images == 4
    collection.store.put([collection.store.entry("0.jpg")])
    seen = []
    collection.add(folder, verify_content=True, progress=seen.append)
    assert ("thumbnails", 0.0) in [(one.stage, one.share) for one in seen]
    assert usage(collection.store).images == 4


def test_an_image_put_by_a_program_has_the_features_too(collection):
    collection.put("a", JPEGS[0])
    assert set(features(collection.store, "a")) == {"a"}

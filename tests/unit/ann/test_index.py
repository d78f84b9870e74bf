import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imagefinder.ann import arrays as array_files
from imagefinder.ann import compaction, hamming_embedding
from imagefinder.ann.index import OUTGROWN, InvertedFileIndex
from imagefinder.core.features import FeatureSpec
from imagefinder.core.scratch import SCRATCH, Scratch
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.embedded.schema import FILE_NAME
from imagefinder.testing.ann_indexes import METHOD, features, names, put

SPEC = FeatureSpec("local", 128, "uint8")


@pytest.fixture
def store(tmp_path):
    store = EmbeddedStore(tmp_path / "c", create=True, cache_bytes=0)
    put(store, SPEC, {str(seed): seed for seed in range(60)})
    yield store
    store.close()


def made(store):
    return InvertedFileIndex(store, METHOD, SPEC, scratch(store))


def scratch(store):
    return Scratch(Path(store.info().location) / SCRATCH)


def files(store):
    return sorted(scratch(store).folder(f"shortlist-{METHOD}").iterdir())


def finds(store, shortlist, seed=17):
    return names(store, shortlist, features(SPEC, seed), 1) == [str(seed)]


def test_another_object_uses_the_files(store):
    made(store).refresh()
    other = made(store)
    assert other.state().waiting == 0
    assert finds(store, other)
    assert not other.refresh()


def test_arrays_are_mapped_not_loaded(store):
    index = made(store)
    index.refresh()
    assert all(not array.flags.owndata for array in index._coverage.segments[0].arrays().values())


@pytest.mark.parametrize("kind", ["manifest", "model", "segment"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_damaged_files_are_ignored_and_rebuilt(store, kind, damage):
    made(store).refresh()
    (path,) = [path for path in files(store) if path.name.startswith(kind)]
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0x55
    path.write_bytes(data[:-70] if damage == "cut" else b"" if damage == "empty" else bytes(data))
    if damage == "gone":
        path.unlink()
    index = made(store)
    assert index.state().waiting == 60
    assert "17" in names(store, index, features(SPEC, 17), 1)
    assert index.refresh()
    assert finds(store, index)
    assert finds(store, made(store))
    assert made(store).verify() == []


def test_damage_is_reported(store):
    made(store).refresh()
    (path,) = [path for path in files(store) if path.name.startswith("segment")]
    path.write_bytes(path.read_bytes()[:-1])
    (problem,) = made(store).verify()
    assert "truncated" in problem


def test_files_of_another_collection_are_detected(store, tmp_path):
    other = EmbeddedStore(tmp_path / "other", create=True, cache_bytes=0)
    put(other, SPEC, {str(seed): seed + 5000 for seed in range(60)})
    made(other).refresh()
    folder = scratch(store).folder(f"shortlist-{METHOD}")
    folder.parent.mkdir(exist_ok=True)
    scratch(other).folder(f"shortlist-{METHOD}").rename(folder)
    other.close()
    index = made(store)
    assert index.state().waiting == 60
    index.refresh()
    assert finds(store, index)


def test_an_index_of_another_version_is_built_again_without_being_damage(store):
    index = made(store)
    index.refresh()
    path, manifest = manifest_of(store)
    made_by = {**manifest["made"], "version": -1}
    path.write_text(json.dumps({"made": made_by, "model": manifest["model"], "segments": manifest["segments"]}))
    assert made(store).verify() == []
    assert made(store).state().waiting == 60
    assert made(store).refresh()
    assert finds(store, made(store))


def test_another_fingerprint_requires_another_index(store):
    made(store).refresh()
    index = made(store)
    assert finds(store, index)
    store.unregister(METHOD)
    put(store, SPEC, {str(seed): seed + 100 for seed in range(60)})
    assert index.state().waiting == 60
    index.refresh()
    assert names(store, index, features(SPEC, 117), 1) == ["17"]


def test_small_segments_are_merged_and_leftovers_removed(store):
    index = made(store)
    index.refresh()
    for number in range(compaction.MOST_SMALL + 2):
        put(store, SPEC, {f"more {number}": 200 + number})
        index.refresh()
    assert index.state().segments <= compaction.MOST_SMALL
    assert len(files(store)) == index.state().segments + 2
    assert names(store, index, features(SPEC, 203), 1) == ["more 3"]
    assert made(store).verify() == []


def test_a_segment_with_many_removed_images_is_written_again(store):
    index = made(store)
    index.refresh()
    before = index.state().bytes
    store.delete([str(seed) for seed in range(40)])
    assert index.refresh()
    assert index.state().bytes < before
    assert finds(store, index, 47)


def test_an_unwritable_folder_only_costs_time(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(array_files, "write", full)
    index = made(store)
    assert index.refresh()
    assert finds(store, index)
    assert not index.state().kept
    assert made(store).state().waiting == 60


def test_other_images_fill_up_the_proposals(store):
    index = made(store)
    index.refresh()
    assert sorted(names(store, index, features(SPEC, 17, rows=0), 60)) == sorted(map(str, range(60)))
    assert len(names(store, index, features(SPEC, 17, rows=1), 40)) == 40
    assert index.state().kept


def test_a_manifest_cannot_name_files_outside_the_folder(store, tmp_path):
    made(store).refresh()
    (path,) = [path for path in files(store) if path.name == "manifest.json"]
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "segments": ["../../collection.sqlite", 7, "/etc/passwd"]}))
    index = made(store)
    assert index.state().waiting == 60


def manifest_of(store):
    (path,) = [path for path in files(store) if path.name == "manifest.json"]
    return path, json.loads(path.read_bytes())


class Listings:
    """A store that records how much each call of ``changes`` reported."""

    def __init__(self, store):
        self._store = store
        self.reported = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def changes(self, method, since):
        changes = self._store.changes(method, since)
        self.reported.append(len(changes.new) + len(changes.gone))
        return changes


def test_opening_an_index_lists_only_what_changed_since_it_was_written(store):
    index = made(store)
    index.refresh()
    store.delete(["5", "6"])
    put(store, SPEC, {"more": 100})
    index.refresh()
    store.delete(["7"])
    put(store, SPEC, {"new": 101, "8": 1008})
    watched = Listings(store)
    other = made(watched)
    state = other.state()
    assert (state.images, state.waiting) == (59, 2)
    assert watched.reported == [2 + 2]
    assert set(names(store, other, features(SPEC, 3), 100)) == {
        *map(str, [n for n in range(60) if n not in (5, 6, 7)]),
        "more",
        "new",
    }
    watched.reported.clear()
    for _ in range(3):
        other.propose(features(SPEC, 3), 5)
    assert sum(watched.reported) == 0
    store.delete(["9"])
    assert "9" not in names(store, other, features(SPEC, 9), 100)
    assert sum(watched.reported) == 1


def test_a_manifest_of_version_0_1_is_compared_with_the_store_once(store):
    index = made(store)
    index.refresh()
    path, manifest = manifest_of(store)
    path.write_text(json.dumps({name: manifest[name] for name in ("made", "model", "segments")}))
    store.delete(["5"])
    put(store, SPEC, {"new": 101})
    other = made(store)
    state = other.state()
    assert (state.images, state.waiting) == (60, 1)
    assert "5" not in names(store, other, features(SPEC, 5), 100)
    assert other.refresh()
    assert manifest_of(store)[1]["cursor"]


@pytest.mark.parametrize("name", ["cursor", "gone"])
def test_a_changed_manifest_hides_no_image(store, name):
    made(store).refresh()
    path, manifest = manifest_of(store)
    _, block = store.load(METHOD, store.changes(METHOD, None).new[:1])
    changed = [1, 2] if name == "gone" else manifest["cursor"][:-1] + "9"
    path.write_text(json.dumps({**manifest, name: changed}))
    assert made(store).state().images == 60
    assert len(made(store).propose(block.features, 100)[0].keys) == 60


@pytest.mark.parametrize(
    ("indexed", "lost"), [(True, 10), (False, 2)], ids=["another segment", "the same segment"]
)
def test_an_earlier_database_that_is_put_back_is_detected(store, tmp_path, indexed, lost):
    """Its later keys are given again, to other images."""
    put(store, SPEC, {str(seed): seed for seed in range(60, 65)})
    if indexed:
        made(store).refresh()
    store.close()
    shutil.copy(tmp_path / "c" / FILE_NAME, tmp_path / "kept")
    later = EmbeddedStore(tmp_path / "c", create=False, cache_bytes=0)
    put(later, SPEC, {f"lost {number}": 200 + number for number in range(lost)})
    made(later).refresh()
    later.delete(["3"])
    later.close()
    shutil.copy(tmp_path / "kept", tmp_path / "c" / FILE_NAME)
    restored = EmbeddedStore(tmp_path / "c", create=False, cache_bytes=0)
    put(restored, SPEC, {f"other {number}": 300 + number for number in range(20)})
    restored.delete(["4"])
    index = made(restored)
    assert index.state().images == 84
    expected = {*(str(n) for n in range(65) if n != 4), *(f"other {n}" for n in range(20))}
    assert set(names(restored, index, features(SPEC, 3), 100)) == expected
    index.refresh()
    for number in range(20):
        assert names(restored, index, features(SPEC, 300 + number), 1) == [f"other {number}"]
    assert index.verify() == []
    restored.close()


ANOTHER = """
import sys
from pathlib import Path
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.embedded.schema import FILE_NAME
from imagefinder.ann.index import InvertedFileIndex
from imagefinder.testing.ann_indexes import METHOD, features, put, names
from imagefinder.core.features import FeatureSpec
from imagefinder.core.scratch import SCRATCH, Scratch
spec = FeatureSpec("local", 128, "uint8")
store = EmbeddedStore(Path(sys.argv[1]), create=False, cache_bytes=0)
index = InvertedFileIndex(store, METHOD, spec, Scratch(Path(sys.argv[1]) / SCRATCH))
for number in range(6):
    put(store, spec, {f"theirs {number}": 300 + number})
    index.refresh(rebuild=number == 3)
    assert f"theirs {number}" in names(store, index, features(spec, 300 + number), 1)
"""


def test_two_processes_index_and_query_at_the_same_time(store):
    other = subprocess.Popen([sys.executable, "-c", ANOTHER, store.info().location])
    index = made(store)
    for number in range(6):
        put(store, SPEC, {f"ours {number}": 400 + number})
        index.refresh(rebuild=number == 2)
        assert f"ours {number}" in names(store, index, features(SPEC, 400 + number), 1)
    assert other.wait(120) == 0
    for one in (index, made(store)):
        for seed, name in [(305, "theirs 5"), (405, "ours 5"), (17, "17")]:
            assert name in names(store, one, features(SPEC, seed), 1)
    made(store).refresh()
    assert made(store).verify() == []


def test_a_changed_code_is_found_by_verification(store):
    index = made(store)
    index.refresh()
    (path,) = [path for path in files(store) if path.name.startswith("segment")]
    meta, arrays = array_files.read(path)
    codes = arrays["codes"].copy()
    codes[:] = ~codes
    array_files.write(path, meta, {**arrays, "codes": codes})
    assert any("do not match" in problem for problem in made(store).verify())
    assert np.array_equal(array_files.read(path)[1]["codes"], codes)


def test_an_outgrown_index_is_reported_and_trained_again(store, monkeypatch):
    made(store).refresh()
    index = made(store)
    assert not index.state().outgrown
    words = index._model.words
    rows = sum(int(segment.sizes.sum()) for segment in index._coverage.segments)
    monkeypatch.setattr(hamming_embedding, "POSTINGS_PER_WORD", max(1, rows // (words * OUTGROWN)))
    assert index.state().outgrown
    # Images that are not indexed yet count too.
    monkeypatch.setattr(hamming_embedding, "POSTINGS_PER_WORD", rows // (words * OUTGROWN) + 2)
    before = index.state().outgrown
    put(store, SPEC, {str(seed): seed for seed in range(60, 120)})
    assert (before, index.state().outgrown) == (False, True)
    index.refresh(rebuild=True)
    assert not index.state().outgrown
    assert finds(store, index)

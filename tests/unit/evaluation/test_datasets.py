import json
from functools import partial

import pytest
from PIL import Image

from imagefinder.core.errors import SourceError
from imagefinder.evaluation.datasets import (
    edited_copies,
    groups_from_folders,
    limited,
    read_manifest,
    without,
)
from imagefinder.images.decoding.decode import decode
from imagefinder.testing.extractors import textured_image


def write(folder, data):
    (folder / "manifest.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return folder


def test_queries_and_answers_are_read(tmp_path):
    query = {"query": "q/1.jpg", "positives": ["a.jpg"], "ignore": ["b.jpg"]}
    dataset = read_manifest(write(tmp_path, {"images": ["a.jpg", "b.jpg"], "queries": [query]}))
    assert dataset.name == tmp_path.name
    assert dataset.images == ("a.jpg", "b.jpg")
    assert dataset.queries[0].path == tmp_path / "q/1.jpg"
    assert (dataset.queries[0].positives, dataset.queries[0].ignore) == ({"a.jpg"}, {"b.jpg"})


def test_a_missing_manifest(tmp_path):
    with pytest.raises(SourceError, match=r"manifest\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "data", ["{", "[]", {"images": []}, {"images": 3, "queries": []}, {"images": [], "queries": [3]}]
)
def test_a_malformed_manifest(tmp_path, data):
    with pytest.raises(SourceError, match="not a valid manifest"):
        read_manifest(write(tmp_path, data))


@pytest.mark.parametrize("name", ["positives", "ignore", "edits"])
@pytest.mark.parametrize("value", ["abc", [3], None, {"a": 1}])
def test_a_value_that_is_not_a_list_of_strings(tmp_path, name, value):
    query = {"query": "q", "positives": ["a"], name: value}
    with pytest.raises(SourceError, match="not a list of strings"):
        read_manifest(write(tmp_path, {"images": ["a", "b", "c"], "queries": [query]}))


def test_answers_must_exist(tmp_path):
    data = {"images": ["a"], "queries": [{"query": "q", "positives": ["z"], "ignore": []}]}
    with pytest.raises(SourceError, match="'z'"):
        read_manifest(write(tmp_path, data))


def test_edits_are_read(tmp_path):
    query = {"query": "q", "positives": ["a"], "edits": ["crop", "gray"]}
    (read,) = read_manifest(write(tmp_path, {"images": ["a"], "queries": [query]})).queries
    assert (read.edits, read.ignore) == (("crop", "gray"), frozenset())


@pytest.fixture
def images(tmp_path):
    """Folders with two, three and one image, and one image next to them."""
    names = ("cats/1.png", "cats/2.png", "dogs/1.png", "dogs/2.png", "dogs/3.png", "emu/1.png", "beside.png")
    for seed, name in enumerate(names):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(textured_image(seed)).save(tmp_path / "set" / name)
    (tmp_path / "set" / "dogs" / "notes.txt").write_text("not an image")
    return tmp_path / "set"


def test_folders_are_groups(images):
    dataset = groups_from_folders(images)
    assert dataset.name == "set"
    assert sorted(dataset.images) == sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    answers = {str(q.path.relative_to(images)): (q.positives, q.ignore) for q in dataset.queries}
    assert answers["dogs/2.png"] == ({"dogs/1.png", "dogs/3.png"}, {"dogs/2.png"})
    assert answers["emu/1.png"] == (frozenset(), {"emu/1.png"})  # alone, so without a correct answer
    assert "beside.png" not in answers


def test_groups_need_two_images(tmp_path, images):
    with pytest.raises(SourceError, match="two images"):
        groups_from_folders(images / "emu")
    with pytest.raises(SourceError, match="nowhere"):
        groups_from_folders(tmp_path / "nowhere")


def make(images, into, **arguments):
    into.mkdir()
    return edited_copies(
        images, into, partial(decode, max_bytes=1 << 24, max_pixels=1 << 24), **{"queries": 20, **arguments}
    )


def test_edited_copies_need_no_labels(images, tmp_path):
    seen = []
    dataset = make(images, tmp_path / "q", progress=lambda *state: seen.append(state))
    assert (len(dataset.images), len(dataset.queries)) == (6, 20)
    assert seen[-1] == (20, 20)
    unanswerable = [query for query in dataset.queries if not query.positives]
    assert len(unanswerable) == 3  # one image of seven is held out, and edited as often as the others
    for query in dataset.queries:
        assert query.path.is_file()
        assert query.positives <= set(dataset.images)
        assert f"{query.edits[0]} of " in query.path.name
    made = [(min(query.positives), query.edits) for query in dataset.queries if query.positives]
    assert len(set(made)) == len(made)


def test_the_seed_determines_the_edits(images, tmp_path):
    first, again, other = (
        make(images, tmp_path / name, seed=seed) for name, seed in zip("abc", (1, 1, 2), strict=True)
    )
    assert first.images == again.images
    read = [[query.path.read_bytes() for query in dataset.queries] for dataset in (first, again, other)]
    assert read[0] == read[1]
    assert read[0] != read[2]


def test_files_with_the_same_bytes_are_one_image(images, tmp_path):
    for name in ("cats/1.png", "emu/1.png"):
        (images / name).with_name("copy.png").write_bytes((images / name).read_bytes())
    dataset = make(images, tmp_path / "q")
    same = {"cats/1.png", "cats/copy.png"}
    assert same <= set(dataset.images) or not same & set(dataset.images)
    assert all(same <= query.positives or not same & query.positives for query in dataset.queries)


def test_unusable_images_are_skipped(images, tmp_path):
    (images / "broken.jpg").write_bytes(b"not an image")
    dataset = make(images, tmp_path / "q", queries=16)
    assert len(dataset.queries) == 14
    assert not any("broken" in query.path.name for query in dataset.queries)


def test_edited_copies_need_two_images(tmp_path, images):
    with pytest.raises(SourceError, match="two different images"):
        make(images / "emu", tmp_path / "q")


def test_the_seed_determines_a_limited_sample(images):
    dataset = groups_from_folders(images)
    few = limited(dataset, 3, seed=4)
    assert len(few.queries) == 3
    assert few == limited(dataset, 3, seed=4)
    assert len({limited(dataset, 3, seed=seed).queries for seed in range(9)}) > 1
    assert [query for query in dataset.queries if query in few.queries] == list(few.queries)
    assert limited(dataset, 99) is dataset


def test_images_can_be_removed(images):
    dataset = without(groups_from_folders(images), ["cats/2.png", "dogs/1.png"])
    assert not {"cats/2.png", "dogs/1.png"} & set(dataset.images)
    assert {str(query.path.relative_to(images)) for query in dataset.queries} == {
        "dogs/2.png",
        "dogs/3.png",
        "emu/1.png",  # cats/1.png has lost its only correct answer
    }
    assert dataset.queries[0].positives == {"dogs/3.png"}

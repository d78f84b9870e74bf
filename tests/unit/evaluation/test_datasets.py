import json
from functools import partial

import pytest
from PIL import Image

from imagefinder.core.errors import SourceError
from imagefinder.evaluation.datasets import (
    edits_of_pictures,
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


def test_reads_queries_and_answers(tmp_path):
    query = {"query": "q/1.jpg", "positives": ["a.jpg"], "ignore": ["b.jpg"]}
    dataset = read_manifest(write(tmp_path, {"images": ["a.jpg", "b.jpg"], "queries": [query]}))
    assert dataset.name == tmp_path.name
    assert dataset.images == ("a.jpg", "b.jpg")
    assert dataset.queries[0].path == tmp_path / "q/1.jpg"
    assert (dataset.queries[0].positives, dataset.queries[0].ignore) == ({"a.jpg"}, {"b.jpg"})


def test_missing_file(tmp_path):
    with pytest.raises(SourceError, match="cannot read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "data", ["{", "[]", {"images": []}, {"images": 3, "queries": []}, {"images": [], "queries": [3]}]
)
def test_other_forms_are_named(tmp_path, data):
    with pytest.raises(SourceError, match="is no manifest"):
        read_manifest(write(tmp_path, data))


@pytest.mark.parametrize("name", ["positives", "ignore", "edits"])
@pytest.mark.parametrize("value", ["abc", [3], None, {"a": 1}])
def test_one_text_is_not_taken_for_a_list_of_letters(tmp_path, name, value):
    query = {"query": "q", "positives": ["a"], name: value}
    with pytest.raises(SourceError, match="is no list of texts"):
        read_manifest(write(tmp_path, {"images": ["a", "b", "c"], "queries": [query]}))


def test_answers_must_exist(tmp_path):
    data = {"images": ["a"], "queries": [{"query": "q", "positives": ["z"], "ignore": []}]}
    with pytest.raises(SourceError, match="names 'z'"):
        read_manifest(write(tmp_path, data))


def test_edits_of_a_manifest_are_kept(tmp_path):
    query = {"query": "q", "positives": ["a"], "edits": ["crop", "gray"]}
    (read,) = read_manifest(write(tmp_path, {"images": ["a"], "queries": [query]})).queries
    assert (read.edits, read.ignore) == (("crop", "gray"), frozenset())


@pytest.fixture
def pictures(tmp_path):
    """Folders with two, three and one picture, and one picture beside them."""
    names = ("cats/1.png", "cats/2.png", "dogs/1.png", "dogs/2.png", "dogs/3.png", "emu/1.png", "beside.png")
    for seed, name in enumerate(names):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(textured_image(seed)).save(tmp_path / "set" / name)
    (tmp_path / "set" / "dogs" / "notes.txt").write_text("no picture")
    return tmp_path / "set"


def test_folders_are_groups(pictures):
    dataset = groups_from_folders(pictures)
    assert dataset.name == "set"
    assert sorted(dataset.images) == sorted(str(path.relative_to(pictures)) for path in pictures.rglob("*.png"))
    answers = {str(q.path.relative_to(pictures)): (q.positives, q.ignore) for q in dataset.queries}
    assert answers["dogs/2.png"] == ({"dogs/1.png", "dogs/3.png"}, {"dogs/2.png"})
    assert answers["emu/1.png"] == (frozenset(), {"emu/1.png"})  # alone: it has no right answer
    assert "beside.png" not in answers


def test_groups_take_two(tmp_path, pictures):
    with pytest.raises(SourceError, match="holds two pictures"):
        groups_from_folders(pictures / "emu")
    with pytest.raises(SourceError, match="there is no folder"):
        groups_from_folders(tmp_path / "nowhere")


def make(pictures, into, **arguments):
    into.mkdir()
    return edits_of_pictures(
        pictures, into, partial(decode, max_bytes=1 << 24, max_pixels=1 << 24), **{"queries": 20, **arguments}
    )


def test_edits_need_no_labels(pictures, tmp_path):
    seen = []
    dataset = make(pictures, tmp_path / "q", progress=lambda *state: seen.append(state))
    assert (len(dataset.images), len(dataset.queries)) == (6, 20)
    assert seen[-1] == (20, 20)
    lacking = [query for query in dataset.queries if not query.positives]
    assert len(lacking) == 3  # one picture of seven is held out and edited as often as the others
    for query in dataset.queries:
        assert query.path.is_file()
        assert query.positives <= set(dataset.images)
        assert f"{query.edits[0]} of " in query.path.name
    asked = [(min(query.positives), query.edits) for query in dataset.queries if query.positives]
    assert len(set(asked)) == len(asked)


def test_edits_by_seed(pictures, tmp_path):
    first, again, other = (
        make(pictures, tmp_path / name, seed=seed) for name, seed in zip("abc", (1, 1, 2), strict=True)
    )
    assert first.images == again.images
    read = [[query.path.read_bytes() for query in dataset.queries] for dataset in (first, again, other)]
    assert read[0] == read[1]
    assert read[0] != read[2]


def test_files_with_the_same_bytes_are_one_picture(pictures, tmp_path):
    for name in ("cats/1.png", "emu/1.png"):
        (pictures / name).with_name("copy.png").write_bytes((pictures / name).read_bytes())
    dataset = make(pictures, tmp_path / "q")
    together = {"cats/1.png", "cats/copy.png"}
    assert together <= set(dataset.images) or not together & set(dataset.images)
    assert all(together <= query.positives or not together & query.positives for query in dataset.queries)


def test_what_cannot_be_read_is_passed_over(pictures, tmp_path):
    (pictures / "broken.jpg").write_bytes(b"no picture")
    dataset = make(pictures, tmp_path / "q", queries=16)
    assert len(dataset.queries) == 14
    assert not any("broken" in query.path.name for query in dataset.queries)


def test_edits_take_two_pictures(tmp_path, pictures):
    with pytest.raises(SourceError, match="1 different pictures"):
        make(pictures / "emu", tmp_path / "q")


def test_a_limit_draws_by_the_seed(pictures):
    dataset = groups_from_folders(pictures)
    few = limited(dataset, 3, seed=4)
    assert len(few.queries) == 3
    assert few == limited(dataset, 3, seed=4)
    assert len({limited(dataset, 3, seed=seed).queries for seed in range(9)}) > 1
    assert [query for query in dataset.queries if query in few.queries] == list(few.queries)
    assert limited(dataset, 99) is dataset


def test_images_can_be_left_out(pictures):
    dataset = without(groups_from_folders(pictures), ["cats/2.png", "dogs/1.png"])
    assert not {"cats/2.png", "dogs/1.png"} & set(dataset.images)
    assert {str(query.path.relative_to(pictures)) for query in dataset.queries} == {
        "dogs/2.png",
        "dogs/3.png",
        "emu/1.png",  # cats/1.png has no right answer any more: that would be another question
    }
    assert dataset.queries[0].positives == {"dogs/3.png"}

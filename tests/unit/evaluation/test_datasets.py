import json

import pytest

from imagefinder.core.errors import SourceError
from imagefinder.evaluation.datasets import read_manifest


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


def test_answers_must_exist(tmp_path):
    data = {"images": ["a"], "queries": [{"query": "q", "positives": ["z"], "ignore": []}]}
    with pytest.raises(SourceError, match="names 'z'"):
        read_manifest(write(tmp_path, data))

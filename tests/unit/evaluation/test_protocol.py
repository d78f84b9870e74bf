import json

import pytest
from PIL import Image

import imagefinder
from imagefinder.evaluation.datasets import read_manifest
from imagefinder.evaluation.protocol import add_gallery, evaluate
from imagefinder.testing.extractors import textured_image


@pytest.fixture
def dataset(tmp_path):
    for folder in ("db", "q"):
        (tmp_path / folder).mkdir()
    for seed in range(4):
        Image.fromarray(textured_image(seed)).save(tmp_path / f"db/{seed}.png")
    Image.fromarray(textured_image(0)[10:90, 10:120]).save(tmp_path / "q/crop.png")
    Image.fromarray(textured_image(9)).save(tmp_path / "q/other.png")
    manifest = {
        "images": [f"db/{seed}.png" for seed in range(4)],
        "queries": [
            {"query": "q/crop.png", "positives": ["db/0.png"], "ignore": []},
            {"query": "q/crop.png", "positives": ["db/1.png"], "ignore": ["db/0.png", "db/2.png", "db/3.png"]},
            {"query": "q/other.png", "positives": [], "ignore": []},
        ],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return read_manifest(tmp_path)


def test_gallery_and_figures(tmp_path, dataset):
    with imagefinder.open(tmp_path / "c") as collection:
        report = add_gallery(collection, dataset, ["sift"])
        assert report.added == 4
        assert [record.id for record in collection.images()] == list(dataset.images)
        seen = []
        figures = evaluate(collection, dataset, "sift", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert figures.queries == 2  # the one that nothing matches is not judged
    assert (figures.mean_average_precision, figures.recall_at_1) == (1, 1)
    assert set(figures.median_seconds) == {"decode", "extract", "match", "total"}
    assert figures.to_dict()["method"] == "sift"


def test_the_ranking_is_asked_for_and_told(tmp_path, dataset):
    with imagefinder.open(tmp_path / "c") as collection:
        add_gallery(collection, dataset, ["sift"])
        figures = evaluate(collection, dataset, "sift", ranking="evidence", mirror=True)
    assert figures.to_dict()["ranking"] == "verified"
    assert "verify" in figures.median_seconds


def test_nothing_to_judge(tmp_path, dataset):
    (tmp_path / "manifest.json").write_text(json.dumps({"images": [], "queries": []}))
    with imagefinder.open(tmp_path / "c") as collection, pytest.raises(ValueError, match="no query"):
        evaluate(collection, read_manifest(tmp_path), "sift")

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagefinder
from imagefinder.core.records import Entry
from imagefinder.core.serialization import to_json
from imagefinder.core.settings import Settings
from imagefinder.indexing.source_item import local_path
from imagefinder.search.heat import contributions
from imagefinder.testing.extractors import textured_image

METHOD = "efficientnet-lite0"


@pytest.fixture
def collection(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(textured_image(seed, 300, 400)).save(folder / f"{seed}.png")
    with imagefinder.open(tmp_path / "c", settings=Settings(store="memory")) as collection:
        collection.add(folder, methods=[METHOD])
        yield collection


def test_contributions_sum_to_the_cosine():
    generator = np.random.default_rng(1)
    cells, other = (
        generator.normal(size=(5, 7, 40)).astype(np.float32),
        generator.normal(size=40).astype(np.float32),
    )
    mean = cells.mean(axis=(0, 1))
    parts = contributions(cells, other)
    assert parts.shape == (5, 7)
    assert parts.sum() == pytest.approx(mean @ other / np.linalg.norm(mean) / np.linalg.norm(other), abs=1e-6)
    assert parts[2, 3] == pytest.approx(cells[2, 3] @ other / 35 / np.linalg.norm(mean) / np.linalg.norm(other))


def test_zero_vectors_give_zero_contributions():
    assert not contributions(np.zeros((2, 2, 3), np.float32), np.ones(3, np.float32)).any()
    assert not contributions(np.ones((2, 2, 3), np.float32), np.zeros(3, np.float32)).any()


@pytest.mark.parametrize("query", [textured_image(9, 300, 300), textured_image(1, 300, 400)[50:, 100:]])
def test_both_heat_maps_sum_to_the_score(collection, query):
    explanation = collection.explain(query, "1.png", method=METHOD)
    for heat in (explanation.query_heat, explanation.candidate_heat):
        assert np.array(heat).shape == (7, 7)
        assert np.sum(heat) == pytest.approx(explanation.score, abs=1e-4)
    assert explanation.candidate_from == "file"
    assert explanation.candidate_seen == pytest.approx((69, 19, 262, 262), abs=1)
    assert explanation.heat_of == METHOD
    assert to_json(explanation)["query_heat"] == [list(row) for row in explanation.query_heat]


def test_shared_regions_contribute_more(collection):
    query = np.full((300, 300, 3), 128, np.uint8)
    query[:, :150] = textured_image(1, 300, 400)[:, :150]
    heat = np.array(collection.explain(query, "1.png", method=METHOD).query_heat)
    assert heat[:, :3].sum() > 1.5 * heat[:, 4:].sum()


def test_a_thumbnail_replaces_a_missing_file(collection):
    query = textured_image(1, 300, 400)
    with_file = collection.explain(query, "1.png", method=METHOD)
    Path(local_path(collection.get("1.png").uri)).unlink()
    explanation = collection.explain(query, "1.png", method=METHOD)
    assert explanation.candidate_from == "thumbnail"
    assert explanation.score == with_file.score
    assert np.sum(explanation.candidate_heat) == pytest.approx(explanation.score, abs=0.2)
    assert explanation.candidate_seen == pytest.approx(with_file.candidate_seen, abs=3)
    assert collection.draw(explanation, query).startswith(b"\x89PNG")


def test_without_pixels_only_the_query_has_a_heat_map(collection):
    record = collection.get("1.png")
    Path(local_path(record.uri)).unlink()
    collection.store.put([Entry(record, {METHOD: collection.store.features("1.png", METHOD)}, b"")])
    query = textured_image(2, 300, 400)
    explanation = collection.explain(query, "1.png", method=METHOD)
    assert np.sum(explanation.query_heat) == pytest.approx(explanation.score, abs=1e-4)
    assert (explanation.candidate_heat, explanation.candidate_from) == ((), "")
    assert collection.draw(explanation, query).startswith(b"\x89PNG")

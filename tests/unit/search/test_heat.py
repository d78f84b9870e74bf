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


def test_the_parts_add_up_to_the_cosine():
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


def test_nothing_contributes_to_nothing():
    assert not contributions(np.zeros((2, 2, 3), np.float32), np.ones(3, np.float32)).any()
    assert not contributions(np.ones((2, 2, 3), np.float32), np.zeros(3, np.float32)).any()


@pytest.mark.parametrize("query", [textured_image(9, 300, 300), textured_image(1, 300, 400)[50:, 100:]])
def test_both_heats_add_up_to_the_score(collection, query):
    told = collection.explain(query, "1.png", method=METHOD)
    for heat in (told.query_heat, told.candidate_heat):
        assert np.array(heat).shape == (7, 7)
        assert np.sum(heat) == pytest.approx(told.score, abs=1e-4)
    assert told.candidate_from == "file"
    assert told.candidate_seen == pytest.approx((69, 19, 262, 262), abs=1)
    assert told.heat_of == METHOD
    assert to_json(told)["query_heat"] == [list(row) for row in told.query_heat]


def test_what_is_shared_contributes_more_than_what_is_not(collection):
    query = np.full((300, 300, 3), 128, np.uint8)
    query[:, :150] = textured_image(1, 300, 400)[:, :150]
    heat = np.array(collection.explain(query, "1.png", method=METHOD).query_heat)
    assert heat[:, :3].sum() > 1.5 * heat[:, 4:].sum()


def test_a_thumbnail_is_used_where_the_file_is_gone_and_that_is_said(collection):
    query = textured_image(1, 300, 400)
    with_file = collection.explain(query, "1.png", method=METHOD)
    Path(local_path(collection.get("1.png").uri)).unlink()
    told = collection.explain(query, "1.png", method=METHOD)
    assert told.candidate_from == "thumbnail"
    assert told.score == with_file.score
    assert np.sum(told.candidate_heat) == pytest.approx(told.score, abs=0.2)
    assert told.candidate_seen == pytest.approx(with_file.candidate_seen, abs=3)
    assert collection.draw(told, query).startswith(b"\x89PNG")


def test_without_any_pixels_there_is_only_the_heat_of_the_query(collection):
    record = collection.get("1.png")
    Path(local_path(record.uri)).unlink()
    collection.store.put([Entry(record, {METHOD: collection.store.features("1.png", METHOD)}, b"")])
    query = textured_image(2, 300, 400)
    told = collection.explain(query, "1.png", method=METHOD)
    assert np.sum(told.query_heat) == pytest.approx(told.score, abs=1e-4)
    assert (told.candidate_heat, told.candidate_from) == ((), "")
    assert collection.draw(told, query).startswith(b"\x89PNG")

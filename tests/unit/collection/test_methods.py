"""What ``auto`` uses: no model that is added changes its answers, unless the description of the model says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support import small_model

from imagefinder import wiring
from imagefinder.core.errors import UnknownMethodError
from imagefinder.core.settings import Settings
from imagefinder.search import null_model
from imagefinder.search.fit import fit
from imagefinder.wiring import calibrator, open_collection, runtime_of

EXAMPLES = Path(__file__).parents[3] / "examples"
QUERIES = [EXAMPLES / "queries" / "motorcycle-second-view.jpg", EXAMPLES / "queries" / "brushes.jpg"]
OWN = ("efficientnet-lite0", "sift")


def settings_with_bad_network(folder: Path, *, auto: bool) -> Settings:
    """A seeded random projection of an image to eight numbers, as an added model."""
    place = folder / "models" / "noise"
    place.mkdir(parents=True)
    text = small_model.DESCRIPTION.replace('licence = "MIT"', f'licence = "MIT"\nauto = {str(auto).lower()}')
    (place / "model.toml").write_text(text)
    (place / "small.onnx").write_bytes(small_model.graph(seed=7))
    settings = replace(Settings.load(), store="memory", models=folder / "models", threads=2)
    wiring.model_cache(settings).pull(wiring.model_catalogue(settings)["noise"])
    return settings


def answers(settings: Settings, methods: tuple[str, ...]) -> list[object]:
    with open_collection(settings, create=True) as collection:
        collection.add(EXAMPLES / "pictures", methods=methods)
        collection.calibrate()
        return [
            (
                sorted(found.fingerprints),
                [(hit.id, hit.evalue, hit.score, hit.decision, hit.relation) for hit in found.hits],
            )
            for query in QUERIES
            for found in [collection.search(query, k=24)]
        ]


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    return answers(replace(Settings.load(), store="memory", models=folder, threads=2), OWN)


def test_a_bad_network_does_not_change_auto(before, tmp_path):
    assert before[0][0] == list(OWN)
    assert answers(settings_with_bad_network(tmp_path, auto=False), (*OWN, "noise")) == before


def test_a_model_joins_auto_if_its_description_says_so(before, tmp_path):
    found = answers(settings_with_bad_network(tmp_path, auto=True), (*OWN, "noise"))
    assert found[0][0] == sorted([*OWN, "noise"])
    assert found != before


def test_a_collection_of_such_a_method_alone_is_searched_with_it(tmp_path):
    (names, hits), *_ = answers(settings_with_bad_network(tmp_path, auto=False), ("noise",))
    assert names == ["noise"]
    assert len(hits) == 24


def test_a_new_collection_gets_the_methods_of_auto(tmp_path):
    settings = settings_with_bad_network(tmp_path, auto=False)
    with open_collection(settings, create=True) as collection:
        collection.add(QUERIES[0])
        assert set(collection.info().methods) == set(OWN)


def test_a_removed_model_is_left_out_unless_it_is_named(tmp_path):
    settings = settings_with_bad_network(tmp_path, auto=True)
    gone = replace(settings, models=tmp_path / "elsewhere", store="embedded", collection=str(tmp_path / "c"))
    with open_collection(replace(gone, models=settings.models), create=True) as collection:
        collection.add(EXAMPLES / "pictures", methods=("noise", "sift"))
    with open_collection(gone, create=False) as collection:
        assert set(collection.search(QUERIES[0]).fingerprints) == {"sift"}
        assert collection.add(QUERIES[1]).added == 1
        store, runtime = collection.store, runtime_of(gone)
        fitted = null_model.write(store, fit(store, [runtime.method("sift")], runtime))
        assert fitted
        read = null_model.read(store, calibrator())
        assert read
        assert set(read.methods) == {"noise", "sift"}
        assert read.fits(store.info())  # or every search would calibrate again
        with pytest.raises(UnknownMethodError):
            collection.search(QUERIES[0], method="noise")

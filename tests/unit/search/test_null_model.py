import io
import json
from dataclasses import replace

import numpy as np
import pytest
from copied import fill
from PIL import Image

import imagefinder
from imagefinder.calibration.evalue import TailCalibrator
from imagefinder.collection import derived
from imagefinder.core.settings import Settings
from imagefinder.search import fit, null_model
from imagefinder.testing.extractors import textured_image

CALIBRATOR = TailCalibrator()


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def filled(collection, seeds):
    for seed in seeds:
        collection.put(str(seed), png(textured_image(seed)))
    return collection


@pytest.fixture(scope="module")
def twelve():
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        yield filled(collection, range(12))


@pytest.fixture
def collection(twelve):
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        yield fill(collection, twelve)


@pytest.fixture
def small(twelve):
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        yield fill(collection, twelve, 6)


def test_the_null_model_describes_each_method(collection):
    steps = []
    assert collection.calibrate(lambda done, total: steps.append((done, total)))
    known = null_model.read(collection.store, CALIBRATOR)
    assert (known.images, known.cohort, set(known.methods)) == (12, 12, {"sift", "efficientnet-lite0"})
    assert steps == [(n, 36) for n in range(1, 37)]
    network, sift = known.methods["efficientnet-lite0"], known.methods["sift"]
    assert network.geometry is None
    assert network.centre.vectors.shape == (1, 1280)
    assert sift.centre is None
    assert sift.geometry is not None
    assert 0 < sift.mean < 1000
    assert 0 < network.mean < 1


def test_it_is_stored_and_fitted_once(collection):
    assert collection.calibrate()
    assert not collection.calibrate()
    written = collection.store.derived(null_model.NAME)
    collection.search(textured_image(3))
    assert collection.store.derived(null_model.NAME) == written


def test_results_name_the_version_of_their_null_model(collection):
    result = collection.search(textured_image(3))
    stored = collection.store.derived(null_model.NAME)
    assert result.null_model == stored.version
    assert collection.search(textured_image(3), method="sift", ranking="matches", evalues=False).null_model is None
    filled(collection, range(12, 30))
    again = collection.search(textured_image(3)).null_model
    assert again == collection.store.derived(null_model.NAME).version
    assert again != stored.version


def test_another_process_that_was_first_is_not_overwritten(collection, monkeypatch):
    """Its null model is used, and the one that was fitted meanwhile is dropped."""
    fit = derived.fit

    def beaten(store, *rest, **others):
        model = fit(store, *rest, **others)
        null_model.write(store, replace(model, cohort=model.cohort - 1))
        return model

    monkeypatch.setattr(derived, "fit", beaten)
    assert collection.calibrate()
    known = null_model.read(collection.store, CALIBRATOR)
    assert known.cohort == 11
    assert collection.search(textured_image(3)).null_model == known.version


def test_it_is_fitted_again_after_large_changes(collection):
    collection.calibrate()
    filled(collection, range(12, 16))
    assert not collection.calibrate()
    filled(collection, range(16, 24))
    assert collection.calibrate()
    collection.remove([str(seed) for seed in range(12)])
    assert collection.calibrate()


def test_new_methods_require_fitting(collection):
    collection.calibrate()
    known = null_model.read(collection.store, CALIBRATOR)
    assert known.fits(collection.store)
    collection.store.unregister("sift")
    assert not known.fits(collection.store)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b"{}", b'{"format": 1}', b'{"format": 99}', b"\xff"]
)
def test_unreadable_data_are_fitted_again(small, damage):
    small.store.put_derived(null_model.NAME, damage)
    assert null_model.read(small.store, CALIBRATOR) is None
    assert small.search(textured_image(3)).ids[0] == "3"
    assert null_model.read(small.store, CALIBRATOR) is not None


def test_damaged_parts_are_detected(collection):
    collection.calibrate()
    written = json.loads(collection.store.derived(null_model.NAME).data)
    written["methods"]["sift"]["score"]["scale"] = -1
    collection.store.put_derived(null_model.NAME, json.dumps(written).encode())
    assert null_model.read(collection.store, CALIBRATOR) is None


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_with_few_images_no_score_stands_out(number):
    with imagefinder.open(settings=Settings(store="memory")) as few:
        filled(few, range(number))
        result = few.search(textured_image(99), k=9)
        assert len(result.hits) == number
        assert result.decision == "none"
        if number:
            assert few.search(png(textured_image(0))).hits[0].relation == "identical"


def test_standardised_scores_have_no_mean_and_unit_spread():
    scores = np.random.default_rng(0).normal(7, 3, 5000)
    model = null_model.MethodNullModel("", 7.0, 3.0, None, None, None)
    standard = model.standardise(scores, None)
    assert (standard.mean(), standard.std()) == pytest.approx((0, 1), abs=0.01)
    assert (np.argsort(standard) == np.argsort(scores)).all()


def test_hubs_count_less():
    scores = np.array([0.8, 0.8, *np.linspace(0, 0.5, 98)])
    hubs = np.array([0.6, 0.2, *np.full(98, 0.3)])
    model = null_model.MethodNullModel("", 0.25, 0.15, None, None, None)
    hub, other = model.standardise(scores, hubs)[:2]
    assert hub < other


def test_the_sample_is_stable_as_the_collection_grows(collection, monkeypatch):
    monkeypatch.setattr(fit, "SAMPLE", 8)
    before = fit._sample(collection.store)
    filled(collection, range(12, 16))
    after = fit._sample(collection.store)
    assert len(before) == len(after) == 8
    assert len(set(before) & set(after)) >= 4


def test_agreement_on_the_logit_scale():
    assert null_model.logit(np.array([0.5]))[0] == pytest.approx(0)
    low, high = null_model.logit(np.array([0.0, 1.0]))
    assert np.isfinite([low, high]).all()
    assert low == pytest.approx(-high)


@pytest.mark.parametrize("call", ["get", "thumbnail", "features"])
@pytest.mark.parametrize("after", [0, 1, 5, 9])
def test_images_removed_during_fitting_are_skipped(monkeypatch, call, after):
    settings = Settings(store="memory", sift_max_keypoints=50)
    with imagefinder.open(settings=settings) as collection:
        sift = collection.method("sift").extractor
        collection.store.register(sift.fingerprint(), sift.spec)
        filled(collection, range(6))
        requested, real = [], getattr(collection.store, call)

        def removed_before(image_id, *rest):
            requested.append(image_id)
            if len(requested) > after:  # every later one, at the last moment
                collection.store.delete([image_id])
            return real(image_id, *rest)

        monkeypatch.setattr(collection.store, call, removed_before)
        collection.calibrate()
        assert len(requested) > after
        assert collection.info().images < 6

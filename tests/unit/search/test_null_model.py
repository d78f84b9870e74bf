import io
import json
from dataclasses import replace

import numpy as np
import pytest
from copied import fill
from PIL import Image

import imagefinder
from imagefinder.calibration.evalue import TailCalibrator
from imagefinder.collection import calibrating
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
    assert (known.images, len(known.seeds), set(known.methods)) == (12, 6, {"sift", "efficientnet-lite0"})
    assert steps == [(n, 8) for n in range(1, 9)]
    network, sift = known.methods["efficientnet-lite0"], known.methods["sift"]
    assert network.centre.vectors.shape == (1, 1280)
    assert sift.centre is None
    assert {len(seed.scores["sift"]) for seed in known.seeds.values()} == {11}
    assert 0 < sift.mean < 1000
    assert 0 < network.mean < 1


def test_it_is_stored_and_fitted_once(collection):
    assert collection.calibrate()
    assert not collection.calibrate()
    written = collection.store.derived(null_model.NAME)
    collection.search(textured_image(3))
    assert collection.store.derived(null_model.NAME) == written


def test_results_name_the_version_of_their_null_model(collection):
    collection.calibrate()
    result = collection.search(textured_image(3))
    stored = collection.store.derived(null_model.NAME)
    assert result.null_model == stored.version
    assert collection.search(textured_image(3), method="sift", ranking="matches", evalues=False).null_model is None
    filled(collection, range(12, 30))
    collection.calibrate()
    again = collection.search(textured_image(3)).null_model
    assert again == collection.store.derived(null_model.NAME).version
    assert again != stored.version


def test_another_process_that_was_first_is_not_overwritten(collection, monkeypatch):
    """Its null model is used, and the one that was fitted meanwhile is dropped."""
    fit = calibrating.fit

    def beaten(store, *rest, **others):
        model = fit(store, *rest, **others)
        null_model.write(store, replace(model, images=model.images - 1))
        return model

    monkeypatch.setattr(calibrating, "fit", beaten)
    assert collection.calibrate()
    known = null_model.read(collection.store, CALIBRATOR)
    assert known.images == 11
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
    assert known.fits(collection.store.info())
    collection.store.unregister("sift")
    assert not known.fits(collection.store.info())


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b"{}", b'{"format": 1}', b'{"format": 99}', b"\xff"]
)
def test_unreadable_data_are_fitted_again(small, damage):
    small.store.put_derived(null_model.NAME, damage)
    assert null_model.read(small.store, CALIBRATOR) is None
    assert small.search(textured_image(3)).ids[0] == "3"
    small.calibrate()
    assert null_model.read(small.store, CALIBRATOR) is not None


def test_a_null_model_of_another_format_is_no_damage(collection):
    collection.calibrate()
    written = json.loads(collection.store.derived(null_model.NAME).data)
    del written["checksum"]
    written["format"] = 1
    data = json.dumps({"checksum": null_model._checksum(written), **written}).encode()
    assert null_model.from_bytes(data, CALIBRATOR) is None
    assert null_model.is_intact(data, CALIBRATOR)
    assert not null_model.is_intact(data.replace(b"images", b"imagez"), CALIBRATOR)


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
    model = null_model.MethodNullModel("", 7.0, 3.0, None, None)
    standard = model.standardise(scores, None)
    assert (standard.mean(), standard.std()) == pytest.approx((0, 1), abs=0.01)
    assert (np.argsort(standard) == np.argsort(scores)).all()


def test_hubs_count_less():
    scores = np.array([0.8, 0.8, *np.linspace(0, 0.5, 98)])
    hubs = np.array([0.6, 0.2, *np.full(98, 0.3)])
    model = null_model.MethodNullModel("", 0.25, 0.15, None, None)
    hub, other = model.standardise(scores, hubs)[:2]
    assert hub < other


def fitted(collection, previous=None):
    methods = [collection.method(name) for name in sorted(collection.info().methods)]
    return fit.fit(collection.store, methods, collection.runtime, previous=previous)


def test_it_depends_neither_on_ids_nor_on_the_order_of_images(twelve):
    with (
        imagefinder.open(settings=Settings(store="memory")) as one,
        imagefinder.open(settings=Settings(store="memory")) as other,
    ):
        for seed in range(9):
            one.put(f"a{seed}", png(textured_image(seed)))
        for seed in reversed(range(9)):
            other.put(f"z{99 - seed}", png(textured_image(seed)))
        first, second = fitted(one), fitted(other)
    assert list(first.seeds.values()) == list(second.seeds.values())
    assert list(first.seeds) != list(second.seeds)
    for name, model in first.methods.items():
        again = second.methods[name]
        assert (model.mean, model.spread, model.score) == (again.mean, again.spread, again.score)


def test_growth_adds_seeds_and_keeps_those_that_are_known(collection, monkeypatch):
    looked, real = [], fit._SeedSearch.look

    def look(self, image_id):
        looked.append(image_id)
        return real(self, image_id)

    monkeypatch.setattr(fit._SeedSearch, "look", look)
    monkeypatch.setattr(fit, "IMAGES_PER_SEED", 4)
    first = fitted(collection)
    filled(collection, range(12, 20))
    looked.clear()
    second = fitted(collection, first)
    assert len(first.seeds) == 9
    assert len(second.seeds) == 11
    assert set(looked) == set(second.seeds) - set(first.seeds)
    filled(collection, range(20, 25))  # more than twice the size of the first fit
    looked.clear()
    third = fitted(collection, second)
    assert set(looked) == {one for one in third.seeds if one not in second.seeds or second.seeds[one].images == 12}


def test_images_with_a_common_part_are_counted():
    shelf = textured_image(99, 80, 80)
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        for seed in range(12):
            image = textured_image(seed).copy()
            if seed % 2:
                image[20:100, 30:110] = shelf
            collection.put(str(seed), png(image))
        known = fitted(collection)
        with_shelf = [seed for name, seed in known.seeds.items() if int(name) % 2]
        without = [seed for name, seed in known.seeds.items() if not int(name) % 2]
    assert sum(seed.apart + seed.linked for seed in with_shelf) >= 3 * len(with_shelf) > 0
    assert sum(seed.apart + seed.linked for seed in without) == 0


def test_before_calibration_the_prior_answers(collection):
    prior = null_model.NullModel.prior(collection.store.info())
    assert prior.is_prior
    assert prior.is_usable(collection.store.info())
    assert not prior.fits(collection.store.info())
    assert prior.common_parts(12) == 1
    collection.calibrate()
    known = null_model.read(collection.store, CALIBRATOR)
    assert not known.is_prior
    assert known.fits(collection.store.info())


def test_scores_are_standardised_by_themselves_before_calibration():
    model = null_model.MethodNullModel("", 0.0, 0.0, None, null_model.PRIOR_SCORES)
    standard = model.standardise(np.arange(40.0), np.zeros(40))
    assert (standard.mean(), standard.std()) == pytest.approx((0, 1))


@pytest.mark.parametrize("number", [1, 2, 6, 12])
def test_small_collections_recognise_copies_and_nothing_else(number):
    with imagefinder.open(settings=Settings(store="memory")) as few:
        filled(few, range(number))
        copy = few.search(textured_image(0)[10:110, 20:], k=99)
        assert (copy.ids[0], copy.decision) == ("0", "match")
        assert [hit.decision for hit in copy.hits[1:]] == ["none"] * (number - 1)
        assert few.search(textured_image(77)).decision == "none"


def test_agreement_on_the_logit_scale():
    assert null_model.logit(np.array([0.5]))[0] == pytest.approx(0)
    low, high = null_model.logit(np.array([0.0, 1.0]))
    assert np.isfinite([low, high]).all()
    assert low == pytest.approx(-high)


@pytest.mark.parametrize("call", ["get", "thumbnail", "features"])
@pytest.mark.parametrize("after", [0, 1, 3, 5])
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

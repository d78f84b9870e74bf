import math

import numpy as np
import pytest

from imagefinder.ann import aggregate
from imagefinder.ann.aggregate import Aggregation
from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures, concatenate
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.ann_indexes import METHOD, features, put

SIFT = FeatureSpec("local", 128, "uint8")
SHORT = FeatureSpec("local", 16, "uint8")
TOKENS = FeatureSpec("local", 160, "float32")
GLOBAL = FeatureSpec("global", 24, "float32")
SPECS = [SIFT, SHORT, TOKENS, FeatureSpec("local", 130, "int8"), GLOBAL, FeatureSpec("global", 700, "float32")]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Fewer values, so that training takes milliseconds."""
    monkeypatch.setattr(aggregate, "CENTRES", 8)
    monkeypatch.setattr(aggregate, "REDUCED_DIM", 24)
    monkeypatch.setattr(aggregate, "DIM", 96)


def trained(spec, images=60):
    store = MemoryStore()
    put(store, spec, {str(seed): seed for seed in range(images)})
    return aggregate.train(store, METHOD, spec)


def slow_vector(aggregation, features):
    """The vector of one image, one descriptor and one value at a time, in double precision."""
    arrays = {name: array.astype(float).tolist() for name, array in aggregation.arrays.items()}
    if isinstance(features, GlobalFeatures):
        raw = scaled(features.vectors[0].astype(float).tolist())
    else:
        centres = arrays["centres"]
        sums = [[0.0] * len(centres[0]) for _ in centres]
        for descriptor in features.descriptors.tolist():
            if features.descriptors.dtype == np.uint8:
                total = max(1, sum(descriptor))
                row = [math.sqrt(value / total) for value in descriptor]
            else:
                row = scaled(descriptor)
            row = [
                sum(a * b for a, b in zip(row, column, strict=True))
                for column in zip(*arrays["reduction"], strict=True)
            ]
            nearest = min(range(len(centres)), key=lambda c: (math.dist(row, centres[c]), c))
            for place, value in enumerate(row):
                sums[nearest][place] += value - centres[nearest][place]
        raw = scaled([value for one in sums for value in scaled(one)])
    centred = [a - b for a, b in zip(raw, arrays["mean"], strict=True)]
    return scaled(
        [
            math.fsum(a * b for a, b in zip(centred, column, strict=True))
            for column in zip(*arrays["projection"], strict=True)
        ]
    )


def scaled(values):
    length = math.sqrt(math.fsum(value * value for value in values))
    return [value / length for value in values] if length else values


@pytest.mark.parametrize("spec", [SHORT, TOKENS, GLOBAL], ids=str)
def test_the_vectors_are_those_of_a_loop_over_descriptors(spec, monkeypatch):
    monkeypatch.setattr(aggregate, "CENTRES", 4)
    monkeypatch.setattr(aggregate, "DIM", 12)
    aggregation = trained(spec)
    for seed in (3, 500):
        one = features(spec, seed, rows=9)
        assert np.allclose(aggregation.vectors(one)[0], slow_vector(aggregation, one), atol=1e-3)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_vectors_have_length_1_and_find_their_image(spec):
    aggregation = trained(spec)
    batch = concatenate(spec, [features(spec, seed) for seed in range(60)])
    vectors = aggregation.vectors(batch)
    assert vectors.shape == (60, min(aggregate.DIM, aggregation.arrays["mean"].size))
    assert vectors.dtype == np.float16
    assert np.allclose(np.linalg.norm(vectors.astype(float), axis=1), 1, atol=2e-3)
    products = vectors.astype(float) @ vectors.astype(float).T
    assert (products.argmax(axis=1) == np.arange(60)).all()


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_batch_gives_the_vectors_of_its_images(spec):
    aggregation = trained(spec)
    batch = concatenate(spec, [features(spec, seed) for seed in range(70)])
    alone = np.concatenate([aggregation.vectors(batch.image(row)) for row in range(70)])
    assert np.allclose(aggregation.vectors(batch).astype(float), alone.astype(float), atol=2e-3)
    assert aggregation.vectors(concatenate(spec, [])).shape == (0, aggregation.dim)


@pytest.mark.parametrize("spec", [SIFT, TOKENS, GLOBAL], ids=str)
def test_training_and_bytes_are_deterministic(spec):
    aggregation = trained(spec)
    assert trained(spec).to_bytes() == aggregation.to_bytes()
    again = Aggregation.from_bytes(aggregation.to_bytes(), spec)
    assert again.to_bytes() == aggregation.to_bytes()
    assert np.array_equal(again.vectors(features(spec, 5)), aggregation.vectors(features(spec, 5)))


@pytest.mark.parametrize("spec", [SIFT, GLOBAL], ids=str)
@pytest.mark.parametrize("images", [1, 2, 3])
def test_few_images_suffice_to_train(spec, images):
    aggregation = trained(spec, images)
    vectors = aggregation.vectors(concatenate(spec, [features(spec, seed) for seed in (0, 900)])).astype(float)
    assert np.isfinite(vectors).all()
    assert abs(vectors[0] @ vectors[1]) < 0.9


def test_images_without_descriptors_have_a_vector_of_zeros():
    spec = SIFT
    none = LocalFeatures(np.zeros((0, 128), np.uint8), np.zeros((0, 4), np.float32), np.zeros(2, np.int64))
    aggregation = trained(spec)
    both = aggregation.vectors(concatenate(spec, [none, features(spec, 3)]))
    assert not both[0].any()
    assert both[1].any()


def test_part_of_an_image_is_nearer_than_other_images(monkeypatch):
    """Half of the descriptors of an image, among as many of another one, find it among 300."""
    monkeypatch.setattr(aggregate, "DIM", 192)
    aggregation = trained(SIFT, 300)
    gallery = aggregation.vectors(concatenate(SIFT, [features(SIFT, seed) for seed in range(300)])).astype(float)
    one, other = features(SIFT, 7), features(SIFT, 5000)
    mixed = LocalFeatures(
        np.concatenate([one.descriptors[:12], other.descriptors[:12]]), one.keypoints, one.offsets
    )
    assert (gallery @ aggregation.vectors(mixed)[0].astype(float)).argmax() == 7


@pytest.mark.parametrize("damage", ["empty", "cut", "flip", "other spec", "other file"])
def test_damaged_data_are_detected(damage):
    data = trained(SHORT).to_bytes()
    broken = bytearray(data)
    broken[len(data) // 2] ^= 0x55
    cases = {"empty": b"", "cut": data[:-30], "flip": bytes(broken), "other spec": trained(GLOBAL).to_bytes()}
    with pytest.raises(ValueError, match=r"data|array"):
        Aggregation.from_bytes(cases.get(damage, b"PK not a file of arrays"), SHORT)


def test_a_projection_for_other_centres_is_refused():
    aggregation = trained(SHORT)
    arrays = {**aggregation.arrays, "centres": aggregation.arrays["centres"][1:]}
    with pytest.raises(ValueError, match="centres"):
        Aggregation.from_bytes(Aggregation(SHORT, arrays).to_bytes(), SHORT)


def test_data_of_another_version_are_refused(monkeypatch):
    data = trained(SHORT).to_bytes()
    monkeypatch.setattr(aggregate, "VERSION", aggregate.VERSION + 1)
    with pytest.raises(ValueError, match="version"):
        Aggregation.from_bytes(data, SHORT)

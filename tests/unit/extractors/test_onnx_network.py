"""Networks that are whole ONNX files, and poolings that the graph does not contain."""

from __future__ import annotations

import hashlib
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.support import small_model

from imagefinder.core.errors import ModelCorruptError, ModelError
from imagefinder.core.features import FeatureSpec, LocalFeatures
from imagefinder.extractors.crops import drawn_pictures, score_crops
from imagefinder.extractors.network import NetworkExtractor, preprocess
from imagefinder.models import description
from imagefinder.models.catalogue import MODELS, Output
from imagefinder.models.providers import Backend
from imagefinder.models.session import Session
from imagefinder.testing.extractors import ExtractorSuite, failures, textured_image
from imagefinder.wiring import load_method

SEEDED = runpy.run_path(str(Path(__file__).parents[2] / "golden" / "seeded.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "small"
    place.mkdir()
    (place / "small.onnx").write_bytes(small_model.graph())
    (place / "model.toml").write_text(small_model.DESCRIPTION)
    return place


@pytest.fixture(scope="module")
def make(folder):
    def extractor(output: Output, *, kind: str = "global", run: Backend | None = None, **changes: object):
        model = replace(
            description.read(folder / "model.toml"), output=output, features=FeatureSpec(kind, 8, "float32")
        )
        model = replace(model, preprocessing=replace(model.preprocessing, **changes))
        path = folder / "small.onnx"
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return NetworkExtractor(model, lambda: path, lambda: sha256, threads=2, run=run)

    return extractor


class TestVectors(ExtractorSuite):
    @pytest.fixture
    def extractor(self, make):
        return make(Output("vector", "vector"))


class TestTokens(ExtractorSuite):
    @pytest.fixture
    def extractor(self, make):
        return make(Output("tokens", "tokens", skip=1), kind="local", resize="shorter-side", resize_to=40)


def test_poolings_agree(make):
    image = textured_image(3)
    vector = make(Output("vector", "vector")).extract([image]).vectors
    for output in (Output("map", "mean of map"), Output("tokens", "mean of tokens", skip=1)):
        np.testing.assert_allclose(make(output).extract([image]).vectors, vector, atol=1e-4)
    openvino = make(Output("vector", "vector"), run=Backend("openvino"))
    np.testing.assert_allclose(openvino.extract([image]).vectors, vector, atol=1e-3)


def test_a_map_is_its_own_explanation(make):
    image = textured_image(3)
    extractor = make(Output("map", "mean of map"))
    cells = extractor.map(image).cells
    assert cells.shape == (4, 4, 8)
    np.testing.assert_allclose(cells.mean(axis=(0, 1)), extractor.extract([image]).vectors[0], atol=1e-4)


def test_tokens_of_a_crop_lie_in_the_crop(make):
    features = make(Output("tokens", "tokens", skip=1), kind="local", resize="shorter-side").extract(
        [textured_image(1, 100, 200)]
    )
    assert isinstance(features, LocalFeatures)
    assert features.keypoints[:, 0].min() == pytest.approx(50 + 12.5 - 0.5)
    assert features.keypoints[:, 0].max() == pytest.approx(150 - 12.5 - 0.5)
    assert len(features.keypoints) == 16


def test_tokens_that_are_not_a_grid(make):
    with pytest.raises(ModelError, match="14 tokens per image"):
        make(Output("tokens", "tokens", skip=3), kind="local").extract([textured_image(1)])


def test_channels_in_reverse_order(folder):
    how = description.read(folder / "model.toml").preprocessing
    how = replace(how, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    image = np.full((40, 40, 3), (255, 51, 0), dtype=np.uint8)
    blue, green, red = preprocess(image, replace(how, channels="BGR"))[:, 5, 5]
    assert (blue, green, red) == pytest.approx(((0 - 0.1) / 1, (0.2 - 0.2) / 2, (1 - 0.3) / 3))


def test_every_choice_is_in_the_fingerprint(make):
    made = [
        make(Output("vector", "vector")),
        make(Output("map", "mean of map")),
        make(Output("map", "GeM of map")),
        make(Output("map", "GeM of map", power=4.0)),
        make(Output("tokens", "mean of tokens")),
        make(Output("tokens", "mean of tokens", skip=1)),
        make(Output("vector", "vector"), channels="BGR"),
    ]
    assert len({extractor.fingerprint().digest for extractor in made}) == len(made)


def test_a_file_replaced_after_it_was_located(make, folder):
    extractor = make(Output("vector", "vector"))
    extractor._sha256 = lambda: "0" * 64
    with pytest.raises(ModelCorruptError, match="small"):
        extractor.extract([textured_image(1)])


@pytest.mark.parametrize(
    ("output", "message"), [("", "several outputs: map, vector, tokens"), ("x", "no output 'x'")]
)
def test_an_output_must_be_named(make, output, message):
    with pytest.raises(ModelError, match=message):
        make(Output(output, "vector")).extract([textured_image(1)])


def test_a_graph_for_single_images():
    session = Session(small_model.graph(batch=1), threads=1, output="vector")
    assert session.batch == 1


def test_gem_and_a_linear_layer_on_resnet50(tmp_path):
    """The form of SSCD: ResNet-50, GeM with p = 3, 512 dimensions."""
    rng = np.random.default_rng(1)
    weight, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((512, 2048), (512,)))
    path = tmp_path / "model.safetensors"
    save_file({**SEEDED["resnet50"](), "head.weight": weight, "head.bias": bias}, path)
    model = replace(
        MODELS["resnet50"],
        output=Output("", "GeM of map", linear=("head.weight", "head.bias")),
        features=FeatureSpec("global", 512, "float32"),
    )
    extractor = NetworkExtractor(model, lambda: path, lambda: "abc", threads=2)
    image = textured_image(1)
    plain = NetworkExtractor(MODELS["resnet50"], lambda: path, lambda: "abc", threads=2)
    cells = plain.map(image).cells.astype(np.float64)
    pooled = np.mean(np.maximum(cells, 1e-6) ** 3, axis=(0, 1)) ** (1 / 3)
    np.testing.assert_allclose(
        extractor.extract([image]).vectors[0], pooled @ weight.T + bias, rtol=1e-3, atol=1e-3
    )
    missing = replace(model, output=replace(model.output, linear=("head.weight", "other")))
    with pytest.raises(ModelCorruptError, match="no tensor other"):
        NetworkExtractor(missing, lambda: path, lambda: "abc", threads=2).extract([image])


def test_crops_of_the_drawn_pictures():
    from imagefinder.core.settings import Settings

    method = load_method("efficientnet-lite0", Settings.load())
    scores = score_crops(method, drawn_pictures())
    assert scores.nearer
    assert min(scores.crops) > max(scores.others) + 0.1


def test_failures_are_reported_with_what_is_required(make):
    class Random(NetworkExtractor):
        def extract(self, images):
            features = super().extract(images)
            features.vectors[:] += np.random.default_rng().normal(size=features.vectors.shape)
            return features

    good = make(Output("vector", "vector"))
    assert not [title for title, failure in failures(good) if failure]
    bad = Random(good._model, good._locate, good._sha256, threads=2)
    failed = {title for title, failure in failures(bad) if failure}
    assert "The features of an image do not depend on the other images of its batch." in failed
    assert "Extraction gives the same features again, also from several threads at once." in failed

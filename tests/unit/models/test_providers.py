from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from imagefinder.core.errors import ModelError, ProviderMissingError, SettingsError
from imagefinder.models import providers, session
from imagefinder.models.graphs.graph import Graph
from imagefinder.models.providers import PRECISIONS, Backend, compare, load, require, resolve


def graph() -> bytes:
    g = Graph({})
    return g.to_bytes(g.node("GlobalAveragePool", g.node("Neg", "images")), 3, 1, 1)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, (count, 3, 224, 224)).astype(np.float32)


def test_auto_is_the_same_everywhere():
    assert resolve("auto", "auto", "resnet50") == Backend("cpu", "f32") == Backend()


@pytest.mark.parametrize("provider", PRECISIONS)
def test_float32_is_the_default_of_every_provider(provider):
    assert resolve(provider, "auto", "beit_base") == Backend(provider, "f32")


@pytest.mark.parametrize(
    ("provider", "precision", "architecture", "message", "hint"),
    [
        ("tpu", "auto", "beit_base", "'tpu'", "providers: cpu, openvino, cuda, coreml"),
        ("auto", "bf16", "beit_base", "bf16", "provider=openvino"),
        ("openvino", "int8", "beit_base", "int8", "provider=cpu"),
        ("cpu", "f64", "beit_base", "f64", "precisions: f32, bf16, int8"),
        ("cpu", "int8", "resnet50", "int8", "bf16"),
    ],
)
def test_unsupported_backends(provider, precision, architecture, message, hint):
    with pytest.raises(SettingsError) as caught:
        resolve(provider, precision, architecture)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("provider", ["cuda", "coreml"])
def test_a_provider_that_onnx_runtime_lacks(provider, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for attempt in (lambda: require(provider), lambda: load(graph(), Backend(provider), threads=1)):
        with pytest.raises(ProviderMissingError, match=f"the provider {provider} ") as caught:
            attempt()
        assert caught.value.hint


def test_a_provider_that_does_not_start(monkeypatch):
    """ONNX Runtime itself would go on with the processor."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    real = onnxruntime.InferenceSession

    def silent(content, options, providers):
        assert providers[0][0] == "CUDAExecutionProvider"
        return real(content, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", silent)
    with pytest.raises(ProviderMissingError, match="CUDAExecutionProvider did not start"):
        session.Session(graph(), threads=1, provider="cuda")


def test_openvino_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(providers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProviderMissingError, match="not installed") as caught:
        load(graph(), Backend("openvino"), threads=1)
    assert caught.value.hint == "install it with: pip install 'imagefinder[openvino]'"


class Answers:
    batch = 1

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def run(self, batch: np.ndarray) -> np.ndarray:
        return batch.mean(axis=(2, 3)) * np.float32(self.factor)


def test_untested_providers_are_compared_with_the_cpu():
    compare(Answers(1.00001), Answers(1), "cuda")
    with pytest.raises(ModelError, match="cuda does not compute in float32"):
        compare(Answers(1.01), Answers(1), "cuda")


def test_products_of_integers():
    generator = np.random.default_rng(3)
    weight, bias = generator.normal(size=(5, 3 * 4)).astype(np.float32), np.arange(5, dtype=np.float32)
    weight[2] = 0

    def linear(*, integers: bool) -> bytes:
        g = Graph({}, integers=integers)
        x = g.node("AveragePool", "images", kernel_shape=[112, 112], strides=[112, 112])
        x = g.node("Reshape", x, g.constant(np.array([0, 3 * 4])))
        return g.to_bytes(g.linear(x, weight, bias), 5)

    whole = linear(integers=False)
    batch = np.concatenate([generator.normal(size=(6, 1, 1, 1)).astype(np.float32) + images(6)])
    exact, network = session.Session(whole, threads=1).run(batch), load(whole, Backend("cpu", "f32"), threads=1)
    np.testing.assert_array_equal(network.run(batch), exact)
    quick = load(linear(integers=True), Backend("cpu", "int8"), threads=1)
    assert quick.batch == 1
    for one, expected in zip(batch, exact, strict=True):
        found = quick.run(one[None])[0]
        assert np.linalg.norm(found - expected) <= 0.05 * np.linalg.norm(expected)
        assert not np.array_equal(found, expected), "still float32"
        assert found[2] == bias[2]


def test_integers_of_the_constant_side_have_seven_bits():
    import onnx

    g = Graph({}, integers=True)
    x = g.node("Flatten", g.node("GlobalAveragePool", "images"))
    linear = g.linear(x, np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
    model = onnx.load_from_string(g.to_bytes(linear, 3))
    matrix, *others = (onnx.numpy_helper.to_array(constant) for constant in model.graph.initializer)
    np.testing.assert_array_equal(matrix, 63 * np.eye(3))
    assert matrix.dtype == np.int8
    assert [other.shape for other in others] == [(3,)] * 3, "the float32 matrix is not stored"

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imagefinder.core.errors import ModelError, ProviderMissingError
from imagefinder.models.graphs.graph import Graph
from imagefinder.models.openvino_session import OpenVinoSession
from imagefinder.models.session import Session

sys.modules.setdefault("openvino_telemetry", None)  # see the module
openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")


def graph(operator: str = "Neg") -> bytes:
    """A convolution whose sums show in which arithmetic they are made."""
    g = Graph({})
    kernel = np.random.default_rng(1).normal(size=(8, 3, 7, 7)).astype(np.float32)
    x = g.node("Conv", g.node(operator, "images"), g.constant(kernel), kernel_shape=[7, 7], strides=[7, 7])
    return g.to_bytes(g.node("GlobalAveragePool", x), 8, 1, 1)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, (count, 3, 224, 224)).astype(np.float32)


def has_bf16() -> bool:
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize("count", [1, 3])
def test_float32_is_float32(count):
    batch = images(count)
    found = OpenVinoSession(graph(), threads=1, precision="f32").run(batch)
    expected = Session(graph(), threads=1).run(batch)
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.skipif(not has_bf16(), reason="this CPU does not support bfloat16")
def test_bfloat16_is_near_and_the_same_in_any_batch():
    session, batch = OpenVinoSession(graph(), threads=2, precision="bf16"), images(3)
    found, expected = session.run(batch), Session(graph(), threads=1).run(batch)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 1e-6 < error < 0.02
    for one, row in zip(batch, found, strict=True):
        np.testing.assert_array_equal(session.run(one[None])[0], row)


def test_a_cpu_without_bfloat16(monkeypatch):
    class Plain:
        def get_property(self, device, name):
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", Plain)
    with pytest.raises(ProviderMissingError, match="bfloat16"):
        OpenVinoSession(graph(), threads=1, precision="bf16")


def test_many_threads_use_one_session():
    session = OpenVinoSession(graph(), threads=1, precision="f32")
    batches = [images(2, seed) for seed in range(8)]
    alone = [session.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(session.run, batches))
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("content", [b"", b"no graph", graph("Levitate")])
def test_a_load_failure_is_a_model_error(content):
    with pytest.raises(ModelError, match="cannot load"):
        OpenVinoSession(content, threads=1, precision="f32")


def test_an_inference_failure_is_a_model_error():
    session = OpenVinoSession(graph("Log"), threads=1, precision="f32")
    with pytest.raises(ModelError, match="cannot run"):
        session.run(images(1)[:, :2])
    with pytest.raises(ModelError, match="NaN"):
        session.run(-images(1))


def test_nothing_reports(tmp_path):
    code = """
import os
import numpy as np
from imagefinder.models.graphs.graph import Graph
from imagefinder.models.openvino_session import OpenVinoSession
g = Graph({})
s = OpenVinoSession(g.to_bytes(g.node("Neg", "images"), 3, 224, 224), threads=1, precision="f32")
s.run(np.zeros((1, 3, 224, 224), np.float32))
links = []
for f in os.listdir("/proc/self/fd"):
    try:
        links.append(os.readlink("/proc/self/fd/" + f))
    except OSError:
        pass
print([link for link in links if "socket" in link])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.rglob("*")) == []

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imagefinder.core.errors import ModelError
from imagefinder.models.graphs.graph import Graph
from imagefinder.models.session import Session


def graph(operator: str = "Neg") -> bytes:
    g = Graph({})
    return g.to_bytes(g.node("GlobalAveragePool", g.node(operator, "images")), 3, 1, 1)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, (count, 3, 224, 224)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_batch_size(count):
    batch = images(count)
    output = Session(graph(), threads=1).run(batch)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output[:, :, 0, 0], -batch.mean(axis=(2, 3)), rtol=1e-4)


def test_many_threads_use_one_session():
    session = Session(graph(), threads=2)
    batches = [images(2, seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        outputs = list(pool.map(session.run, batches))
    for batch, output in zip(batches, outputs, strict=True):
        np.testing.assert_allclose(output[:, :, 0, 0], -batch.mean(axis=(2, 3)), rtol=1e-4)


def test_the_batch_size_can_be_set():
    assert Session(graph(), threads=1).batch > 1
    assert Session(graph(), threads=1, batch=1).batch == 1


@pytest.mark.parametrize("content", [b"", b"no graph", graph()[:-20]])
def test_an_invalid_graph_is_a_model_error(content):
    with pytest.raises(ModelError, match="cannot load"):
        Session(content, threads=1)


def test_an_unknown_operator_is_a_model_error():
    with pytest.raises(ModelError, match="cannot load"):
        Session(graph("Levitate"), threads=1)


@pytest.mark.parametrize("batch", [images(1)[:, :2], images(1).astype(np.float64), images(1)[0]])
def test_a_batch_of_another_form_is_a_model_error(batch):
    with pytest.raises(ModelError, match="cannot run"):
        Session(graph(), threads=1).run(batch)


def test_nan_output_is_a_model_error():
    with pytest.raises(ModelError, match="NaN"):
        Session(graph("Log"), threads=1).run(-images(1))


def run_python(code: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_library_is_loaded_only_with_a_session():
    code = "import sys, imagefinder.extractors.network; print('onnxruntime' in sys.modules)"
    assert run_python(code) == "False"


def test_nothing_is_written_and_nothing_reports(tmp_path):
    code = """
import os
from imagefinder.models.graphs.graph import Graph
from imagefinder.models.session import Session
g = Graph({})
Session(g.to_bytes(g.node("Neg", "images"), 3, 224, 224), threads=1)
print([os.readlink(f.path) for f in os.scandir("/proc/self/fd") if "socket" in os.readlink(f.path)])
"""
    assert run_python(code, HOME=str(tmp_path)) == "[]"
    assert list(tmp_path.rglob("*")) == []

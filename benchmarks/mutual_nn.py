"""How fast is one exact comparison with every image, and how close is it to the limit of the CPU?

**sift**: 300 images of 1 290 descriptors each (fixed seed; sparse like SIFT descriptors; a tenth of each image's
descriptors are noisy copies of the query's, so that there are matches), a query of 423 and one of 57.

* ``original``, the baseline: read one ``.npy`` of float32 per image, one product, two argmax
* ``original in memory``: the same without reading
* ``OpenCV``: ``BFMatcher(NORM_L2, crossCheck=True)`` per image (nearest by distance, not by dot product: SIFT
  descriptors have nearly the same length, so its counts are close to ours but not equal)
* ``imagefinder``: ``kernels.mutual_nn.count`` over the ragged gallery, and the same on each instruction set

**beit**: 100 images of 197 tokens x 768 float32, a query of 197, compared with the original in memory; and the
same tokens in int8 (the setting ``tokens``), with the fraction of matches in common.

**Rates** count two operations per multiplication, over all cores. The baselines run in the same rounds: square
products of 2 048 in the CPU's cache, and the products of the sift setting without any maximum, image by image
(``same products``). int8: ONNX Runtime's MatMulInteger (u8 x s8, constant side packed beforehand) and torch's
``_int_mm`` if torch is installed; float32: NumPy and torch.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.contract import alternate, ratios, spread, write
from imagefinder.extractors.network import as_int8
from imagefinder.kernels import mutual_nn

IMAGES, ROWS, QUERY_ROWS, SHORT_ROWS = 300, 1290, 423, 57
TOKEN_IMAGES, TOKENS, TOKEN_LENGTH = 100, 197, 768
SQUARE = 2048
ROUNDS = 9


def main() -> None:
    answer: dict[str, Any] = {
        "backend": mutual_nn.backend(),
        "torch": "used" if importlib.util.find_spec("torch") else "not installed: its baselines are missing",
        "sift": sift(),
        "beit": beit(),
    }
    write("mutual_nn", answer)


def sift() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    query = sift_like(generator, QUERY_ROWS)
    short = query[:SHORT_ROWS]
    images = []
    for _ in range(IMAGES):
        rows = sift_like(generator, ROWS)
        copies = generator.choice(QUERY_ROWS, ROWS // 10, replace=False)
        noise = generator.integers(-20, 21, (len(copies), 128))
        rows[: len(copies)] = np.clip(query[copies].astype(int) + noise, 0, 255)
        images.append(rows)
    gallery, offsets = np.concatenate(images), np.arange(IMAGES + 1, dtype=np.int64) * ROWS
    as_floats = [rows.astype(np.float32) for rows in images]
    query_floats, short_floats = query.astype(np.float32), short.astype(np.float32)
    matcher = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.npy" for number in range(IMAGES)]
        for file, rows in zip(files, as_floats, strict=True):
            np.save(file, rows)
        assert mutual_nn.count(query, gallery, offsets).tolist() == original(query_floats, as_floats)
        assert mutual_nn.count(short, gallery, offsets).tolist() == original(short_floats, as_floats)
        seconds = alternate(
            {
                "original": lambda: original(query_floats, map(np.load, files)),
                "original in memory": lambda: original(query_floats, as_floats),
                "OpenCV": lambda: [len(matcher.match(query_floats, rows)) for rows in as_floats],
                "imagefinder": lambda: mutual_nn.count(query, gallery, offsets),
                "imagefinder, one thread": lambda: mutual_nn.count(query, gallery, offsets, threads=1),
                "original, short query": lambda: original(short_floats, map(np.load, files)),
                "imagefinder, short query": lambda: mutual_nn.count(short, gallery, offsets),
            },
            rounds=ROUNDS,
        )
    ours: dict[str, Callable[[], object]] = {
        "imagefinder": lambda: mutual_nn.count(query, gallery, offsets),
        **forced(query, gallery, offsets),
    }
    operations = dict.fromkeys(ours, 2.0 * query.size * len(gallery))
    operations["ONNX Runtime, same products"] = operations["imagefinder"]
    ours["ONNX Runtime, same products"] = same_products(query, images)
    for name, run in int8_squares().items():
        ours[name], operations[name] = run, 2.0 * SQUARE**3
    return {
        "setting": {
            "images": IMAGES,
            "descriptors": len(gallery),
            "query_descriptors": QUERY_ROWS,
            "short_query_descriptors": SHORT_ROWS,
        },
        "counts_equal_the_original": True,
        "seconds_per_query": {name: spread(values) for name, values in seconds.items()},
        "imagefinder_times_as_fast_as": {
            name: ratios(seconds, name)["imagefinder"] for name in ("original", "original in memory", "OpenCV")
        }
        | {
            "original, short query": ratios(seconds, "original, short query")["imagefinder, short query"],
            "itself on one thread": ratios(seconds, "imagefinder, one thread")["imagefinder"],
        },
        **rates(alternate(ours, rounds=ROUNDS), operations),
    }


def beit() -> dict[str, Any]:
    generator = np.random.default_rng(1)
    query = generator.standard_normal((TOKENS, TOKEN_LENGTH), dtype=np.float32)
    images = [generator.standard_normal(query.shape, dtype=np.float32) for _ in range(TOKEN_IMAGES)]
    for rows in images:
        rows[:40] += query[generator.choice(TOKENS, 40, replace=False)]
    gallery, offsets = np.concatenate(images), np.arange(TOKEN_IMAGES + 1, dtype=np.int64) * TOKENS
    differing = np.count_nonzero(mutual_nn.count(query, gallery, offsets) != original(query, images))
    runs: dict[str, Callable[[], object]] = {
        "original in memory": lambda: original(query, images),
        "imagefinder": lambda: mutual_nn.count(query, gallery, offsets),
        **forced(query, gallery, offsets),
    }
    operations = dict.fromkeys(runs, 2.0 * query.size * len(gallery))
    whole = as_int8(query[None])[0]
    whole_gallery = as_int8(np.stack(images)).reshape(-1, TOKEN_LENGTH)
    runs["imagefinder, int8 tokens"] = lambda: mutual_nn.count(whole, whole_gallery, offsets)
    operations["imagefinder, int8 tokens"] = operations["imagefinder"]
    square = generator.standard_normal((SQUARE, SQUARE), dtype=np.float32)
    out = np.empty_like(square)
    runs["NumPy, square"] = lambda: np.matmul(square, square, out=out)
    operations["NumPy, square"] = 2.0 * SQUARE**3
    if importlib.util.find_spec("torch"):
        import torch

        matrix = torch.from_numpy(square)
        runs["torch, square"] = lambda: matrix @ matrix
        operations["torch, square"] = 2.0 * SQUARE**3
    seconds = alternate(runs, rounds=ROUNDS)
    return {
        "setting": {"images": TOKEN_IMAGES, "tokens": TOKENS, "length": TOKEN_LENGTH},
        "images_whose_count_differs_from_numpy": int(differing),
        "seconds_per_query": {
            name: spread(seconds[name])
            for name in ("original in memory", "imagefinder", "imagefinder, int8 tokens")
        },
        "imagefinder_times_as_fast_as": {
            "original in memory": ratios(seconds, "original in memory")["imagefinder"]
        },
        "int8_times_as_fast_as_float32": ratios(seconds, "imagefinder")["imagefinder, int8 tokens"],
        "int8_matches_in_both": agreement(images, query, whole),
        **rates(seconds, operations),
    }


def agreement(images: list[np.ndarray], query: np.ndarray, whole: np.ndarray) -> float:
    """Fraction of the matches from float32 or int8 tokens that both give (intersection over union)."""
    both = either = 0
    for rows in images:
        ours = set(map(tuple, mutual_nn.pairs(query, rows).tolist()))
        theirs = set(map(tuple, mutual_nn.pairs(whole, as_int8(rows[None])[0]).tolist()))
        both, either = both + len(ours & theirs), either + len(ours | theirs)
    return round(both / either, 4)


def original(query: np.ndarray, images: Any) -> list[int]:
    """The algorithm of the original program: one image after the other."""
    counts = []
    for candidate in images:
        products = query @ candidate.T
        best_column, best_row = products.argmax(1), products.argmax(0)
        counts.append(int((best_row[best_column] == np.arange(len(query))).sum()))
    return counts


def forced(query: np.ndarray, gallery: np.ndarray, offsets: np.ndarray) -> dict[str, Callable[[], object]]:
    """The native kernel on every instruction set except its default."""
    if mutual_nn.backend() == "numpy":
        return {}
    from imagefinder.kernels import _native

    counts, threads = np.empty(len(offsets) - 1, np.int64), len(os.sched_getaffinity(0))
    return {
        f"imagefinder, {isa}": lambda isa=isa: _native.count(query, gallery, offsets, counts, threads, isa)
        for isa in _native.supported()[1:]
    }


def integer_product(constant: np.ndarray) -> Callable[[np.ndarray], object]:
    """ONNX Runtime's product of u8 rows with a constant s8 matrix."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [None, constant.shape[0]])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [None, constant.shape[1]])],
        [numpy_helper.from_array(np.ascontiguousarray(constant), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(None, {"a": rows})


def same_products(query: np.ndarray, images: list[np.ndarray]) -> Callable[[], object]:
    product = integer_product((query.astype(np.int16) - 128).astype(np.int8).T)
    return lambda: [product(rows) for rows in images] and None


def int8_squares() -> dict[str, Callable[[], object]]:
    generator = np.random.default_rng(2)
    rows = generator.integers(0, 256, (SQUARE, SQUARE), dtype=np.uint8)
    constant = generator.integers(-128, 128, (SQUARE, SQUARE), dtype=np.int8)
    product = integer_product(constant)
    runs: dict[str, Callable[[], object]] = {"ONNX Runtime, square": lambda: product(rows)}
    if importlib.util.find_spec("torch"):
        import torch

        a, b = torch.from_numpy(constant), torch.from_numpy(constant.T.copy()).t()
        runs["torch, square"] = lambda: torch._int_mm(a, b)
    return runs


def rates(seconds: dict[str, list[float]], operations: dict[str, float]) -> dict[str, Any]:
    """Rates in 10^9 operations per second, and imagefinder's rate in percent of each baseline."""
    each = {name: [operations[name] / s / 1e9 for s in values] for name, values in seconds.items()}
    baselines = [name for name in each if name.startswith(("ONNX", "torch", "NumPy"))]
    return {
        "giga_operations_per_second": {name: spread(values) for name, values in each.items()},
        "imagefinder_percent_of": {
            name: spread([100 * o / y for o, y in zip(each["imagefinder"], each[name], strict=True)])
            for name in baselines
        },
    }


def sift_like(generator: np.random.Generator, rows: int) -> np.ndarray:
    """Sparse positive vectors with a length of about 512, clipped to bytes, like SIFT descriptors."""
    values = generator.gamma(0.4, 1.0, (rows, 128))
    return np.clip(values * (512 / np.linalg.norm(values, axis=1, keepdims=True)), 0, 255).astype(np.uint8)

"""A small seeded network as an ONNX file, with the outputs that published models have."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, DIM, GRID = 32, 8, 4

DESCRIPTION = """\
summary = "A small network"
licence = "MIT"
homepage = "https://models.example/small"

[weights]
file = "small.onnx"
size_bytes = 10_000

[input]
size = 32
resize = "exact"
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[output]
name = "vector"
pool = "vector"
dim = 8
"""


def graph(
    *, seed: int = 1, domain: str = "", external: bool = False, batch: str | int = "batch", channels: int = 3
) -> bytes:
    """The file: ``map`` (B, 8, 4, 4), its mean ``vector`` (B, 8), ``tokens`` (B, 17, 8) with a class token.

    Args:
        seed: Of the weights.
        domain: Domain of an operator that is added, if any.
        external: Keep the weights in another file.
        batch: Dimension of the batch.
        channels: Of the input.
    """
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(DIM, channels, 8, 8)).astype(np.float32)
    tensors = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(rng.normal(size=DIM).astype(np.float32), "bias"),
        numpy_helper.from_array(np.array([0, DIM, -1], dtype=np.int64), "flat"),
    ]
    if external:
        tensors[0].ClearField("raw_data")
        tensors[0].data_location = TensorProto.EXTERNAL
        tensors[0].external_data.add(key="location", value="weights.bin")
    nodes = [
        helper.make_node("Conv", ["pixel_values", "weight", "bias"], ["convolved"], strides=[8, 8]),
        helper.make_node("Relu", ["convolved"], ["map"]),
        helper.make_node("ReduceMean", ["map"], ["vector"], axes=[2, 3], keepdims=0),
        helper.make_node("Reshape", ["map", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["patches"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["patches"], ["class"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["class", "patches"], ["tokens"], axis=1),
    ]
    if domain:
        nodes.append(helper.make_node("Surprise", ["map"], ["unused"], domain=domain))
    shapes = {"map": [batch, DIM, GRID, GRID], "vector": [batch, DIM], "tokens": [batch, 1 + GRID * GRID, DIM]}
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [batch, channels, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        tensors,
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return onnx.ModelProto.SerializeToString(helper.make_model(made, opset_imports=opsets, ir_version=8))

"""Products with constant matrices in 8-bit integers: what ``precision=int8`` means for transformers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

_LARGEST = 63
"""Of the constant side. Seven bits: without AVX-512 VNNI two products of 8 bits are added in 16, and 255 x 127 x 2
does not fit. So the integers are the same on every processor."""


def dynamic(graph: bytes) -> bytes:
    """Replace every float32 product with a constant matrix by one of integers.

    The matrix gets a scale per column. The other side is scaled when the network runs, by the least and greatest
    of its values (``DynamicQuantizeLinear``), which are those of the whole batch: run pictures one by one.

    Args:
        graph: Serialised ONNX.
    """
    model = onnx.load_from_string(graph)
    constants = {constant.name: constant for constant in model.graph.initializer}
    nodes, replaced = [], set()
    for node in model.graph.node:
        matrix = constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if matrix is None:
            nodes.append(node)
            continue
        values, out = numpy_helper.to_array(matrix), node.output[0]
        scale = np.maximum(np.abs(values).max(axis=0) / _LARGEST, np.finfo(np.float32).tiny).astype(np.float32)
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{out}_matrix"),
                numpy_helper.from_array(scale, f"{out}_scale"),
                numpy_helper.from_array(np.zeros_like(scale, dtype=np.int8), f"{out}_zero"),
            ]
        )
        rows = [f"{out}_rows", f"{out}_rows_scale", f"{out}_rows_zero"]
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [node.input[0]], rows),
            helper.make_node(
                "MatMulInteger", [rows[0], f"{out}_matrix", rows[2], f"{out}_zero"], [f"{out}_integers"]
            ),
            helper.make_node("Cast", [f"{out}_integers"], [f"{out}_floats"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [rows[1], f"{out}_scale"], [f"{out}_factor"]),
            helper.make_node("Mul", [f"{out}_floats", f"{out}_factor"], [out]),
        ]
        replaced.add(matrix.name)
    kept = [constant for constant in model.graph.initializer if constant.name not in replaced]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)
    return bytes(model.SerializeToString())

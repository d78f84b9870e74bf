"""The bytes written for each part of a graph against those that the package ``onnx`` writes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.models.graphs import onnx_format

NAMES = st.text(max_size=200)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
# make_node takes the type of a list from its values, so an empty list has none.
ATTRIBUTES = st.dictionaries(
    st.text(min_size=1, max_size=20),
    INTEGERS | st.floats(width=32, allow_nan=False) | st.lists(INTEGERS, min_size=1, max_size=9),
    max_size=5,
)
TYPES = {np.dtype("<f4"): onnx.TensorProto.FLOAT, np.dtype("i1"): onnx.TensorProto.INT8, np.dtype("<i8"): 7}


@given(NAMES.filter(bool), st.lists(NAMES, max_size=4), st.lists(NAMES, max_size=4), ATTRIBUTES)
def test_node(operator, inputs, outputs, attributes):
    expected = onnx.NodeProto(input=inputs, output=outputs, op_type=operator)
    for name, value in sorted(attributes.items()):
        expected.attribute.append(onnx.helper.make_attribute(name, value))
    assert onnx_format.node(operator, inputs, outputs, attributes) == expected.SerializeToString()


@given(
    NAMES,
    st.lists(st.integers(0, 5), max_size=4),
    st.sampled_from(sorted(TYPES, key=str)),
)
def test_tensor(name, shape, dtype):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    expected = onnx.TensorProto(name=name, dims=shape, data_type=TYPES[dtype], raw_data=values.tobytes())
    assert b"".join(onnx_format.tensor(name, values)) == expected.SerializeToString()
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(expected), values)


def test_a_tensor_that_is_not_contiguous():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert onnx_format.tensor("t", values.T) == onnx_format.tensor("t", values.T.copy())


def test_an_element_type_without_a_number():
    with pytest.raises(KeyError):
        onnx_format.tensor("t", np.zeros(2, dtype=np.float64))


@given(NAMES, st.lists(st.integers(0, 2**40) | NAMES, max_size=5))
def test_value_info(name, shape):
    expected = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
    assert onnx_format.value_info(name, shape) == expected.SerializeToString()


def test_model():
    node = onnx.helper.make_node("Add", ["images", "one"], ["features"])
    one = onnx.numpy_helper.from_array(np.ones(1, dtype=np.float32), "one")
    images, features = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3])
        for name in ("images", "features")
    )
    graph = onnx.helper.make_graph([node], "g", [images], [features], [one])
    expected = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    found = onnx_format.model(
        "g",
        [onnx_format.node("Add", ["images", "one"], ["features"], {})],
        [onnx_format.tensor("one", np.ones(1, dtype=np.float32))],
        inputs=[onnx_format.value_info("images", ["batch", 3])],
        outputs=[onnx_format.value_info("features", ["batch", 3])],
    )
    assert found == expected.SerializeToString()

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.support import small_model

from imagefinder.core.errors import ModelError
from imagefinder.models.onnx_check import check


def test_a_plain_graph():
    check(small_model.graph(), "small.onnx")


def test_a_custom_operator_is_named():
    with pytest.raises(ModelError, match=r"small\.onnx uses the custom operator org\.example\.Surprise"):
        check(small_model.graph(domain="org.example"), "small.onnx")


def test_a_tensor_in_another_file_is_named():
    with pytest.raises(ModelError, match=r"small\.onnx keeps the tensor 'weight' in another file"):
        check(small_model.graph(external=True), "small.onnx")


def nested(*, domain: str = "", external: bool = False) -> bytes:
    """A graph whose only suspicious part is inside the branch of an ``If``."""
    value = numpy_helper.from_array(np.ones(2, dtype=np.float32), "hidden")
    if external:
        value.ClearField("raw_data")
        value.data_location = TensorProto.EXTERNAL
        value.external_data.add(key="location", value="/etc/passwd")
    branch = helper.make_graph(
        [
            helper.make_node("Constant", [], ["c"], value=value),
            helper.make_node("Surprise" if domain else "Relu", ["c"], ["y"], domain=domain),
        ],
        "branch",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["x"], ["out"], then_branch=branch, else_branch=branch)],
        "outer",
        [helper.make_tensor_value_info("x", TensorProto.BOOL, [1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])],
    )
    return helper.make_model(graph).SerializeToString()


def test_branches_are_checked():
    check(nested(), "a.onnx")
    with pytest.raises(ModelError, match=r"org\.example\.Surprise"):
        check(nested(domain="org.example"), "a.onnx")
    with pytest.raises(ModelError, match="'hidden'"):
        check(nested(external=True), "a.onnx")


def test_functions_of_the_file():
    model = onnx.load_from_string(small_model.graph())
    model.functions.append(
        helper.make_function("local", "F", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [])
    )
    with pytest.raises(ModelError, match="local functions"):
        check(model.SerializeToString(), "a.onnx")


@pytest.mark.parametrize("data", [b"", b"PK\3\4 a zip archive", b"\x80\x02}q\x00.", b"\xff" * 40, b"<html>"])
def test_other_files(data):
    with pytest.raises(ModelError, match=r"a\.onnx is not a valid ONNX file"):
        check(data, "a.onnx")


def test_every_truncation_is_an_error_or_harmless():
    data = small_model.graph()
    for length in range(0, len(data), 97):
        with pytest.raises(ModelError):
            check(data[:length], "a.onnx")

"""What the builders share: checked weights in, nodes added one by one, bytes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from imagefinder.core.errors import ModelCorruptError

INPUT = "images"
OUTPUT = "features"
SIDE = 224

# The first operator set with Gelu, and the file format of its time: any later ONNX Runtime reads both.
_OPSET = 20
_IR_VERSION = 9


class Graph:
    """An ONNX graph in the making; values are named by strings."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = weights
        # Filled in place: the helpers of ``onnx`` that join finished parts copy all weights each time.
        self._model = onnx.ModelProto(ir_version=_IR_VERSION, opset_import=[onnx.helper.make_opsetid("", _OPSET)])
        self._graph = self._model.graph
        self._graph.name = "imagefinder"

    def weight(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A published tensor.

        Raises:
            ModelCorruptError: it is not there, not of that shape, or not float32.
        """
        found = self._weights.get(name)
        if found is None:
            raise _corrupt(f"the weights have no tensor {name}")
        if found.shape != shape or found.dtype != np.float32:
            raise _corrupt(
                f"the tensor {name} of the weights is {found.shape} {found.dtype}, it should be {shape} float32"
            )
        return found

    def constant(self, values: NDArray[Any] | np.generic) -> str:
        """An array that is part of the graph, kept as float32 or int64."""
        values = values.astype("<f4" if values.dtype.kind == "f" else "<i8", copy=False)
        constant = self._graph.initializer.add()
        constant.name = f"c{len(self._graph.initializer)}"
        constant.dims.extend(values.shape)
        constant.data_type = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        constant.raw_data = values.tobytes()
        return str(constant.name)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One operator with one output."""
        return self.split(operator, *inputs, outputs=1, **attributes)[0]

    def split(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """One operator with several outputs."""
        names = [f"v{len(self._graph.node)}_{index}" for index in range(outputs)]
        self._graph.node.append(onnx.helper.make_node(operator, inputs, names, **attributes))
        return names

    def linear(self, x: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """``x @ weight.T + bias`` over the last axis, as PyTorch keeps such weights."""
        return self.node("Add", self.node("MatMul", x, self.constant(weight.T)), self.constant(bias))

    # wide: a layer of a network is described by this many numbers, as in torch.nn.Conv2d.
    def conv_bn(
        self,
        x: str,
        conv: str,
        batch_norm: str,
        *,
        channels: tuple[int, int],
        kernel: int,
        stride: int = 1,
        pads: Sequence[int] = (0, 0, 0, 0),
        groups: int = 1,
        epsilon: float,
    ) -> str:
        """A convolution without bias and the batch norm behind it, folded into one convolution.

        Batch norm at inference is ``(y - mean) / sqrt(variance + epsilon) * weight + bias`` per channel: a factor
        for the kernel and a bias. Folded in float64, so nothing is lost beside one rounding.

        Args:
            x: Input.
            conv: Name of the convolution in the weights.
            batch_norm: Name of the batch norm in the weights.
            channels: In and out.
            kernel: Pixels, both sides.
            stride: Pixels, both sides.
            pads: Top, left, bottom, right.
            groups: As in PyTorch.
            epsilon: Of the batch norm.
        """
        inputs, outputs = channels
        weight = self.weight(f"{conv}.weight", outputs, inputs // groups, kernel, kernel).astype(np.float64)
        gamma, beta, mean, variance = (
            self.weight(f"{batch_norm}.{part}", outputs).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gamma / np.sqrt(variance + epsilon)
        return self.node(
            "Conv",
            x,
            self.constant(weight * factor[:, None, None, None]),
            self.constant(beta - mean * factor),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=list(pads),
            group=groups,
        )

    def to_bytes(self, output: str, *shape: int) -> bytes:
        """The finished graph.

        Args:
            output: The value that becomes ``features``.
            shape: Its shape behind the batch dimension.
        """
        self._graph.node.append(onnx.helper.make_node("Identity", [output], [OUTPUT]))
        float32 = onnx.TensorProto.FLOAT
        self._graph.input.append(onnx.helper.make_tensor_value_info(INPUT, float32, ["batch", 3, SIDE, SIDE]))
        self._graph.output.append(onnx.helper.make_tensor_value_info(OUTPUT, float32, ["batch", *shape]))
        return bytes(self._model.SerializeToString())


def _corrupt(message: str) -> ModelCorruptError:
    return ModelCorruptError(
        message, hint="these are not the published weights; fetch them again with: imagefinder models pull"
    )

"""Construction of an ONNX graph: checked weights, then nodes one by one, then the bytes of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ModelCorruptError
from imagefinder.models.graphs import int8, onnx_format

INPUT = "images"
OUTPUT = "features"
SIDE = 224


class Graph:
    """An ONNX graph under construction; values are named by strings."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], *, integers: bool = False, side: int = SIDE) -> None:
        """Starts an empty graph.

        Args:
            weights: Published tensors by name.
            integers: Compute the products of ``linear`` in 8-bit integers; see ``int8``.
            side: Width and height of the input in pixels.
        """
        self._side = side
        self._weights = weights
        self._integers = integers
        self._nodes: list[bytes] = []
        self._tensors: list[list[bytes]] = []

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
        """An array that is part of the graph: int8 as it is, else float32 or int64."""
        if values.dtype != np.int8:
            values = values.astype("<f4" if values.dtype.kind == "f" else "<i8", copy=False)
        name = f"c{len(self._tensors) + 1}"
        self._tensors.append(onnx_format.tensor(name, np.asarray(values)))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One operator with one output."""
        return self.split(operator, *inputs, outputs=1, **attributes)[0]

    def split(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """One operator with several outputs."""
        names = [f"v{len(self._nodes)}_{index}" for index in range(outputs)]
        self._nodes.append(onnx_format.node(operator, inputs, names, attributes))
        return names

    def linear(self, x: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """``x @ weight.T + bias`` over the last axis; ``weight`` is ``(outputs, inputs)``."""
        product = self._integer_product(x, weight.T) if self._integers else self._product(x, weight.T)
        return self.node("Add", product, self.constant(bias))

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
        for the kernel and a bias. Folded in float64, so nothing is lost except for one rounding.

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
            shape: Its shape without the batch dimension.
        """
        nodes = [*self._nodes, onnx_format.node("Identity", [output], [OUTPUT], {})]
        return onnx_format.model(
            "imagefinder",
            nodes,
            self._tensors,
            inputs=[onnx_format.value_info(INPUT, ["batch", 3, self._side, self._side])],
            outputs=[onnx_format.value_info(OUTPUT, ["batch", *shape])],
        )

    def _product(self, x: str, matrix: NDArray[Any]) -> str:
        return self.node("MatMul", x, self.constant(matrix))

    def _integer_product(self, x: str, matrix: NDArray[Any]) -> str:
        whole, scale = int8.quantize(matrix)
        rows, rows_scale, rows_zero = self.split("DynamicQuantizeLinear", x, outputs=3)
        constants = [self.constant(whole), rows_zero, self.constant(np.zeros_like(scale, dtype=np.int8))]
        sums = self.node("Cast", self.node("MatMulInteger", rows, *constants), to=onnx_format.FLOAT)
        return self.node("Mul", sums, self.node("Mul", rows_scale, self.constant(scale)))


def _corrupt(message: str) -> ModelCorruptError:
    return ModelCorruptError(
        message, hint="these are not the published weights; fetch them again with: imagefinder models pull"
    )

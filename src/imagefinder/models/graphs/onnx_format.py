"""The part of the ONNX file format that the graphs need, written directly.

ONNX files are protocol buffers. The package ``onnx`` writes them too, but it takes 33 MB to install and keeps
every weight twice while a graph is built; tests compare the bytes written here with the bytes it writes.

Field numbers: ``onnx/onnx.proto`` of ONNX 1.15. Wire format: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT = 1
"""Number of the element type float32."""

# The first operator set with Gelu, and the file format of its time: any later ONNX Runtime reads both.
_OPSET = 20
_IR_VERSION = 9

_ELEMENT_TYPES = {np.dtype("<f4"): FLOAT, np.dtype("i1"): 3, np.dtype("<i8"): 7}
_VARINT, _LENGTH_DELIMITED, _FIXED32 = 0, 2, 5
# AttributeProto.type
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 1, 2, 7


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any]) -> bytes:
    """One ``NodeProto``; attributes are integers, floats or lists of integers."""
    return b"".join(
        [
            *(_text(1, name) for name in inputs),
            *(_text(2, name) for name in outputs),
            _text(4, operator),
            *(_message(5, _attribute(name, value)) for name, value in sorted(attributes.items())),
        ]
    )


def tensor(name: str, values: NDArray[Any]) -> list[bytes]:
    """One ``TensorProto`` in pieces, so that its values are not copied a second time.

    Args:
        name: Name of the tensor.
        values: float32, int64 or int8, any shape.
    """
    head = b"".join(_integer(1, length) for length in values.shape)
    head += _integer(2, _ELEMENT_TYPES[values.dtype]) + _text(8, name)
    return [head + _tag(9, _LENGTH_DELIMITED) + _varint(values.nbytes), values.tobytes()]


def value_info(name: str, shape: Sequence[int | str]) -> bytes:
    """One ``ValueInfoProto`` of a float32 tensor; a dimension is a length or the name of a free one."""
    dimensions = [_text(2, length) if isinstance(length, str) else _integer(1, length) for length in shape]
    tensor_type = _integer(1, FLOAT) + _message(2, b"".join(_message(1, one) for one in dimensions))
    return _text(1, name) + _message(2, _message(1, tensor_type))


def model(
    name: str,
    nodes: Sequence[bytes],
    tensors: Sequence[list[bytes]],
    *,
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
) -> bytes:
    """A ``ModelProto`` with one graph: a whole ONNX file.

    Args:
        name: Name of the graph.
        nodes: Results of ``node``, in an order in which they can be computed.
        tensors: Results of ``tensor``.
        inputs: Results of ``value_info``.
        outputs: Results of ``value_info``.
    """
    graph = [_message(1, one) for one in nodes]
    graph.append(_text(2, name))
    for pieces in tensors:
        graph += [_tag(5, _LENGTH_DELIMITED) + _varint(sum(map(len, pieces))), *pieces]
    graph += [_message(11, one) for one in inputs]
    graph += [_message(12, one) for one in outputs]
    head = _integer(1, _IR_VERSION) + _tag(7, _LENGTH_DELIMITED) + _varint(sum(map(len, graph)))
    return b"".join([head, *graph, _message(8, _text(1, "") + _integer(2, _OPSET))])


def _attribute(name: str, value: float | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _integer(3, value) + _integer(20, _ATTRIBUTE_INT)
    if isinstance(value, float):
        return _text(1, name) + _tag(2, _FIXED32) + struct.pack("<f", value) + _integer(20, _ATTRIBUTE_FLOAT)
    integers = b"".join(_integer(8, one) for one in value)
    return _text(1, name) + integers + _integer(20, _ATTRIBUTE_INTS)


def _integer(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, content: bytes) -> bytes:
    return _tag(field, _LENGTH_DELIMITED) + _varint(len(content)) + content


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers as two's complement
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

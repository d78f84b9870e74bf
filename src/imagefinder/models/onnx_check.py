"""Check ONNX files of third parties before they are loaded.

A graph may name other files (external data) and libraries (custom operators). Neither is loaded: such a file is
rejected, and the error names the tensor or operator. Only the tags of the format are read here, not the values of
tensors; the package ``onnx`` is not needed.

Field numbers: ``onnx/onnx.proto`` of ONNX 1.15.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagefinder.core.errors import ModelError

_DOMAINS = frozenset({b"", b"ai.onnx", b"ai.onnx.ml"})
_DEPTH = 16  # subgraphs inside subgraphs
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 8, 13, 14
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)


def check(graph: bytes, name: str) -> None:
    """Check a graph.

    Args:
        graph: The content of the file.
        name: Name of the file, for messages.

    Raises:
        ModelError: the bytes are not an ONNX file, or it has external data, custom operators or functions.
    """
    try:
        _model(memoryview(graph), name)
    except (IndexError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{name} is not a valid ONNX file: {error}", hint="download it again; a file .onnx is needed"
        ) from error


def _model(data: memoryview, name: str) -> None:
    graphs = 0
    for field, value in _fields(data):
        if field == _MODEL_FUNCTIONS:
            raise ModelError(
                f"{name} defines local functions, which imagefinder does not run",
                hint="export the model without local functions",
            )
        if field == _MODEL_GRAPH:
            graphs += 1
            _graph(_message(value), name, 0)
    if graphs != 1:
        raise ValueError(f"it contains {graphs} graphs")


def _graph(data: memoryview, name: str, depth: int) -> None:
    if depth > _DEPTH:
        raise ValueError("its subgraphs are nested too deeply")
    for field, value in _fields(data):
        if field == _GRAPH_NODE:
            _node(_message(value), name, depth)
        elif field == _GRAPH_TENSOR:
            _tensor(_message(value), name)
        elif field == _GRAPH_SPARSE:
            _sparse(_message(value), name)


def _node(data: memoryview, name: str, depth: int) -> None:
    operator, domain = b"", b""
    for field, value in _fields(data):
        if field == _NODE_OPERATOR:
            operator = bytes(_message(value))
        elif field == _NODE_DOMAIN:
            domain = bytes(_message(value))
        elif field == _NODE_ATTRIBUTE:
            _attribute(_message(value), name, depth)
    if domain not in _DOMAINS:
        raise ModelError(
            f"{name} uses the custom operator {_text(domain)}.{_text(operator)}, which imagefinder does not run",
            hint="export the model with standard ONNX operators only, without optimisation for one runtime",
        )


def _attribute(data: memoryview, name: str, depth: int) -> None:
    for field, value in _fields(data):
        if field in _ATTRIBUTE_TENSORS:
            _tensor(_message(value), name)
        elif field in _ATTRIBUTE_GRAPHS:
            _graph(_message(value), name, depth + 1)
        elif field in _ATTRIBUTE_SPARSE:
            _sparse(_message(value), name)


def _sparse(data: memoryview, name: str) -> None:
    for field, value in _fields(data):
        if field in (1, 2):  # values and indices
            _tensor(_message(value), name)


def _tensor(data: memoryview, name: str) -> None:
    tensor, external = b"", False
    for field, value in _fields(data):
        if field == _TENSOR_NAME:
            tensor = bytes(_message(value))
        elif field == _TENSOR_EXTERNAL or (field == _TENSOR_LOCATION and value != 0):
            external = True
    if external:
        raise ModelError(
            f"{name} keeps the tensor {_text(tensor)!r} in another file (external data), which imagefinder "
            "does not read",
            hint="export the model as one file",
        )


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number, and an integer or the bytes of a nested value."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield field, value
            continue
        length = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            length, at = _varint(data, at)
        if length is None or at + length > len(data):
            raise ValueError("a value has an unknown type, or exceeds the file")
        yield field, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number is too long")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number is in the place of a message")  # noqa: TRY004 - of the file, not of a caller
    return value


def _text(data: bytes) -> str:
    return data[:80].decode("utf-8", "backslashreplace")

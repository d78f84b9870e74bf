"""ONNX graphs from published weights: one builder per architecture.

Every graph takes ``images`` ``(B, 3, side, side)`` float32 and returns ``features`` float32, for any B;
``sides`` has the side of each architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from imagefinder.models.graphs import beit_base, efficientnet_lite, resnet50

_CONVOLUTIONAL = {
    **{name: efficientnet_lite.builder(name) for name in efficientnet_lite.NAMES},
    "resnet50": resnet50.build,
}
_TRANSFORMERS = {"beit_base": beit_base.build}


def build(architecture: str, weights: Mapping[str, NDArray[Any]], *, precision: str = "f32") -> bytes:
    """The serialised ONNX graph of an architecture with these weights.

    Args:
        architecture: As in ``catalogue.ModelSpec``.
        weights: Tensor name in the published file -> values.
        precision: ``int8`` computes the products of a transformer in integers; every other value gives a float32
            graph, which the provider may run in bfloat16.

    Raises:
        KeyError: the architecture does not exist.
        ModelCorruptError: a tensor is missing or has the wrong shape; the message names it.
        ValueError: the architecture has no int8 graph.
    """
    if architecture in _TRANSFORMERS:
        return _TRANSFORMERS[architecture](weights, integers=precision == "int8")
    build_network = _CONVOLUTIONAL[architecture]
    if precision == "int8":
        raise ValueError(f"{architecture} has no int8 graph")
    return build_network(weights)


def build_map(architecture: str, weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The network up to the feature map ``(B, D, rows, columns)`` whose mean over the cells is the pooled vector.

    Raises:
        KeyError: the architecture does not exist or does not pool.
        ModelCorruptError: a tensor is missing or has the wrong shape; the message names it.
    """
    return _CONVOLUTIONAL[architecture](weights, pooled=False)

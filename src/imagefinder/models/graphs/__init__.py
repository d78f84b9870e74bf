"""Published weights to ONNX graphs: one builder per architecture, the only users of ``onnx``.

Every graph takes ``images`` ``(B, 3, 224, 224)`` float32 and gives ``features`` float32, B free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from imagefinder.models.graphs import beit_base, efficientnet_lite0, resnet50

_BUILDERS = {
    "beit_base": beit_base.build,
    "efficientnet_lite0": efficientnet_lite0.build,
    "resnet50": resnet50.build,
}

_POOLED = {"efficientnet_lite0": efficientnet_lite0.build, "resnet50": resnet50.build}


def build(architecture: str, weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The serialised ONNX graph of an architecture with these weights.

    Args:
        architecture: As in ``catalogue.ModelSpec``.
        weights: Tensor name in the published file -> values.

    Raises:
        KeyError: no such architecture.
        ModelCorruptError: a tensor is missing or misshaped; names it.
    """
    return _BUILDERS[architecture](weights)


def build_map(architecture: str, weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The same network up to the map ``(B, D, rows, columns)`` whose mean over the cells is the pooled vector.

    Raises:
        KeyError: no such architecture, or not one that pools.
        ModelCorruptError: as ``build``.
    """
    return _POOLED[architecture](weights, pooled=False)

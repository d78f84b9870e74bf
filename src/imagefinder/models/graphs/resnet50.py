"""ResNet-50 without its classifier.

Source: K. He et al., "Deep residual learning for image recognition", CVPR 2016, in the variant of torchvision
that strides in the 3 x 3 convolution; tensor names as torchvision and timm publish them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from imagefinder.models.graphs.graph import INPUT, SIDE, Graph

_EPSILON = 1e-5
_EXPANSION = 4
_GRID = SIDE // 32
_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Width and number of blocks; every stage but the first halves the sides."""


def build(weights: Mapping[str, NDArray[Any]], *, pooled: bool = True) -> bytes:
    """``images`` (B, 3, 224, 224) to ``features`` (B, 2048): the global average pool.

    Not pooled: (B, 2048, 7, 7), whose mean over the cells is that vector.

    Raises:
        ModelCorruptError: a tensor is missing or misshaped.
    """
    g = Graph(weights)
    x = g.conv_bn(INPUT, "conv1", "bn1", channels=(3, 64), kernel=7, stride=2, pads=(3, 3, 3, 3), epsilon=_EPSILON)
    x = g.node("MaxPool", g.node("Relu", x), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (width, blocks) in enumerate(_STAGES, start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _bottleneck(g, x, f"layer{stage}.{block}", channels=channels, width=width, stride=stride)
            channels = width * _EXPANSION
    if not pooled:
        return g.to_bytes(x, channels, _GRID, _GRID)
    return g.to_bytes(g.node("Flatten", g.node("GlobalAveragePool", x)), channels)


def _bottleneck(g: Graph, x: str, name: str, *, channels: int, width: int, stride: int) -> str:
    out = width * _EXPANSION
    y = g.conv_bn(x, f"{name}.conv1", f"{name}.bn1", channels=(channels, width), kernel=1, epsilon=_EPSILON)
    y = g.conv_bn(
        g.node("Relu", y),
        f"{name}.conv2",
        f"{name}.bn2",
        channels=(width, width),
        kernel=3,
        stride=stride,
        pads=(1, 1, 1, 1),
        epsilon=_EPSILON,
    )
    y = g.conv_bn(
        g.node("Relu", y), f"{name}.conv3", f"{name}.bn3", channels=(width, out), kernel=1, epsilon=_EPSILON
    )
    if channels != out or stride != 1:
        x = g.conv_bn(
            x,
            f"{name}.downsample.0",
            f"{name}.downsample.1",
            channels=(channels, out),
            kernel=1,
            stride=stride,
            epsilon=_EPSILON,
        )
    return g.node("Relu", g.node("Add", y, x))

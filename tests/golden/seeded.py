"""Seeded weights in the published shapes and names, and inputs: the same numbers on every machine.

Built on ``PCG64.random_raw``, the one random stream NumPy promises never to change. The spread of each tensor
is chosen so that every part of a network matters to its output. No trained weights: for comparing
implementations only.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

GOLDEN_TOKENS = [0, 1, 14, 15, 105, 196]
"""Tokens of BEiT whose values are recorded: class token, corners, centre."""

GOLDEN_PICTURES = {
    "wide": (300, 417),
    "tall": (900, 61),
    "small": (37, 53),
    "strip": (3, 700),
    "large": (1200, 1600),
}
"""Name -> height and width of the images whose preprocessing is recorded."""

BEIT_TABLE = "attention.attention.relative_position_bias.relative_position_bias_table"


def uniform(name: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    raw = np.random.PCG64(seed).random_raw(math.prod(shape))
    unit = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return (np.float32(low) + unit * np.float32(high - low)).reshape(shape)


def images(count: int) -> np.ndarray:
    """Network input: ``(count, 3, 224, 224)`` float32 in [-2, 2], smooth and rough parts."""
    rough = uniform("images", (count, 3, 224, 224), -0.5, 0.5)
    coarse = uniform("coarse", (count, 3, 14, 14), -1.5, 1.5)
    return rough + coarse.repeat(16, axis=2).repeat(16, axis=3)


def picture(name: str, height: int, width: int) -> np.ndarray:
    """An image: ``(height, width, 3)`` uint8 with edges, gradients and noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(max(height, width))
    phase = uniform(name, (3, 4), 0, 1)
    planes = []
    for a, b, c, d in phase:
        slope = a * x + b * y
        discs = ((x - c) ** 2 + (y - d) ** 2) % np.float32(0.09) < np.float32(0.03)
        planes.append(slope * np.float32(0.5) + discs * np.float32(0.4))
    grain = uniform(name + "/grain", (height, width, 3), 0, 0.1)
    return (np.clip(np.stack(planes, axis=-1) + grain, 0, 1) * np.float32(255)).astype(np.uint8)


def _conv(weights: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> None:
    bound = math.sqrt(6 / math.prod(shape[1:]))
    weights[name] = uniform(name, shape, -bound, bound)


def _batch_norm(weights: dict[str, np.ndarray], name: str, channels: int, scale: float = 1.0) -> None:
    weights[f"{name}.weight"] = uniform(f"{name}.weight", (channels,), 0.5 * scale, 1.5 * scale)
    weights[f"{name}.bias"] = uniform(f"{name}.bias", (channels,), -0.3, 0.3)
    weights[f"{name}.running_mean"] = uniform(f"{name}.running_mean", (channels,), -0.3, 0.3)
    weights[f"{name}.running_var"] = uniform(f"{name}.running_var", (channels,), 0.5, 2.0)


def resnet50() -> dict[str, np.ndarray]:
    w: dict[str, np.ndarray] = {}
    _conv(w, "conv1.weight", (64, 3, 7, 7))
    _batch_norm(w, "bn1", 64)
    channels = 64
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            shapes = [(width, channels, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            for number, shape in enumerate(shapes, start=1):
                _conv(w, f"{name}.conv{number}.weight", shape)
                _batch_norm(w, f"{name}.bn{number}", shape[0], scale=0.4 if number == 3 else 1.0)
            if block == 0:
                _conv(w, f"{name}.downsample.0.weight", (4 * width, channels, 1, 1))
                _batch_norm(w, f"{name}.downsample.1", 4 * width)
            channels = 4 * width
    w["fc.weight"] = uniform("fc.weight", (1000, 2048), -0.04, 0.04)
    w["fc.bias"] = uniform("fc.bias", (1000,), -0.1, 0.1)
    return w


def beit() -> dict[str, np.ndarray]:
    w: dict[str, np.ndarray] = {}

    def add(name: str, shape: tuple[int, ...], low: float, high: float) -> None:
        w[name] = uniform(name, shape, low, high)

    def linear(name: str, outputs: int, inputs: int, *, bias: bool = True) -> None:
        bound = math.sqrt(3 / inputs)
        add(f"{name}.weight", (outputs, inputs), -bound, bound)
        if bias:
            add(f"{name}.bias", (outputs,), -0.3, 0.3)

    def norm(name: str) -> None:
        add(f"{name}.weight", (768,), 0.5, 1.5)
        add(f"{name}.bias", (768,), -0.3, 0.3)

    add("beit.embeddings.cls_token", (1, 1, 768), -1, 1)
    add("beit.embeddings.patch_embeddings.projection.weight", (768, 3, 16, 16), -0.0625, 0.0625)
    add("beit.embeddings.patch_embeddings.projection.bias", (768,), -0.3, 0.3)
    for layer in range(12):
        name = f"beit.encoder.layer.{layer}"
        add(f"{name}.lambda_1", (768,), -0.5, 1.0)
        add(f"{name}.lambda_2", (768,), -0.5, 1.0)
        norm(f"{name}.layernorm_before")
        norm(f"{name}.layernorm_after")
        linear(f"{name}.attention.attention.query", 768, 768)
        linear(f"{name}.attention.attention.key", 768, 768, bias=False)
        linear(f"{name}.attention.attention.value", 768, 768)
        add(f"{name}.{BEIT_TABLE}", (732, 12), -2, 2)
        linear(f"{name}.attention.output.dense", 768, 768)
        linear(f"{name}.intermediate.dense", 3072, 768)
        linear(f"{name}.output.dense", 768, 3072)
    norm("beit.pooler.layernorm")
    linear("classifier", 1000, 768)
    return w

"""BEiT, base size, patches of 16 pixels: its encoder.

Source: H. Bao et al., "BEiT: BERT pre-training of image transformers", ICLR 2022; tensor names as
``microsoft/beit-base-patch16-224`` publishes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.models.graphs.graph import INPUT, SIDE, Graph

_PATCH = 16
_GRID = SIDE // _PATCH
_TOKENS = 1 + _GRID * _GRID
_WIDTH = 768
_HEADS = 12
_HEAD_WIDTH = _WIDTH // _HEADS
_LAYERS = 12
_HIDDEN = 4 * _WIDTH
_EPSILON = 1e-12


def build(weights: Mapping[str, NDArray[Any]], *, integers: bool = False) -> bytes:
    """``images`` (B, 3, 224, 224) to ``features`` (B, 197, 768): the last hidden state.

    Token 0 is the class token, then the patches row by row. This network averages its patches and normalises
    the average (its pooler), so there is no layer norm after the last layer.

    Args:
        weights: Tensor name in the published file -> values.
        integers: Compute the products with weight matrices in 8-bit integers.

    Raises:
        ModelCorruptError: a tensor is missing or has the wrong shape.
    """
    g = Graph(weights, integers=integers)
    x = _embed(g)
    index = relative_position_index(_GRID)
    for layer in range(_LAYERS):
        name = f"beit.encoder.layer.{layer}"
        x = g.node("Add", x, _attention(g, _layer_norm(g, x, f"{name}.layernorm_before"), name, index))
        x = g.node("Add", x, _mlp(g, _layer_norm(g, x, f"{name}.layernorm_after"), name))
    return g.to_bytes(x, _TOKENS, _WIDTH)


def relative_position_index(grid: int) -> NDArray[np.int64]:
    """Which row of a bias table belongs to a pair of tokens: ``(1 + grid², 1 + grid²)``.

    Two patches have one row for each difference of their places; the last three rows are for class token to
    patch, patch to class token, and class token to itself.
    """
    reach = 2 * grid - 1
    row, column = np.divmod(np.arange(grid * grid), grid)
    index = np.empty((1 + grid * grid, 1 + grid * grid), dtype=np.int64)
    index[1:, 1:] = (row[:, None] - row + grid - 1) * reach + column[:, None] - column + grid - 1
    index[0, :] = reach * reach
    index[:, 0] = reach * reach + 1
    index[0, 0] = reach * reach + 2
    return index


def _embed(g: Graph) -> str:
    kernel = g.weight("beit.embeddings.patch_embeddings.projection.weight", _WIDTH, 3, _PATCH, _PATCH)
    x = g.node("Conv", INPUT, g.constant(kernel), kernel_shape=[_PATCH, _PATCH], strides=[_PATCH, _PATCH], group=1)
    x = g.node("Reshape", x, g.constant(np.array([0, _WIDTH, -1])))
    x = g.node("Transpose", x, perm=[0, 2, 1])
    # A row of zeros in front, then one addition brings the class token there and the bias to the patches:
    # no operator needs to know the size of the batch.
    x = g.node("Pad", x, g.constant(np.array([0, 1, 0, 0, 0, 0])))
    first = np.empty((_TOKENS, _WIDTH), dtype=np.float32)
    first[0] = g.weight("beit.embeddings.cls_token", 1, 1, _WIDTH)[0, 0]
    first[1:] = g.weight("beit.embeddings.patch_embeddings.projection.bias", _WIDTH)
    return g.node("Add", x, g.constant(first))


def _layer_norm(g: Graph, x: str, name: str) -> str:
    scale, bias = (g.constant(g.weight(f"{name}.{part}", _WIDTH)) for part in ("weight", "bias"))
    return g.node("LayerNormalization", x, scale, bias, epsilon=_EPSILON)


def _attention(g: Graph, x: str, name: str, index: NDArray[np.int64]) -> str:
    inner = f"{name}.attention.attention"
    # The published network divides the products of queries and keys by 8 = sqrt(64): exact in the weights.
    scale = np.float32(_HEAD_WIDTH**-0.5)
    query = g.weight(f"{inner}.query.weight", _WIDTH, _WIDTH) * scale
    query_bias = g.weight(f"{inner}.query.bias", _WIDTH) * scale
    key = g.weight(f"{inner}.key.weight", _WIDTH, _WIDTH)
    value = g.weight(f"{inner}.value.weight", _WIDTH, _WIDTH)
    value_bias = g.weight(f"{inner}.value.bias", _WIDTH)
    joined = g.linear(
        x,
        np.concatenate([query, key, value]),
        np.concatenate([query_bias, np.zeros_like(query_bias), value_bias]),
    )
    parts = g.split("Split", joined, outputs=3, axis=-1, num_outputs=3)
    heads = g.constant(np.array([0, _TOKENS, _HEADS, _HEAD_WIDTH]))
    q, k, v = (
        g.node("Transpose", g.node("Reshape", part, heads), perm=perm)
        for part, perm in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    table = g.weight(
        f"{inner}.relative_position_bias.relative_position_bias_table", (2 * _GRID - 1) ** 2 + 3, _HEADS
    )
    scores = g.node("Add", g.node("MatMul", q, k), g.constant(table[index].transpose(2, 0, 1)))
    mixed = g.node("MatMul", g.node("Softmax", scores, axis=-1), v)
    mixed = g.node("Transpose", mixed, perm=[0, 2, 1, 3])
    mixed = g.node("Reshape", mixed, g.constant(np.array([0, _TOKENS, _WIDTH])))
    return _scaled_linear(g, mixed, f"{name}.attention.output.dense", f"{name}.lambda_1", _WIDTH)


def _mlp(g: Graph, x: str, name: str) -> str:
    dense = f"{name}.intermediate.dense"
    x = g.linear(x, g.weight(f"{dense}.weight", _HIDDEN, _WIDTH), g.weight(f"{dense}.bias", _HIDDEN))
    return _scaled_linear(g, g.node("Gelu", x), f"{name}.output.dense", f"{name}.lambda_2", _HIDDEN)


def _scaled_linear(g: Graph, x: str, dense: str, scale: str, inputs: int) -> str:
    """A linear layer whose output is multiplied per channel (layer scale), as one linear layer."""
    factor = g.weight(scale, _WIDTH)
    weight, bias = g.weight(f"{dense}.weight", _WIDTH, inputs), g.weight(f"{dense}.bias", _WIDTH)
    return g.linear(x, weight * factor[:, None], bias * factor)

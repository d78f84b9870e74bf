"""Turns the output of a network into one vector, or several tokens, per image.

Source of the generalised mean (GeM): F. Radenović, G. Tolias, O. Chum, "Fine-tuning CNN image retrieval with no
human annotation", TPAMI 2018.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import ModelError
from imagefinder.models.catalogue import ModelSpec

_AXES = {"vector": 2, "class token": 3, "mean of tokens": 3, "tokens": 3, "mean of map": 4, "GeM of map": 4}
_SHAPES = {2: "(images, dimensions)", 3: "(images, tokens, dimensions)", 4: "(images, dimensions, rows, columns)"}
_SMALLEST = 1e-6  # as published


def pool(
    output: NDArray[np.float32],
    model: ModelSpec,
    linear: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> NDArray[np.float32]:
    """Features of each image.

    Args:
        output: ``(B, D)``, ``(B, T, D)`` or ``(B, D, rows, columns)`` float32.
        model: The model; ``model.output`` says what to do.
        linear: Weight ``(dim, D)`` and bias ``(dim,)`` of a layer behind the pooling.

    Returns:
        ``(B, dim)`` float32; for tokens ``(B, T, dim)``.

    Raises:
        ModelError: the output has another shape than the model's description says.
    """
    how = model.output
    if output.ndim != _AXES[how.pool]:
        raise _wrong(model, output, f"the pooling {how.pool!r} needs {_SHAPES[_AXES[how.pool]]}")
    if output.ndim == 3 and output.shape[1] <= how.skip:
        raise _wrong(model, output, f"skip = {how.skip} leaves no tokens")
    result = output
    if how.pool == "class token":
        result = output[:, 0]
    elif how.pool == "mean of tokens":
        result = output[:, how.skip :].mean(axis=1)
    elif how.pool == "tokens":
        result = output[:, how.skip :]
    elif how.pool == "mean of map":
        result = output.mean(axis=(2, 3))
    elif how.pool == "GeM of map":
        powers = np.maximum(output, _SMALLEST).astype(np.float64) ** how.power
        result = (powers.mean(axis=(2, 3)) ** (1 / how.power)).astype(np.float32)
    if linear is not None:
        weight, bias = linear
        if weight.shape != (model.features.dim, result.shape[-1]) or bias.shape != (model.features.dim,):
            raise _wrong(model, output, f"the linear layer has {weight.shape} weights and {bias.shape} biases")
        result = result @ weight.T + bias
    if result.shape[-1] != model.features.dim:
        raise _wrong(model, output, f"dim = {model.features.dim}")
    return np.ascontiguousarray(result, dtype=np.float32)


def _wrong(model: ModelSpec, output: NDArray[np.float32], expected: str) -> ModelError:
    return ModelError(
        f"the output of {model.name} has the shape {output.shape}, which does not fit its description: {expected}",
        hint=f"correct [output] in the model.toml of {model.name}: imagefinder models show {model.name}",
    )

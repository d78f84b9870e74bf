"""The example images, and small generated ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = Path(__file__).parents[2] / "examples" / "pictures"
QUERIES = PICTURES.with_name("queries")


def jpeg(seed: int, size: tuple[int, int] = (200, 150)) -> bytes:
    """A small generated image, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()

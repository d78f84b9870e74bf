"""Ways to read the colours of an image."""

from __future__ import annotations

from typing import Literal, TypeAlias

Colours: TypeAlias = Literal["srgb", "file"]
"""``srgb`` converts colours with an ICC profile to sRGB; ``file`` ignores profiles, as version 0.1 did."""

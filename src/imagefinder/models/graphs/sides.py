"""Width and height of the input of each architecture, in pixels."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SIDES: Mapping[str, int] = MappingProxyType(
    {
        "beit_base": 224,
        "efficientnet_lite0": 224,
        "efficientnet_lite1": 240,
        "efficientnet_lite2": 260,
        "resnet50": 224,
    }
)

"""Example responses for the OpenAPI description, recorded from a real server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ANSWERS: Mapping[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
"""Name of a response schema -> example."""


def add_to(schemas: dict[str, Any]) -> None:
    """Add the examples to the schemas of the OpenAPI description; changes them in place."""
    for name, example in ANSWERS.items():
        schemas[name]["examples"] = [example]

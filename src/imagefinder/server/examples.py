"""Examples of answers, real ones, for the OpenAPI description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ANSWERS: Mapping[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
"""Name of the form -> an example."""


def add_to(schemas: dict[str, Any]) -> None:
    """Give the forms of the description their examples."""
    for name, example in ANSWERS.items():
        schemas[name]["examples"] = [example]

"""Shared by the tables of measurements: reading results, describing the machine, formatting numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
RANKINGS = {"matches": "score", "evidence": "evidence"}
SETS = {
    "copy": "edited copies, and images not in the collection",
    "places": "other views of a place",
    "fruits360": "the same fruit from another side",
    "grocery": "other photos of a product",
    "clothing": "clothes of the same kind",
    "stamps": "drawings of the same kind",
    "exif_orientation": "the same photo, rotated by its EXIF tag",
}


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return document


def measured_on(name: str) -> str:
    return conditions(read(name)["measured_on"])


def conditions(machine: dict[str, Any]) -> str:
    """Describe the machine, its load, and the command."""
    text = f"Measured on {machine['cores']} cores ({machine['processor']}), without a GPU"
    load, others = machine.get("load_average"), machine.get("cores_busy_for_others")
    if others is not None:
        text += f", with {others:.2f} cores busy with other work on average"
    elif load and load > 1.5 * machine["cores"]:
        text += f", under other load (load average {load:.1f})"
    return text + (f"; `{machine['command']}`" if "command" in machine else "")


def span(values: dict[str, float], digits: int = 0) -> str:
    """Format a median with its minimum and maximum."""
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f} to {values['max']:.{digits}f})"


def spaced(count: int) -> str:
    """Format an integer with spaces between thousands."""
    return f"{count:,}".replace(",", " ")


def size(count: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"

"""The architecture as the import contracts state it: a drawing of the layers, and tables of packages and libraries."""

from __future__ import annotations

import ast
import configparser
import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "imagefinder"
WIDTH, ROW, BOX, GAP = 940, 46, 32, 10
"""Pixels of the drawing: its width, the height of a row and of a box, the space between boxes."""


def contracts() -> dict[str, dict[str, list[str]]]:
    """The contracts of ``.importlinter`` by name: their options as lists of lines."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter", encoding="utf-8")
    return {
        name.removeprefix("importlinter:contract:"): {
            key: [line.strip() for line in value.splitlines() if line.strip()]
            for key, value in parser[name].items()
        }
        for name in parser.sections()
        if name.startswith("importlinter:contract:")
    }


def layers() -> list[list[str]]:
    """The layers from top to bottom, each a list of packages that do not import one another."""
    lines = contracts()["layers"]["layers"]
    return [[part.strip(" ()") for part in line.split("|")] for line in lines]


def drawing() -> str:
    """An SVG with one row for each layer; a package imports packages of lower rows only."""
    rows = layers()
    height = len(rows) * ROW + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Layers of packages; imports point down" font-family="sans-serif" font-size="15">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker>',
        f'<path d="M24 20V{height - 24}" stroke="#555" stroke-width="2" marker-end="url(#tip)"/>',
        f'<text x="18" y="{height // 2}" fill="#555" text-anchor="middle" '
        f'transform="rotate(-90 18 {height // 2})">imports</text>',
    ]
    for number, row in enumerate(rows):
        width = min(150, (WIDTH - 70) // len(row) - GAP)
        left = 50 + (WIDTH - 60 - len(row) * (width + GAP) + GAP) // 2
        for place, name in enumerate(row):
            x, y = left + place * (width + GAP), 16 + number * ROW
            parts.append(
                f'<rect x="{x}" y="{y}" width="{width}" height="{BOX}" rx="5" fill="#e3f1ef" stroke="#27746b"/>'
                f'<text x="{x + width // 2}" y="{y + 21}" fill="#123" text-anchor="middle">{escape(name)}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def packages() -> str:
    """Every package with the first sentence of its docstring, and the owners of the libraries."""
    lines = ["", "| layer | package | content |", "|---|---|---|"]
    for number, row in enumerate(layers(), 1):
        lines += [f"| {number} | `{name}` | {summary(name)} |" for name in row]
    lines += ["", "| library | imported only by |", "|---|---|"]
    for options in contracts().values():
        if options["type"] == ["protected"]:
            names, owners = options["protected_modules"], options["allowed_importers"]
            words = ", ".join(f"`{owner.removeprefix(PACKAGE + '.')}`" for owner in owners)
            lines.append(f"| {', '.join(f'`{name}`' for name in names)} | {words} |")
    return "\n".join([*lines, ""])


def summary(name: str) -> str:
    """The first line of the docstring of a package or module, as Markdown."""
    source = ROOT / "src" / PACKAGE
    path = next(path for path in (source / name / "__init__.py", source / f"{name}.py") if path.exists())
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.partition("\n\n")[0].split())
    return re.sub("``", "`", first).replace("|", "\\|")

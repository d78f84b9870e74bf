"""Lists of images as files, for spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Literal

from imagefinder.core.answers import Image, ImagePage
from imagefinder.core.serialization import to_json

COLUMNS = ("id", "uri", "width", "height", "format", "size_bytes", "sha256", "added_at")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of cells that spreadsheets take for formulas."""


def written(images: Sequence[Image], kind: Literal["csv", "json"]) -> tuple[bytes, str]:
    """A list of images as a file, and its media type; metadata are JSON in the last column of CSV."""
    if kind == "json":
        page = to_json(ImagePage(tuple(images), None))
        return json.dumps(page, ensure_ascii=False).encode(), "application/json"
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, "metadata"])
    for image in images:
        cells = [getattr(image, name) for name in COLUMNS]
        writer.writerow(map(_safe, [*cells, json.dumps(image.metadata, ensure_ascii=False)]))
    # Spreadsheets recognise UTF-8 by the byte-order mark.
    return text.getvalue().encode("utf-8-sig"), "text/csv; charset=utf-8"


def _safe(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell

"""Lists of images as files, for spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Literal

from imagefinder.core.answers import Image, ImagePage
from imagefinder.core.csv_cells import cell
from imagefinder.core.file_metadata import PLACES, PROPERTIES, nested_names
from imagefinder.core.serialization import to_json

COLUMNS = ("id", "uri", "width", "height", "format", "size_bytes", "sha256", "added_at")


def written(images: Sequence[Image], kind: Literal["csv", "json"]) -> tuple[bytes, str]:
    """A list of images as a file, and its media type.

    CSV has a column for each property of files, lists joined by semicolons, and the metadata as JSON in the last.
    """
    if kind == "json":
        page = to_json(ImagePage(tuple(images), None))
        return json.dumps(page, ensure_ascii=False).encode(), "application/json"
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    found = [nested_names(image.file_metadata) for image in images]
    names = [name for name in PROPERTIES if name not in PLACES or any(name in one for one in found)]
    writer.writerow([*COLUMNS, *names, "metadata"])
    for image, properties in zip(images, found, strict=True):
        cells = [getattr(image, name) for name in COLUMNS] + [properties.get(name, "") for name in names]
        writer.writerow(map(cell, [*cells, json.dumps(image.metadata, ensure_ascii=False)]))
    # Spreadsheets recognise UTF-8 by the byte-order mark.
    return text.getvalue().encode("utf-8-sig"), "text/csv; charset=utf-8"

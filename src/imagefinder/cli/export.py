"""``imagefinder export``: write features as ``.npy`` files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, open_collection
from imagefinder.core.serialization import to_json

HELP = """\
FOLDER must be new or empty. It gets the layout of the original program: dataset.csv (columns url and id) and the
subfolders features/sift, features/resnet_50 and features/microsoft_beit, with one file per image, named by its id.
The layout has no place for keypoints, thumbnails and other methods.

  imagefinder export exported
  imagefinder export exported --format npy -c shop.collection

Exit codes: 0 all images written; 1 some images could not be written."""


class Format(StrEnum):
    """Export formats."""

    NPY = "npy"


def export_features(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Destination; must be new or empty.", show_default=False)
    ],
    *,
    form: Annotated[Format, typer.Option("--format", metavar="NAME", help="File layout: npy.")] = Format.NPY,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Export the features and report how many files were written."""
    del form  # only npy exists so far
    with open_collection(context, collection) as opened, output.counter("exporting", of_bytes=False) as progress:
        report = opened.export_features(folder, progress=progress)
    if as_json:
        output.document({"folder": str(folder), **to_json(report)})
    else:
        files = ", ".join(f"{method} {count}" for method, count in report.files.items() if count) or "none"
        output.line(
            f"exported {output.plural(report.images, 'image')} to {folder} in {output.duration(report.seconds)}"
        )
        output.line(f"feature files: {files}")
        for failure in report.failures:
            output.note(f"not exported: {failure.id}: {failure.message}")
    return UNFINISHED if report.failures else OK

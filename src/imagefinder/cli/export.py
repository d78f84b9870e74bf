"""``imagefinder export``: give features away as ``.npy`` files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, open_collection
from imagefinder.core.serialization import to_json

HELP = """Write the features of the collection as a folder of .npy files, as the original program kept them.

FOLDER, which must be new or empty, gets dataset.csv (columns url and id) and features/sift, features/resnet_50,
features/microsoft_beit with one file per image, named by its id. Keypoints, thumbnails and other methods have
no place in this layout.

  imagefinder export exported
  imagefinder export exported --format npy -c shop.collection

Exit codes: 0 all is written; 1 some images could not be."""


class Format(StrEnum):
    """What can be written."""

    NPY = "npy"


def export_features(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write.", show_default=False)],
    *,
    form: Annotated[
        Format, typer.Option("--format", metavar="NAME", help="Layout of the files: npy.")
    ] = Format.NPY,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Export, and tell how much was written."""
    del form  # there is one so far
    with open_collection(context, collection) as opened, output.counter("exporting", of_bytes=False) as progress:
        report = opened.export_features(folder, progress=progress)
    if as_json:
        output.document({"folder": str(folder), **to_json(report)})
    else:
        files = ", ".join(f"{count} of {method}" for method, count in report.files.items() if count) or "none"
        output.line(
            f"{output.plural(report.images, 'image')} written to {folder} in {output.duration(report.seconds)}"
        )
        output.line(f"files of features: {files}")
        for failure in report.failures:
            output.note(f"not written: {failure.id}: {failure.message}")
    return UNFINISHED if report.failures else OK

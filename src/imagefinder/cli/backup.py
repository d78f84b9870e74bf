"""``imagefinder backup``: a consistent copy of a collection that is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, JsonOption, open_collection

HELP = """Copy the collection as it is at one moment into a new folder. Others may search and add meanwhile.

The copy is a collection like any other: use it with --collection, or move it to the place of one that was lost.
The folder appears complete and checked, or not at all.

  imagefinder backup /mnt/backup/pictures-2026-11-24
  imagefinder -c /mnt/backup/pictures-2026-11-24 search photo.jpg"""


def backup(
    context: typer.Context,
    destination: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to; not there yet, or empty.", show_default=False)
    ],
    *,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy, and tell where to."""
    with open_collection(context, collection) as opened, output.counter("copying", of_bytes=False) as progress:
        folder = opened.backup(destination, progress=progress)
    with open_collection(context, folder) as copy:
        info = copy.info()
    if as_json:
        output.document({"backup": str(folder), "images": info.images, "bytes": info.bytes_on_disk})
    else:
        size = output.size(info.bytes_on_disk)
        output.line(f"{output.plural(info.images, 'image')} ({size}) copied to {folder}, and checked")

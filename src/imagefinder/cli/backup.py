"""``imagefinder backup``: a consistent copy of a collection, also while it is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, JsonOption, open_collection

HELP = """\
The copy is a consistent snapshot and an ordinary collection: open it with --collection, or move it to where the
original was. Other processes may search and add images meanwhile. A backup under its final name is complete and
verified.

  imagefinder backup /mnt/backup/photos-2026-11-24
  imagefinder -c /mnt/backup/photos-2026-11-24 search photo.jpg"""


def backup(
    context: typer.Context,
    destination: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Destination; must be empty or not exist yet.", show_default=False),
    ],
    *,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the collection and report the size of the copy."""
    with open_collection(context, collection) as opened, output.counter("copying", of_bytes=False) as progress:
        folder = opened.backup(destination, progress=progress)
    with open_collection(context, str(folder)) as copy:
        info = copy.info()
    if as_json:
        output.document({"backup": str(folder), "images": info.images, "bytes": info.bytes_on_disk})
    else:
        size = output.size(info.bytes_on_disk)
        output.line(f"copied and verified {output.plural(info.images, 'image')} ({size}): {folder}")

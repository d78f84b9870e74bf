"""``imagefinder list``: the images of a collection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, JsonOption, open_collection
from imagefinder.core.paging import iter_images

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.records import ImageRecord

HELP = """List the images of the collection, sorted by id.

  imagefinder list
  imagefinder list --json"""

_PAGE = 1000


def list_images(context: typer.Context, collection: CollectionOption = None, as_json: JsonOption = False) -> None:
    """Print all image records."""
    with open_collection(context, collection) as opened:
        records = list(_all(opened))
    if as_json:
        output.document(
            [
                {
                    "id": record.id,
                    "uri": record.uri,
                    "width": record.width,
                    "height": record.height,
                    "format": record.format,
                    "bytes": record.size_bytes,
                    "sha256": record.sha256,
                    "metadata": dict(record.metadata),
                }
                for record in records
            ]
        )
    else:
        output.table(
            ("id", ">dimensions", "format", ">size", "location"),
            [
                (
                    record.id,
                    f"{record.width} x {record.height}" if record.width else "",
                    record.format,
                    output.size(record.size_bytes) if record.size_bytes else "",
                    output.location(record.uri),
                )
                for record in records
            ],
        )


def _all(opened: Collection) -> Iterator[ImageRecord]:
    return iter_images(opened.images, page_size=_PAGE)

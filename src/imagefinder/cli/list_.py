"""``imagefinder list``: the images of a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, JsonOption, open_collection
from imagefinder.core.paging import iter_images

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.records import ImageRecord, Removal

HELP = """\
An image whose file no longer exists is marked as missing. --removed lists the images that were removed from the
collection and that add skips.

  imagefinder list
  imagefinder list --json
  imagefinder list --removed"""

_PAGE = 1000


def list_images(
    context: typer.Context,
    removed: Annotated[
        bool, typer.Option("--removed", help="List the images that were removed and that add skips.")
    ] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print all image records, or all removals."""
    with open_collection(context, collection) as opened:
        if removed:
            _print_removals(opened.removals(), as_json=as_json)
            return
        records = list(_all(opened))
    if as_json:
        from imagefinder.indexing.missing import is_gone  # noqa: PLC0415 - fast start

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
                    "missing": is_gone(record.uri),
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


def _print_removals(removals: Sequence[Removal], *, as_json: bool) -> None:
    if as_json:
        output.document(
            [
                {"id": one.id, "uri": one.uri, "sha256": one.sha256, "source": one.source, "removed_at": one.at}
                for one in removals
            ]
        )
        return
    output.table(
        ("removed image", "removed at", "location"),
        [
            (one.id, f"{datetime.fromtimestamp(one.at):%Y-%m-%d %H:%M}", output.location(one.uri))
            for one in removals
        ],
    )


def _all(opened: Collection) -> Iterator[ImageRecord]:
    return iter_images(opened.images, page_size=_PAGE)

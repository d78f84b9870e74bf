"""``imagefinder list``: the images of a collection."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagefinder.cli import output
from imagefinder.cli.query_options import parse_filter
from imagefinder.cli.session import CollectionOption, JsonOption, open_collection
from imagefinder.core import filters
from imagefinder.core.csv_cells import cell
from imagefinder.core.file_metadata import PLACES, PROPERTIES, nested_names
from imagefinder.core.listing import GROUPS, SORTS, Group, GroupBy, Order, Selection, Sort

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.records import ImageRecord, Removal

HELP = """\
An image whose file no longer exists is marked as missing. --removed lists the images that were removed from the
collection and that add skips. --json and --csv also list what the files say, such as time, camera and keywords.

--sort taken sorts by the time at which an image was taken or, if that is unknown, by the time of the file or
else of adding. --group-by prints numbers of images instead.

  imagefinder list --sort taken --reverse
  imagefinder list --group-by month
  imagefinder list --json
  imagefinder list --csv --places > images.csv
  imagefinder list --filter '{"exif.taken": {"gte": "2024-07"}, "xmp.rating": {"gte": 4}}'
  imagefinder list --removed"""

_PAGE = 1000

SortOption = Annotated[
    Sort,
    typer.Option(
        "--sort",
        metavar="PROPERTY",
        help=f"Property to sort by: {', '.join(SORTS)}.",
        autocompletion=lambda: list(SORTS),
    ),
]
GroupOption = Annotated[
    GroupBy | None,
    typer.Option(
        "--group-by",
        metavar="PROPERTY",
        help=f"Print the number of images for each value of a property: {', '.join(GROUPS)}.",
        show_default=False,
        autocompletion=lambda: list(GROUPS),
    ),
]


def list_images(  # wide: independent options of the command
    context: typer.Context,
    removed: Annotated[
        bool, typer.Option("--removed", help="List the images that were removed and that add skips.")
    ] = False,
    *,
    sort: SortOption = "id",
    reverse: Annotated[bool, typer.Option("--reverse", help="Largest or newest first.")] = False,
    group_by: GroupOption = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="JSON",
            help="List only images whose metadata match this filter.",
            show_default=False,
        ),
    ] = None,
    places: Annotated[
        bool, typer.Option("--places", help="Also list, and filter by, where images were taken.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table of comma-separated values.")] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print all image records, their groups, or all removals."""
    if as_csv and (as_json or removed or group_by):
        raise typer.BadParameter("--csv cannot be combined with --json, --removed or --group-by")
    chosen = parse_filter(where)
    with open_collection(context, collection, places=places or None) as opened:
        if removed:
            _print_removals(opened.removals(), as_json=as_json)
            return
        places = opened.settings.places
        selection = Selection(where=filters.parse_optional(chosen, places=places))
        if group_by is not None:
            _print_groups(opened.groups(group_by, selection), group_by, reverse=reverse, as_json=as_json)
            return
        records = list(_all(opened, selection, Order(sort, reverse)))
    if as_csv:
        _print_csv(records, places=places)
    elif as_json:
        output.document([_plain(record, places=places) for record in records])
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


def _print_groups(groups: Sequence[Group], by: GroupBy, *, reverse: bool, as_json: bool) -> None:
    shown = list(reversed(groups)) if reverse else groups
    if as_json:
        output.document([{"value": group.value, "images": group.images} for group in shown])
    else:
        output.table((by, ">images"), [(group.value or "-", str(group.images)) for group in shown])


def _all(opened: Collection, selection: Selection, order: Order) -> Iterator[ImageRecord]:
    after = None
    while page := opened.listing(selection, order, after=after, limit=_PAGE):
        yield from page
        after = order.position(page[-1])


def _plain(record: ImageRecord, *, places: bool) -> dict[str, Any]:
    from imagefinder.indexing.missing import is_gone  # noqa: PLC0415 - fast start

    return {
        "id": record.id,
        "uri": record.uri,
        "width": record.width,
        "height": record.height,
        "format": record.format,
        "bytes": record.size_bytes,
        "sha256": record.sha256,
        "metadata": dict(record.metadata),
        "file_metadata": record.file_metadata.shown(places=places),
        "stack": record.file_metadata.stack,
        "missing": is_gone(record.uri),
    }


def _print_csv(records: Sequence[ImageRecord], *, places: bool) -> None:
    """Print one row for each image, with a column for each property of files; lists are joined by semicolons."""
    names = [name for name in PROPERTIES if places or name not in PLACES]
    table = io.StringIO()
    rows = csv.writer(table)
    for number, record in enumerate(records):
        plain = _plain(record, places=places)
        found = nested_names(plain.pop("file_metadata"))
        plain["metadata"] = json.dumps(plain["metadata"], ensure_ascii=False)
        if not number:
            rows.writerow([*plain, *names])
        rows.writerow(map(cell, [*plain.values(), *(found.get(name, "") for name in names)]))
    output.text(table.getvalue())

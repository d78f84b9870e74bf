"""``imagefinder list``: the images of a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import CollectionOption, JsonOption, open_collection
from imagefinder.core.listing import GROUPS, SORTS, Group, GroupBy, Order, Sort

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.records import ImageRecord, Removal

HELP = """\
An image whose file no longer exists is marked as missing. --removed lists the images that were removed from the
collection and that add skips.

--sort taken sorts by the time at which an image was taken or, if that is unknown, by the time of the file or
else of adding. --group-by prints numbers of images instead.

  imagefinder list --sort taken --reverse
  imagefinder list --group-by month
  imagefinder list --json
  imagefinder list --removed"""

_PAGE = 1000


def list_images(  # noqa: PLR0917 # wide: the options of the command
    context: typer.Context,
    removed: Annotated[
        bool, typer.Option("--removed", help="List the images that were removed and that add skips.")
    ] = False,
    sort: Annotated[
        Sort,
        typer.Option(
            "--sort",
            metavar="PROPERTY",
            help=f"Property to sort by: {', '.join(SORTS)}.",
            autocompletion=lambda: list(SORTS),
        ),
    ] = "id",
    reverse: Annotated[bool, typer.Option("--reverse", help="Largest or newest first.")] = False,
    group_by: Annotated[
        GroupBy | None,
        typer.Option(
            "--group-by",
            metavar="PROPERTY",
            help=f"Print the number of images for each value of a property: {', '.join(GROUPS)}.",
            show_default=False,
            autocompletion=lambda: list(GROUPS),
        ),
    ] = None,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print all image records, their groups, or all removals."""
    with open_collection(context, collection) as opened:
        if removed:
            _print_removals(opened.removals(), as_json=as_json)
            return
        if group_by is not None:
            _print_groups(opened.groups(group_by), group_by, reverse=reverse, as_json=as_json)
            return
        _print_images(list(_all(opened, Order(sort, reverse))), as_json=as_json)


def _print_images(records: Sequence[ImageRecord], *, as_json: bool) -> None:
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


def _print_groups(groups: Sequence[Group], by: GroupBy, *, reverse: bool, as_json: bool) -> None:
    shown = list(reversed(groups)) if reverse else groups
    if as_json:
        output.document([{"value": group.value, "images": group.images} for group in shown])
    else:
        output.table((by, ">images"), [(group.value or "-", str(group.images)) for group in shown])


def _all(opened: Collection, order: Order) -> Iterator[ImageRecord]:
    after = None
    while page := opened.listing(order=order, after=after, limit=_PAGE):
        yield from page
        after = order.position(page[-1])

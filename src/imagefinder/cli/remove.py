"""``imagefinder remove``: take images out of a collection."""

from __future__ import annotations

from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, open_collection

HELP = """Remove pictures from the collection by their ids. The picture files themselves are not touched.

  imagefinder remove holiday/beach.jpg
  imagefinder remove 17 18 19 --json

Exit codes: 0 all were removed; 1 some ids were not there."""


def remove(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of pictures.", show_default=False)],
    *,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Remove, and name the ids that were not there."""
    with open_collection(context, collection) as opened:
        there = opened.status(ids)
        unknown = [image_id for image_id in dict.fromkeys(ids) if image_id not in there]
        removed = opened.remove(ids)
    if as_json:
        output.document({"removed": removed, "unknown": unknown})
    else:
        output.line(f"{output.plural(removed, 'image')} removed")
        for image_id in unknown:
            output.note(f"not in this collection: {image_id}")
    return UNFINISHED if unknown else OK

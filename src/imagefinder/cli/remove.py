"""``imagefinder remove``: remove images from a collection."""

from __future__ import annotations

import itertools
from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, id_argument, open_collection
from imagefinder.cli.session import ids as known_ids
from imagefinder.core.suggestions import did_you_mean

HELP = """Remove images from the collection. The files stay on disk.

  imagefinder remove holiday/beach.jpg
  imagefinder remove 17 18 19 --json

Exit codes: 0 all images removed; 1 some ids are not in the collection."""


_SUGGESTED = 3  # unknown ids for which similar ones are looked for


def remove(
    context: typer.Context,
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID", help="Id of an image in the collection; repeatable.", show_default=False),
    ],
    *,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Remove the images and report unknown ids."""
    ids = list(map(id_argument, ids))
    with open_collection(context, collection) as opened:
        stored = opened.status(ids)
        unknown = [image_id for image_id in dict.fromkeys(ids) if image_id not in stored]
        removed = opened.remove(ids)
        hints = [did_you_mean(image_id, known_ids(opened)) for image_id in unknown[:_SUGGESTED]]
    if as_json:
        output.document({"removed": removed, "unknown": unknown})
    else:
        output.line(f"removed {output.plural(removed, 'image')}")
        for image_id, hint in itertools.zip_longest(unknown, hints, fillvalue=""):
            output.note(f"not in the collection: {image_id}" + (f" ({hint})" if hint else ""))
    return UNFINISHED if unknown else OK

"""``imagefinder remove``: remove images from a collection."""

from __future__ import annotations

import itertools
from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, id_argument, open_collection
from imagefinder.cli.session import ids as known_ids
from imagefinder.core.suggestions import did_you_mean

HELP = """\
The collection remembers the removal: later runs of add skip these images. imagefinder list --removed lists them;
--undo takes removals back, so that the next add adds the images again. --forget removes images without
remembering it.

Features, thumbnails and metadata are overwritten in the database. Backups keep them.

  imagefinder remove holiday/beach.jpg
  imagefinder remove 17 18 19 --json
  imagefinder remove --undo holiday/beach.jpg

Exit codes: 0 all images removed; 1 some ids are not in the collection or, with --undo, were not removed."""


_SUGGESTED = 3  # unknown ids for which similar ones are looked for


def remove(
    context: typer.Context,
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID", help="Id of an image in the collection; repeatable.", show_default=False),
    ],
    *,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the removal of these images back; the next add adds them again.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Do not remember the removal; the next add adds the images again.")
    ] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Remove the images, or take removals back, and report unknown ids."""
    if undo and forget:
        raise typer.BadParameter("give either --undo or --forget")
    ids = list(map(id_argument, ids))
    with open_collection(context, collection) as opened:
        if undo:
            unknown = [image_id for image_id in dict.fromkeys(ids) if not opened.forget_removals([image_id])]
            changed = len(dict.fromkeys(ids)) - len(unknown)
            removed = [one.id for one in opened.removals()] if unknown else []
            hints = [did_you_mean(image_id, removed) for image_id in unknown[:_SUGGESTED]]
        else:
            names = {image_id: opened.resolve(image_id) for image_id in ids}
            stored = opened.status(list(names.values()))
            unknown = [image_id for image_id, name in names.items() if name not in stored]
            changed = opened.remove(ids, remember=not forget)
            hints = [did_you_mean(image_id, known_ids(opened)) for image_id in unknown[:_SUGGESTED]]
    if as_json:
        output.document({"undone" if undo else "removed": changed, "unknown": unknown})
    else:
        done = f"took the removal of {output.plural(changed, 'image')} back"
        again = "; the next add of their source adds them" if changed else ""
        output.line(done + again if undo else f"removed {output.plural(changed, 'image')}")
        reason = "was not removed" if undo else "not in the collection"
        for image_id, hint in itertools.zip_longest(unknown, hints, fillvalue=""):
            output.note(f"{reason}: {image_id}" + (f" ({hint})" if hint else ""))
    return UNFINISHED if unknown else OK

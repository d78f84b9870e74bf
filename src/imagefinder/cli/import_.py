"""``imagefinder import``: take over features from ``.npy`` files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import add, output
from imagefinder.cli.session import (
    INTERRUPTED,
    OK,
    UNFINISHED,
    CollectionOption,
    JsonOption,
    open_collection,
    stop_on_signal,
)
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.fingerprint import Fingerprint

HELP = """Take over features from a folder of .npy files, as the original program kept them.

FOLDER holds dataset.csv (columns url and id) and features/sift, features/resnet_50, features/microsoft_beit
with one file per image, named by its id. Images that the collection has already get the features in addition.

Nothing in such a folder says how its features were made, so they are not compared with pictures (search --id
works). With --ours you give your word that they were made by this imagefinder with the present settings and
weights, as those of imagefinder export are; then they count as its own.

  imagefinder import old-project -c old.collection
  imagefinder import exported --ours

Exit codes: 0 all is in; 1 some files could not be used; 130 interrupted."""


def import_features(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What to read.", show_default=False)],
    *,
    ours: Annotated[
        bool, typer.Option("--ours", help="The features were made by this imagefinder with the present settings.")
    ] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Import, and tell what was done."""
    with open_collection(context, collection, create=True) as opened:
        fingerprints = _fingerprints(opened, folder) if ours else None
        with stop_on_signal() as stop, output.progress_bar("importing") as progress:
            report = opened.import_features(folder, fingerprints=fingerprints, progress=progress, stop=stop)
        place = str(opened.settings.collection)
    if as_json:
        output.document({"collection": place, **to_json(report)})
    else:
        add.tell(report, place, all_failures="the same command with --json")
    if report.interrupted:
        return INTERRUPTED
    return UNFINISHED if report.failures else OK


def _fingerprints(opened: Collection, folder: Path) -> dict[str, Fingerprint]:
    from imagefinder.indexing.npy_layout import FEATURES_NAME, METHODS  # noqa: PLC0415 - a quick start

    return {
        method.name: opened.method(method.name).extractor.fingerprint()
        for method in METHODS
        if (folder / FEATURES_NAME / method.folder).is_dir()
    }

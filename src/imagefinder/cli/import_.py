"""``imagefinder import``: read features from ``.npy`` files."""

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
from imagefinder.core.location import shown
from imagefinder.core.method import with_colours
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.fingerprint import Fingerprint

HELP = """\
FOLDER has the layout of the original program: dataset.csv (columns url and id) and the subfolders features/sift,
features/resnet_50 and features/microsoft_beit, with one file per image, named by its id. Images that the
collection already has gain the additional features.

The files do not record how their features were made, so a search with an image file refuses them; search --id
works. --compatible asserts that this imagefinder made them with its current settings and weights, as in the output
of imagefinder export. They are then treated like its own.

  imagefinder import old-project -c old.collection
  imagefinder import exported --compatible

Exit codes: 0 all features imported; 1 some files could not be used; 130 interrupted."""


def import_features(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to import.", show_default=False)],
    *,
    compatible: Annotated[
        bool, typer.Option("--compatible", help="Assert that the features match the current settings and weights.")
    ] = False,
    ours: Annotated[bool, typer.Option("--ours", hidden=True)] = False,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Import the features and report the result."""
    if ours:
        output.note("warning: --ours is deprecated; use --compatible")
    with open_collection(context, collection, create=True) as opened:
        fingerprints = _fingerprints(opened, folder) if compatible or ours else None
        with stop_on_signal() as stop, output.progress_bar("importing") as progress:
            report = opened.import_features(folder, fingerprints=fingerprints, progress=progress, stop=stop)
        location = shown(opened.settings.collection)
    if as_json:
        output.document({"collection": location, **to_json(report)})
    else:
        add.print_report(report, location, all_failures="imagefinder import FOLDER --json")
    if report.interrupted:
        return INTERRUPTED
    return UNFINISHED if report.failures else OK


def _fingerprints(opened: Collection, folder: Path) -> dict[str, Fingerprint]:
    from imagefinder.indexing.npy_layout import FEATURES_NAME, METHODS  # noqa: PLC0415 - fast start

    present = [method.name for method in METHODS if (folder / FEATURES_NAME / method.folder).is_dir()]
    methods = [opened.method(name) for name in present]
    if not opened.info().images:  # the original program ignored ICC profiles
        methods = [with_colours(method, "file") for method in methods]
    return {method.name: method.extractor.fingerprint() for method in methods}

"""``imagefinder copy``: copy a collection to another folder or into a database, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import INTERRUPTED, OK, UNFINISHED, JsonOption, open_collection, stop_on_signal
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.collection.copying import CopyReport

HELP = """\
FROM and TO are folders or URLs. The copy has all images with features, thumbnails, metadata and times, the
recorded failures and removals, and the calibration. ANN indexes and duplicate reports are not copied: build-index
and duplicates compute them again. API keys and jobs belong to the service and are not copied either.

FROM is not changed, and may be searched and added to meanwhile: what is added is copied as well. At the end,
counts and checksums of both collections are compared.

TO must be empty. --resume continues an interrupted copy, or brings a finished copy up to date: images that are the
same are not copied again, and images that FROM no longer has are removed from TO. It refuses a TO that was changed
since it was copied.

  imagefinder copy photos.collection postgresql://finder@db.example/photos/main
  imagefinder copy photos.collection /mnt/disk/photos.collection --resume

Exit codes: 0 copied, and both collections are equal; 1 they differ; 130 interrupted."""

_STAGES = {"copy": "copying", "verify": "comparing"}


def copy(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="Collection to copy: folder or URL.", show_default=False)
    ],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="Where to copy it to: folder or URL.", show_default=False)
    ],
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted copy, or update a finished one.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Copy the collection, compare both, and report the result."""
    with (
        open_collection(context, source) as original,
        open_collection(context, target, create=True) as copied,
        stop_on_signal() as stop,
        output.stage_bar(_STAGES) as progress,
    ):
        report = original.copy_to(copied, resume=resume, progress=progress, stop=stop)
    if as_json:
        output.document(to_json(report))
    else:
        _print(report)
    if report.interrupted:
        return INTERRUPTED
    return OK if report.verified else UNFINISHED


def _print(report: CopyReport) -> None:
    images = output.plural(report.copied, "image")
    output.line(f"copied {images} to {report.target} in {output.duration(report.seconds)}")
    rest = {"unchanged": report.unchanged, "removed": report.removed}
    if any(rest.values()):
        output.line(", ".join(f"{word} {count}" for word, count in rest.items() if count))
    for problem in report.problems:
        output.note(problem)
    if report.interrupted:
        output.note("interrupted; continue with the same command and --resume")
    elif report.verified:
        counts = [(report.images, "image"), (report.failures, "failure"), (report.removals, "removal")]
        equal = ", ".join(output.plural(count, noun) for count, noun in counts)
        output.line(f"verified, counts and checksums are equal: {equal}")
    else:
        output.note("not verified: the copy differs from the original")

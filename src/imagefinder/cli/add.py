"""``imagefinder add``: add images to a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output, queued
from imagefinder.cli.session import (
    FAILED_BEFORE,
    INPUT,
    INTERRUPTED,
    OK,
    UNFINISHED,
    CollectionOption,
    JsonOption,
    MethodsOption,
    open_collection,
    stop_on_signal,
)
from imagefinder.core.location import shown
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.indexing.progress import AddReport

HELP = """\
A SOURCE is an image, a folder (including subfolders), an archive (zip, tar), a list (.csv, .tsv, .jsonl or
.ndjson with the columns url and id) or a URL. The id of an image is its path inside the source, or the id given
in the list.

Adding a source again skips unchanged images, replaces changed ones and retries failed ones. Ctrl-C stops cleanly:
completed work is saved, and the next run continues from there.

With --queue, imagefinder work and the servers of the database add the images, and this command shows the progress.
A SOURCE must then be one that every worker can read: URLs, a list of URLs, or a folder that is mounted under the
same path everywhere and is in the setting job_roots of this command and of the workers. Workers download only from
public addresses, unless their setting fetch_private is true. Ctrl-C stops watching; the work goes on.

With --ray, the machines of a Ray cluster are the workers. They need this version of imagefinder, the weights, and
access to the database and the sources. If the command is stopped, the same command or a worker continues the job.

A renamed or moved file keeps its features and metadata. Images that were removed from the collection are skipped.

  imagefinder add ~/Pictures
  imagefinder add photos.zip dataset.csv -m sift -m efficientnet-lite0
  imagefinder add ~/Pictures --prune
  imagefinder add ~/Pictures --verify-content
  imagefinder -c shop.collection add feed.jsonl --json
  imagefinder -c postgresql://db.example/imagefinder/shop add feed.jsonl --queue

Exit codes: 0 all images added; 1 some images failed; 3 all images failed; 6 some images failed, all of them for
the same reason as in an earlier run; 130 interrupted."""

_FAILURES_SHOWN = 10


# wide: a parameter for each option of the command, as typer declares them.
def add(  # long: mostly the declarations of its options, as typer reads them.
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="Image, folder, archive, list or URL to add.", show_default=False),
    ],
    *,
    methods: MethodsOption = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove images that no longer exist in these sources.")
    ] = False,
    force_prune: Annotated[
        bool,
        typer.Option("--force-prune", help="Like --prune, also if a whole folder of a source has vanished."),
    ] = False,
    verify_content: Annotated[
        bool,
        typer.Option(
            "--verify-content",
            help="Read every image again, also those whose size, times and inode show no change.",
        ),
    ] = False,
    include_removed: Annotated[
        bool, typer.Option("--include-removed", help="Also add images that were removed from the collection.")
    ] = False,
    zip_encoding: Annotated[
        str | None,
        typer.Option(
            "--zip-encoding",
            metavar="NAME",
            help="Encoding of names in zip archives that are not marked as UTF-8, such as cp932, gbk or cp866. "
            "Default: the setting zip_encoding.",
            show_default=False,
        ),
    ] = None,
    pages: Annotated[
        int | None,
        typer.Option(
            "--pages",
            metavar="N",
            help="Pages of a TIFF file to add, as FILE#page=2 and so on. Default: the setting max_pages.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames",
            metavar="N",
            help="Frames of an animation to add, evenly spread. Default: the setting animation_frames.",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        bool,
        typer.Option(
            "--queue", help="Leave the work to imagefinder work and the servers of the database of the collection."
        ),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Like --queue, on the machines of a Ray cluster: HOST:6379, auto, or ray://HOST:10001.",
            show_default=False,
        ),
    ] = None,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Add images and report the result."""
    changes = {"zip_encoding": zip_encoding, "max_pages": pages, "animation_frames": frames}
    if queue or ray is not None:
        options = {
            "methods": methods,
            "prune": prune,
            "force_prune": force_prune,
            "verify_content": verify_content,
            "include_removed": include_removed,
        }
        return queued.add(context, sources, options, collection, changes, as_json=as_json, ray=ray)
    with open_collection(context, collection, create=True, **changes) as opened:
        with stop_on_signal() as stop, output.progress_bar("adding") as progress:
            report = opened.add(
                *sources,
                methods=methods,
                prune=prune,
                force_prune=force_prune,
                verify_content=verify_content,
                include_removed=include_removed,
                progress=progress,
                stop=stop,
            )
        changed = report.added or report.replaced or report.removed
        if changed and not report.interrupted and opened.is_large():
            labels = {name: f"indexing {name}" for name in opened.info().methods}
            with output.stage_bar(labels) as indexing:
                opened.rebuild_index(indexing, rebuild=False)
        location = shown(opened.settings.collection)
    if as_json:
        output.document({"collection": location, **to_json(report)})
    else:
        print_report(report, location)
    return exit_code(report)


def exit_code(report: AddReport) -> int:
    """Exit code of a run, by its result."""
    if report.interrupted:
        return INTERRUPTED
    if not report.failures:
        return OK
    if not report.added + report.replaced + report.unchanged + report.moved:
        return INPUT
    return FAILED_BEFORE if report.failed_before == report.failed else UNFINISHED


def print_report(report: AddReport, location: str, *, all_failures: str = "imagefinder info --failures") -> None:
    """Print the result of a run as text.

    Args:
        report: Result of the run.
        location: Folder of the collection.
        all_failures: Command that lists every failure; printed when the table is cut short.
    """
    done = report.added + report.replaced
    rate = f" ({done / report.seconds:.1f} images/s)" if done and report.seconds > 0 else ""
    before = f" ({report.failed_before} as before)" if report.failed_before else ""
    output.line(
        f"{report.added} added, {report.replaced} replaced, {report.unchanged} unchanged, "
        f"{report.removed} removed, {report.failed} failed{before} in {output.duration(report.seconds)}{rate}"
    )
    if report.refreshed:
        output.line(f"file metadata of {output.plural(report.refreshed, 'unchanged image')} read again")
    if report.stacked:
        output.line(
            f"in stacks: {output.plural(report.stacked, 'further version')} of pictures "
            "(raw and JPEG, edited copies, bursts)"
        )
    if report.moved:
        output.line(f"{output.plural(report.moved, 'image')} moved or renamed: features and metadata kept")
    if report.excluded:
        output.line(
            f"skipped {output.plural(report.excluded, 'removed image')}; "
            "to list them: imagefinder list --removed; to add them again: --include-removed"
        )
    output.line(f"collection: {location} (methods: {', '.join(report.methods)})")
    if report.skipped:
        output.line(f"skipped {output.plural(report.skipped, 'non-image file')}")
    if report.failures:
        shown = report.failures[:_FAILURES_SHOWN]
        output.line()
        output.table(
            ("failed image", "error", "message"),
            [(failure.id, failure.code, failure.message) for failure in shown],
            prose=("message",),
        )
        rest = len(report.failures) - len(shown)
        if rest:
            output.line(f"{rest} more not shown; list all with: {all_failures}")
    for note in report.notes:
        output.note(note)
    if report.interrupted:
        output.note("interrupted: completed work is saved; run the same command again to continue")

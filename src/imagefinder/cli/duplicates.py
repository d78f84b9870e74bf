"""``imagefinder duplicates``: which of my pictures do I have more than once?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, open_collection, open_page
from imagefinder.core.results import DuplicateKind
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.results import DuplicateGroup, DuplicatePair, DuplicateReport

HELP = """Find the pictures of the collection that are there more than once.

Groups are identical pictures (the same bytes, or the same pixels), edited copies (other size, encoding, colours,
mirrored, turned, written upon), and overlapping pictures (parts of one another, or the same scene). Of identical
pictures and copies the one with the most pixels is proposed to be kept, of equal ones that with the larger file,
of these the one with the shortest id. Nothing is ever deleted: look at the page that --show writes, then decide.

  imagefinder duplicates
  imagefinder duplicates --kind identical --kind "edited copies" --show
  imagefinder duplicates --limit 20 --json

Exit codes: 0 there are duplicates; 1 there are none."""

_STAGES = {"read": "looking for identical ones", "propose": "proposing pairs", "verify": "verifying pairs"}


# wide: a parameter for each option of the command, as typer declares them.
def duplicates(
    context: typer.Context,
    *,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="NAME",
            help="Only this kind of group: identical, edited copies, or overlapping; may be given several times.",
            autocompletion=lambda: list(get_args(DuplicateKind)),
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Tell at most so many groups.", show_default=False),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="Write a page that shows the groups, and open it where there is a desktop."),
    ] = False,
    page: Annotated[Path, typer.Option("--page", metavar="FILE", help="Where --show writes that page.")] = Path(
        "imagefinder-duplicates.html"
    ),
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Find duplicates, and print or show the groups."""
    unknown = set(kinds or ()) - set(get_args(DuplicateKind))
    if unknown:
        raise typer.BadParameter(f"no kind {min(unknown)!r}: {', '.join(get_args(DuplicateKind))}")
    with open_collection(context, collection) as opened:
        with output.stage_bar(_STAGES) as progress:
            report = opened.duplicates(progress=progress)
        wanted = [group for group in report.groups if not kinds or group.kind in kinds]
        told = wanted[:limit]
        if as_json:
            _document(opened, report, told, len(wanted), page if show else None)
        else:
            _tell(opened, report, told, len(wanted))
        if show:
            _write_page(opened, report, told, len(wanted), page)
            if not as_json:
                output.line(f"shown in: {page}")
    if show and not as_json:
        open_page(page)
    return OK if wanted else UNFINISHED


def _tell(opened: Collection, report: DuplicateReport, groups: list[DuplicateGroup], found: int) -> None:
    if groups:
        rows = [row for number, group in enumerate(groups, 1) for row in _rows(opened, number, group)]
        output.table((">group", "kind", "keep", "id", ">pixels", ">size", "relation", ">agreement"), rows)
        output.line()
    else:
        output.line("no duplicates")
    output.line(summary(report, found) + (f", {len(groups)} of them told" if len(groups) < found else ""))
    if groups:
        output.line("Nothing was deleted. Look at the groups (--show) before you do it.", style="dim")


def summary(report: DuplicateReport, found: int) -> str:
    """One line about the whole."""
    return (
        f"{output.plural(found, 'group')} among {output.plural(report.images, 'image')}, "
        f"{output.plural(report.verified, 'pair')} verified in {output.duration(report.timings['total'])}"
    )


def spare(group: DuplicateGroup) -> tuple[str, ...]:
    """The ids that need not be kept; none of overlapping pictures."""
    return () if group.kind == "overlapping" else group.ids[1:]


def relation(group: DuplicateGroup, image_id: str) -> tuple[str, str]:
    """What a picture is to the best or another one of its group, and how far they agree; empty for the best."""
    pairs = [pair for pair in group.pairs if pair.a == image_id]
    pair = next((pair for pair in pairs if pair.b == group.ids[0]), pairs[0] if pairs else None)
    if pair is None:
        return "", ""
    mirrored = ", mirrored" if pair.evidence and pair.evidence.mirrored else ""
    agreement = "" if pair.agreement is None else f"{pair.agreement:.0%}"
    return f"{pair.relation}{_other(group, pair)}{mirrored}", agreement


def _other(group: DuplicateGroup, pair: DuplicatePair) -> str:
    if group.kind != "overlapping":
        return ""
    return f" {pair.b}" if pair.relation in ("part of", "contains") else f": {pair.b}"


def _rows(opened: Collection, number: int, group: DuplicateGroup) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for image_id in group.ids:
        record = opened.get(image_id)
        kept = "" if group.kind == "overlapping" else "yes" if image_id == group.ids[0] else "no"
        rows.append(
            (
                str(number),
                group.kind,
                kept,
                image_id,
                f"{record.width} x {record.height}" if record.width else "",
                output.size(record.size_bytes) if record.size_bytes else "",
                *relation(group, image_id),
            )
        )
    return rows


def _document(
    opened: Collection, report: DuplicateReport, groups: list[DuplicateGroup], found: int, page: Path | None
) -> None:
    answer: dict[str, Any] = to_json(report) | {"found": found, "groups": []}
    for group in groups:
        records = [opened.get(image_id) for image_id in group.ids]
        answer["groups"].append(
            to_json(group)
            | {
                "spare": list(spare(group)),
                "images": [
                    {
                        "id": record.id,
                        "uri": record.uri,
                        "width": record.width,
                        "height": record.height,
                        "bytes": record.size_bytes,
                    }
                    for record in records
                ],
            }
        )
    if page is not None:
        answer["page"] = str(page)
    output.document(answer)


def _write_page(
    opened: Collection, report: DuplicateReport, groups: list[DuplicateGroup], found: int, page: Path
) -> None:
    from imagefinder.cli import duplicate_sheet  # noqa: PLC0415 - only for --show

    page.write_text(
        duplicate_sheet.render(
            [
                duplicate_sheet.Group(
                    group,
                    {image_id: opened.get(image_id) for image_id in group.ids},
                    {image_id: relation(group, image_id) for image_id in group.ids},
                )
                for group in groups
            ],
            opened.thumbnail,
            subtitle=summary(report, found),
        ),
        encoding="utf-8",
    )

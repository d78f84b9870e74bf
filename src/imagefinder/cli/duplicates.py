"""``imagefinder duplicates``: find duplicate and overlapping images."""

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

HELP = """Find duplicate images within the collection.

There are three kinds of groups: identical images (same bytes or same pixels), edited copies (resized, re-encoded,
recoloured, mirrored, rotated, with added text), and overlapping images (parts of each other, or the same scene).
Groups of the first two kinds suggest which image to keep: the one with the most pixels, then the largest file,
then the shortest id. Nothing is ever deleted: review the page that --show writes, then decide.

  imagefinder duplicates
  imagefinder duplicates --kind identical --kind "edited copies" --show
  imagefinder duplicates --limit 20 --json

Exit codes: 0 duplicates found; 1 no duplicates."""

_STAGES = {"read": "finding identical images", "propose": "finding candidate pairs", "verify": "verifying pairs"}
_PREPOSITIONS = {"same scene": " as", "similar": " to", "identical": " to", "edited copy": " of"}
"""Joins a relation to the image it refers to; "part of" and "contains" need none."""


# wide: a parameter for each option of the command, as typer declares them.
def duplicates(
    context: typer.Context,
    *,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="NAME",
            help="Only groups of this kind: identical, edited copies, or overlapping; repeatable.",
            autocompletion=lambda: list(get_args(DuplicateKind)),
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, help="Maximum number of groups to report.", show_default=False
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Write an HTML page of the groups; open it if there is a desktop.")
    ] = False,
    page: Annotated[Path, typer.Option("--page", metavar="FILE", help="Page that --show writes.")] = Path(
        "imagefinder-duplicates.html"
    ),
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Find duplicates, and print or show the groups."""
    unknown = set(kinds or ()) - set(get_args(DuplicateKind))
    if unknown:
        raise typer.BadParameter(f"unknown kind {min(unknown)!r}: use {', '.join(get_args(DuplicateKind))}")
    with open_collection(context, collection) as opened:
        with output.stage_bar(_STAGES) as progress:
            report = opened.duplicates(progress=progress)
        found = [group for group in report.groups if not kinds or group.kind in kinds]
        shown = found[:limit]
        if as_json:
            _document(opened, report, shown, len(found), page if show else None)
        else:
            _print(opened, report, shown, len(found))
        if show:
            _write_page(opened, report, shown, len(found), page)
            if not as_json:
                output.line(f"page: {page}")
    if show and not as_json:
        open_page(page)
    return OK if found else UNFINISHED


def _print(opened: Collection, report: DuplicateReport, groups: list[DuplicateGroup], found: int) -> None:
    if groups:
        rows = [row for number, group in enumerate(groups, 1) for row in _rows(opened, number, group)]
        output.table(
            (">group", "kind", "keep", "id", ">dimensions", ">size", "relation", ">agreement"),
            rows,
        )
        output.line()
    else:
        output.line("no duplicates")
    output.line(summary(report, found) + (f" (first {len(groups)} shown)" if len(groups) < found else ""))
    if groups:
        output.line("No file was deleted. Review the groups with --show before you delete any.", style="dim")


def summary(report: DuplicateReport, found: int) -> str:
    """One line about the whole report.

    Args:
        report: The report.
        found: Number of groups of the requested kinds.
    """
    return (
        f"{output.plural(found, 'group')} in {output.plural(report.images, 'image')}, "
        f"{output.plural(report.verified, 'pair')} verified in {output.duration(report.timings['total'])}"
    )


def spare(group: DuplicateGroup) -> tuple[str, ...]:
    """Ids of the redundant images of a group; empty for overlapping images, which are all worth keeping."""
    return () if group.kind == "overlapping" else group.ids[1:]


def relation(group: DuplicateGroup, image_id: str) -> tuple[str, str]:
    """Relation and agreement of an image to the best one of its group, or else to another one, as text.

    Both are empty for the best image itself.
    """
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
    preposition = _PREPOSITIONS.get(pair.relation, "")
    return f"{preposition} {pair.b}"


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
                duplicate_sheet.SheetGroup(
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

"""``imagefinder duplicates``: find duplicate and overlapping images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args

import typer

from imagefinder.cli import output
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, open_collection, open_page
from imagefinder.core.results import DuplicateKind
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.records import ImageRecord
    from imagefinder.core.results import DuplicateGroup, DuplicatePair, DuplicateReport
    from imagefinder.dedup.moving import MoveReport

HELP = """\
There are three kinds of groups: identical images (same bytes, or same pixels in all frames and in full depth),
edited copies (resized, re-encoded, recoloured, mirrored, rotated, with added text), and overlapping images (parts
of each other, the same scene, or documents of the same layout). In groups of the first two kinds, the best file is
kept: most pixels, then a lossless format, the right extension, the largest file, the shortest id.

A file is spare only if it and the one to keep are on disk, unchanged and distinct. Links, images in archives,
camera raw files and Live Photos are never spare. Nothing is deleted. --move-to moves the spare files to a folder,
after checking each of them again.

  imagefinder duplicates
  imagefinder duplicates --kind identical --kind "edited copies" --show
  imagefinder duplicates --kind identical --move-to ~/spare
  imagefinder duplicates --limit 20 --json

Exit codes: 0 duplicates found; 1 no duplicates, or a file could not be moved."""

_STAGES = {
    "read": "finding identical images",
    "propose": "finding candidate pairs",
    "verify": "verifying pairs",
} | {"check": "checking files"}
_PREPOSITIONS = {
    "same scene": " as",
    "same layout": " as",
    "similar": " to",
    "identical": " to",
    "edited copy": " of",
}
"""Joins a relation to the image it refers to; "part of" and "contains" need none."""


MoveOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--move-to",
        metavar="FOLDER",
        help="Move the spare files of the reported groups to this folder; needs --kind.",
        show_default=False,
    ),
]


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
    move_to: MoveOption = None,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Find duplicates, print or show the groups, and move the spare files."""
    unknown = set(kinds or ()) - set(get_args(DuplicateKind))
    if unknown:
        raise typer.BadParameter(f"unknown kind {min(unknown)!r}: use {', '.join(get_args(DuplicateKind))}")
    if move_to is not None and not kinds:
        raise typer.BadParameter("--move-to needs --kind: say which groups, for example --kind identical")
    moves = None
    with open_collection(context, collection) as opened:
        with output.stage_bar(_STAGES) as progress:
            report = opened.duplicates(kinds=_wanted(kinds), progress=progress)
        found = len(report.groups)
        shown = report.groups[:limit]
        if show:
            _write_page(opened, report, shown, found, page)
        if move_to is not None:
            from imagefinder.dedup.moving import move_spare  # noqa: PLC0415 - fast start

            moves = move_spare(shown, report.states, opened.get, move_to)
        if as_json:
            _document(opened, report, shown, {"page": str(page)} if show else {}, moves)
        else:
            _print(opened, report, shown)
            _print_moves(moves, move_to)
            if show:
                output.line(f"page: {page}")
    if show and not as_json:
        open_page(page)
    return OK if found and not (moves and moves.kept_back) else UNFINISHED


def _wanted(kinds: Sequence[str] | None) -> list[DuplicateKind] | None:
    return [kind for kind in get_args(DuplicateKind) if kind in kinds] if kinds else None


def _print(opened: Collection, report: DuplicateReport, groups: Sequence[DuplicateGroup]) -> None:
    for number, group in enumerate(groups, 1):
        output.line(f"group {number}: {group.kind}", style="bold")
        for image_id in group.ids:
            output.line(_described(opened.get(image_id), group))
        output.line()
    found = len(report.groups)
    if not found:
        output.line("no duplicates")
    output.line(summary(report, found) + (f" (first {len(groups)} shown)" if len(groups) < found else ""))


def _print_moves(moves: MoveReport | None, folder: Path | None) -> None:
    if moves is None:
        output.line("No file was deleted. Review the groups with --show before you delete any.", style="dim")
        return
    from imagefinder.dedup.moving import LOG  # noqa: PLC0415 - fast start

    output.line(f"{output.plural(len(moves.moved), 'file')} moved to {folder}; {LOG} there lists them")
    for image_id, reason in moves.kept_back.items():
        output.line(f"not moved: {image_id}: {reason}")


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


def role(group: DuplicateGroup, image_id: str) -> str:
    """The proposal for an image of a group: ``keep``, ``spare``, or nothing (``stays``)."""
    if image_id in group.spare:
        return "spare"
    return "keep" if group.spare and image_id == group.ids[0] else "stays"


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
    note = f" ({pair.note})" if pair.note else ""
    return f"{pair.relation}{_other(group, pair)}{mirrored}{note}", agreement


def _other(group: DuplicateGroup, pair: DuplicatePair) -> str:
    if group.kind != "overlapping":
        return ""
    preposition = _PREPOSITIONS.get(pair.relation, "")
    return f"{preposition} {pair.b}"


def _described(record: ImageRecord, group: DuplicateGroup) -> str:
    """One line about an image of a group."""
    dimensions = [f"{record.width} x {record.height}"] if record.width else []
    details = ", ".join([*dimensions, *([output.size(record.size_bytes)] if record.size_bytes else [])])
    how, agreement = relation(group, record.id)
    more = [*([how] if how else []), *([f"agreement {agreement}"] if agreement else [])]
    more += [reason] if (reason := group.reasons.get(record.id, "")) else []
    line = f"  {role(group, record.id):<5}  {record.id}" + (f" ({details})" if details else "")
    return f"{line}: {'; '.join(more)}" if more else line


def _document(
    opened: Collection,
    report: DuplicateReport,
    groups: Sequence[DuplicateGroup],
    more: Mapping[str, Any],
    moves: MoveReport | None,
) -> None:
    answer: dict[str, Any] = to_json(report) | {"found": len(report.groups), "groups": [], **more}
    for group in groups:
        images = [
            {
                "id": record.id,
                "uri": record.uri,
                "width": record.width,
                "height": record.height,
                "bytes": record.size_bytes,
            }
            for record in map(opened.get, group.ids)
        ]
        answer["groups"].append(to_json(group) | {"images": images})
    if moves is not None:
        answer |= to_json(moves)
    output.document(answer)


def _write_page(
    opened: Collection, report: DuplicateReport, groups: Sequence[DuplicateGroup], found: int, page: Path
) -> None:
    from imagefinder.cli import duplicate_sheet  # noqa: PLC0415 - only for --show

    page.write_text(
        duplicate_sheet.render(
            [
                duplicate_sheet.SheetGroup(
                    group,
                    {image_id: opened.get(image_id) for image_id in group.ids},
                    {image_id: relation(group, image_id) for image_id in group.ids},
                    {image_id: role(group, image_id) for image_id in group.ids},
                )
                for group in groups
            ],
            opened.thumbnail,
            subtitle=summary(report, found),
        ),
        encoding="utf-8",
    )

"""``imagefinder explain``: why this one?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import (
    OK,
    UNFINISHED,
    AnyMethodOption,
    BoxOption,
    CollectionOption,
    JsonOption,
    MirrorOption,
    boxes,
    open_collection,
    picture,
)
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.core.results import Explanation

HELP = """Show what a picture and one of the collection have in common.

Matches that agree on one geometry are evidence that both show the same thing; matches without one are chance. The
picture that is written has both side by side with the agreeing matches as lines, and below them one laid on the
other. For a method that gives a cosine it shows which parts of both pictures contributed to it.

  imagefinder explain photo.jpg holiday/beach.jpg -o why.png
  imagefinder explain photo.jpg holiday/beach.jpg -o why.png --method efficientnet-lite0
  imagefinder explain photo.jpg holiday/beach.jpg --mirror --json

Exit codes: 0 something speaks for it (a geometry, or a heat map and an E-value of at most 1); 1 nothing does."""


# wide: a parameter for each option of the command, as typer declares them.
def explain(
    context: typer.Context,
    query: Annotated[
        str, typer.Argument(metavar="PICTURE", help="File, URL, or - for standard input.", show_default=False)
    ],
    image_id: Annotated[
        str, typer.Argument(metavar="ID", help="Of a picture of the collection.", show_default=False)
    ],
    *,
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write a PNG that shows it.", show_default=False),
    ] = None,
    mirror: MirrorOption = True,
    box: BoxOption = None,
    method: AnyMethodOption = "auto",
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Explain, and print or draw it."""
    with open_collection(context, collection) as opened:
        asked = picture(query, opened.settings)
        # Read once, for the comparison and for the drawing.
        data = asked if isinstance(asked, bytes) else opened.read(asked)
        result = opened.explain(data, image_id, method=method, mirror=mirror, boxes=boxes(box))
        if target is not None:
            target.write_bytes(opened.draw(result, data))
    found = result.evidence
    if as_json:
        output.document(to_json(result) | ({"picture": str(target)} if target else {}))
    else:
        _tell(result)
        if target is not None:
            output.line(f"shown in: {target}")
    return OK if found or (result.query_heat and result.decision != "none") else UNFINISHED


def _tell(result: Explanation) -> None:
    found = result.evidence
    if found:
        mirrored = ", mirrored" if found.mirrored else ""
        model = "affine map" if found.model == "affine" else found.model
        output.line(
            f"{found.inliers} of {output.plural(found.matches, 'match', 'matches')} agree on one {model}{mirrored}"
        )
        output.line(f"{found.query_overlap:.0%} of the query is in {result.id}")
        output.line(f"{found.candidate_overlap:.0%} of {result.id} is in the query")
    elif result.matches or not result.query_heat:
        output.line(f"no common geometry: {output.plural(result.matches, 'match', 'matches')}, all of them chance")
    if result.query_heat:
        heat = sorted((value for row in result.query_heat for value in row), reverse=True)
        most = sum(heat[: len(heat) // 4])
        output.line(
            f"{result.heat_of}: cosine {sum(heat):.3f}, {most:.3f} of it from the strongest quarter of the query"
        )
    if result.decision:
        decision = {"match": "a match", "possible": "perhaps a match", "none": "no match"}[result.decision]
        output.line(f"{decision}: {result.relation}, E-value {output.evalue(result.evalue)}")

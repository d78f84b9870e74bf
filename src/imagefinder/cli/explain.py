"""``imagefinder explain``: show the evidence for one hit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.query_options import BoxOption, boxes
from imagefinder.cli.session import (
    OK,
    UNFINISHED,
    AnyMethodOption,
    CollectionOption,
    JsonOption,
    MirrorOption,
    id_argument,
    image_argument,
    open_collection,
    similar_ids,
)
from imagefinder.core.addresses import is_web_address
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.core.results import Explanation

HELP = """\
Matches that agree on one geometric transform are evidence that both images show the same thing; the others are
chance. --output draws both images side by side with lines between the agreeing matches, and below that one image
overlaid on the other. For a method that gives a cosine, it draws heat maps of the regions that contribute to it.

  imagefinder explain photo.jpg holiday/beach.jpg -o why.png
  imagefinder explain photo.jpg holiday/beach.jpg -o why.png --method efficientnet-lite0
  imagefinder explain photo.jpg holiday/beach.jpg --mirror --json

Exit codes: 0 there is evidence (a common geometry, or a heat map and an E-value of at most 1); 1 there is not."""


# wide: a parameter for each option of the command, as typer declares them.
def explain(
    context: typer.Context,
    query: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="Query: file, URL, or - for standard input.", show_default=False),
    ],
    image_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of an image in the collection.", show_default=False)
    ],
    *,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Draw the evidence to a PNG file.", show_default=False
        ),
    ] = None,
    mirror: MirrorOption = True,
    box: BoxOption = None,
    method: AnyMethodOption = "auto",
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Explain the match, and print or draw the evidence."""
    with open_collection(context, collection) as opened, similar_ids(opened):
        image = image_argument(query, opened.settings)
        # Downloaded once: both the comparison and the drawing use it.
        data = opened.read(image) if isinstance(image, str) and is_web_address(image) else image
        result = opened.explain(data, id_argument(image_id), method=method, mirror=mirror, boxes=boxes(box))
        if target is not None:
            target.write_bytes(opened.draw(result, data))
    if as_json:
        output.document(to_json(result) | ({"drawing": str(target)} if target else {}))
    else:
        _print(result)
        if target is not None:
            output.line(f"drawing: {target}")
    found = result.evidence or (result.query_heat and result.decision != "none")
    return OK if found else UNFINISHED


def _print(result: Explanation) -> None:
    if result.decision:
        decision = {"match": "match", "possible": "possible match", "none": "no match"}[result.decision]
        relation = (
            "" if result.decision == "none" else f", {output.relation(result.relation, None, result.decision)}"
        )
        output.line(f"{decision}{relation} (E-value {output.evalue(result.evalue)})", style="bold")
    evidence = result.evidence
    if evidence:
        mirrored = ", mirrored" if evidence.mirrored else ""
        model = f"{evidence.model} transform" if evidence.model != "homography" else evidence.model
        matches = output.plural(evidence.matches, "match", "matches")
        output.line(f"inliers: {evidence.inliers} of {matches} ({model}{mirrored})")
        output.line(f"query coverage: {evidence.query_overlap:.0%}")
        output.line(f"match coverage: {evidence.candidate_overlap:.0%} ({result.id})")
        if evidence.copy_distance is not None:
            output.line(f"copy distance: {evidence.copy_distance:.2f} (copies: at most 1)")
        if result.note:
            output.line(result.note)
    elif result.matches or not result.query_heat:
        output.line(f"no common geometry: {output.plural(result.matches, 'match', 'matches')}, none an inlier")
    if result.query_heat:
        heat = sorted((value for row in result.query_heat for value in row), reverse=True)
        most = sum(heat[: len(heat) // 4])
        output.line(
            f"{result.heat_of}: cosine {sum(heat):.3f}, {most:.3f} of it from the strongest quarter of the query"
        )

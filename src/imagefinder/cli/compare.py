"""``imagefinder compare``: two pictures against each other."""

from __future__ import annotations

from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import STDIN, JsonOption, MethodOption, memory_collection, picture
from imagefinder.core.serialization import to_json

HELP = """Score two pictures against each other; nothing is stored, no collection is needed.

Where a geometry that both have in common speaks for it, the second line says what A is to B.

  imagefinder compare a.jpg b.jpg
  imagefinder compare a.jpg https://example.org/b.jpg --method efficientnet-lite0
  imagefinder compare a.jpg - --json < b.jpg"""


def compare(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="File, URL, or - for standard input.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one.", show_default=False)],
    method: MethodOption = "sift",
    as_json: JsonOption = False,
) -> None:
    """Compare, and print the score."""
    if a == b == STDIN:
        raise typer.BadParameter("only one of the two pictures can come from standard input")
    with memory_collection(context) as opened:
        pictures = picture(a, opened.settings), picture(b, opened.settings)
        result = opened.compare(*pictures, method=method)
        unit = opened.method(method).score
    if as_json:
        output.document(to_json(result))
        return
    details = f" of {result.features_a} and {result.features_b} descriptors" if unit == "matches" else " (cosine)"
    output.line(f"{output.score(result.score, unit)}{details}")
    if result.relation and result.evidence:
        inliers, alike, overlap = output.evidence(result.evidence)
        output.line(f"{result.relation}: inliers {inliers}, alike {alike}, overlap {overlap}")
    output.line(
        f"{result.method} (fingerprint {result.fingerprint}) in {output.duration(result.timings['total'])}",
        style="dim",
    )

"""``imagefinder compare``: compare two images directly."""

from __future__ import annotations

from typing import Annotated

import typer

from imagefinder.cli import output
from imagefinder.cli.session import STDIN, JsonOption, MethodOption, image_argument, memory_collection
from imagefinder.core.serialization import to_json

HELP = """\
If the matches agree on a geometry, the second line gives the relation of the first image to the second: edited
copy, part of, contains, same scene (another picture of it) or same layout (another document). Nothing is stored.

  imagefinder compare a.jpg b.jpg
  imagefinder compare a.jpg https://example.org/b.jpg --method efficientnet-lite0
  imagefinder compare a.jpg - --json < b.jpg"""

ImageArgument = Annotated[
    str, typer.Argument(metavar="IMAGE", help="File, URL, or - for standard input.", show_default=False)
]


def compare(
    context: typer.Context,
    a: ImageArgument,
    b: ImageArgument,
    method: MethodOption = "sift",
    as_json: JsonOption = False,
) -> None:
    """Compare the images and print the score."""
    if a == b == STDIN:
        raise typer.BadParameter("only one of the two images can be read from standard input")
    with memory_collection(context) as opened:
        images = image_argument(a, opened.settings), image_argument(b, opened.settings)
        result = opened.compare(*images, method=method)
        unit = opened.method(method).score
    if as_json:
        output.document(to_json(result))
        return
    if unit == "matches":
        output.line(
            f"{output.score(result.score, unit)} ({result.features_a} and {result.features_b} descriptors)"
        )
    else:
        output.line(f"cosine {output.score(result.score, unit)}")
    if result.relation and result.evidence:
        inliers, agreement, coverage = output.evidence(result.evidence)
        relation = output.relation(result.relation, result.evidence)
        output.line(f"{relation}: inliers {inliers}, agreement {agreement}, coverage {coverage}")
        if result.note:
            output.line(result.note)
        if result.evidence.copy_distance is not None:
            output.line(f"copy distance {result.evidence.copy_distance:.2f} (copies: at most 1)")
    elif result.evidence:
        output.line(f"weak common geometry: inliers {output.evidence(result.evidence)[0]}, no relation")
    elif unit == "matches":
        output.line("no common geometry")
    output.line(
        f"method {result.method} (fingerprint {result.fingerprint}), {output.duration(result.timings['total'])}",
        style="dim",
    )

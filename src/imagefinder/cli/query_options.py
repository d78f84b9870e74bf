"""Options of the commands that search with an image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

import typer

from imagefinder.core.errors import BoxError
from imagefinder.core.query import check_box
from imagefinder.core.results import Box, Ranking

RankingOption = Annotated[
    Ranking,
    typer.Option(
        "--ranking",
        metavar="NAME",
        help="evidence: rank by all evidence (E-value). matches: rank by the score of one method.",
        autocompletion=lambda: list(get_args(Ranking)),
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="X,Y,W,H",
        help="Use only this region of IMAGE: left, top, width, height in pixels; repeatable.",
        show_default=False,
    ),
]


def parse_filter(text: str | None) -> Mapping[str, Any] | None:
    """Parse the value of ``--filter``.

    Raises:
        BadParameter: it is not a JSON object.
    """
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise typer.BadParameter(f'--filter expects a JSON object such as {{"xmp.rating": 5}}, not {text[:200]!r}')
    return found


def boxes(texts: Sequence[str] | None) -> list[Box]:
    """Parse the values of ``--box``.

    Raises:
        BadParameter: a text is not four numbers.
    """
    found = []
    for text in texts or ():
        try:
            x, y, width, height = (float(part) for part in text.split(","))
            found.append(check_box((x, y, width, height)))
        except (ValueError, BoxError):
            raise typer.BadParameter(
                f"--box expects X,Y,W,H in pixels with a positive width and height, not {text[:200]!r}"
            ) from None
    return found

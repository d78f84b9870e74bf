"""Options of the commands that search with an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, get_args

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

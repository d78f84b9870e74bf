"""``imagefinder search``: which of mine is this?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from imagefinder.cli import output
from imagefinder.cli.session import (
    OK,
    UNFINISHED,
    CollectionOption,
    JsonOption,
    MethodOption,
    open_collection,
    picture,
)
from imagefinder.core.results import Ranking

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.results import SearchResult
    from imagefinder.core.settings import Settings

HELP = """Find the pictures most similar to a given one.

PICTURE is a file, a URL, or - for standard input; --id asks with a picture of the collection instead.

A score is how alike two pictures are for that method: sift and beit count the details that match (richly
detailed pictures collect many by chance), the other methods give a cosine (1 is the same). There is always a
best picture, so a score alone does not prove that yours is there: look at the hits, with --show.

  imagefinder search photo.jpg
  imagefinder search photo.jpg --method efficientnet-lite0 -k 10 --show
  imagefinder search https://example.org/photo.jpg --json
  imagefinder search photo.jpg --ranking evidence --mirror
  imagefinder search --id holiday/beach.jpg
  curl -s https://example.org/photo.jpg | imagefinder search -

Exit codes: 0 there are hits; 1 there are none (the collection is empty)."""


def search(
    context: typer.Context,
    query: Annotated[
        str | None,
        typer.Argument(metavar="PICTURE", help="File, URL, or - for standard input.", show_default=False),
    ] = None,
    *,
    image_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Ask with this picture of the collection.", show_default=False),
    ] = None,
    method: MethodOption = "sift",
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many hits at most.")] = 3,
    ranking: Annotated[
        Ranking,
        typer.Option(
            "--ranking",
            metavar="NAME",
            help="matches: by score. evidence: of the 50 best, those first whose matches agree on one geometry.",
            autocompletion=lambda: list(get_args(Ranking)),
        ),
    ] = "matches",
    mirror: Annotated[
        bool,
        typer.Option("--mirror", help="With --ranking evidence: find mirror images too; takes twice as long."),
    ] = False,
    show: Annotated[
        bool,
        typer.Option(
            "--show", help="Write a page that shows query and hits, and open it where there is a desktop."
        ),
    ] = False,
    page: Annotated[Path, typer.Option("--page", metavar="FILE", help="Where --show writes that page.")] = Path(
        "imagefinder-search.html"
    ),
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Search, and print the hits."""
    if (query is None) == (image_id is None):
        raise typer.BadParameter("give a PICTURE or --id ID, and not both")
    with open_collection(context, collection) as opened:
        asked = None if query is None else _asked(query, opened.settings, shown=show)
        result = opened.search(asked, id=image_id, method=method, k=k, ranking=ranking, mirror=mirror)
        if as_json:
            _document(opened, result, page if show else None)
        else:
            _tell(opened, result)
        if show:
            _write_page(opened, query or image_id or "", asked, result, page)
            if not as_json:
                output.line(f"shown in: {page}")
    if (
        show
        and not as_json
        and sys.stdout.isatty()
        and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    ):
        typer.launch(page.resolve().as_uri())
    return OK if result.hits else UNFINISHED


def _asked(query: str, limits: Settings, *, shown: bool) -> str | bytes:
    asked = picture(query, limits)
    if shown and isinstance(asked, str) and asked.lower().startswith(("http://", "https://")):
        from imagefinder.images.fetch import fetch  # noqa: PLC0415 - only for --show

        # The page shows the query too: download it once, for both.
        return fetch(
            asked, timeout=limits.fetch_timeout, max_bytes=limits.max_image_bytes, retries=limits.fetch_retries
        )
    return asked


def _tell(opened: Collection, result: SearchResult) -> None:
    unit = opened.method(result.method).score
    verified = result.ranking == "evidence"
    if result.hits:
        more = (">inliers", ">overlap") if verified else ()
        output.table(
            (">rank", "id", ">score", *more, "where"),
            [
                (
                    str(hit.rank),
                    hit.id,
                    output.score(hit.score, unit),
                    *(output.evidence(hit.evidence) if verified else ()),
                    output.place(opened.get(hit.id).uri),
                )
                for hit in result.hits
            ],
        )
        output.line()
    else:
        output.line("no hits: there is nothing to compare with in this collection")
    stages = ", ".join(
        f"{stage} {output.duration(seconds)}" for stage, seconds in result.timings.items() if stage != "total"
    )
    output.line(
        f"{result.method} ({result.mode}, fingerprint {result.fingerprint}): "
        f"{output.plural(result.searched, 'image')} compared"
        f"{f', {result.verified} verified' if verified else ''} "
        f"in {output.duration(result.timings['total'])} ({stages})"
    )
    if result.hits:
        output.line(
            "Inliers agree on one geometry; overlap is how much of the query is in the hit, and the reverse."
            if verified
            else "A score alone does not prove that the picture is there: look at the hits (--show).",
            style="dim",
        )


def _document(opened: Collection, result: SearchResult, page: Path | None) -> None:
    answer = result.to_dict()
    for hit in answer["hits"]:
        hit["uri"] = opened.get(hit["id"]).uri
    if page is not None:
        answer["page"] = str(page)
    output.document(answer)


def _write_page(
    opened: Collection, name: str, asked: str | bytes | None, result: SearchResult, page: Path
) -> None:
    from imagefinder.cli import contact_sheet  # noqa: PLC0415 - only for --show
    from imagefinder.images.decode import decode  # noqa: PLC0415 - likewise
    from imagefinder.images.resize import thumbnail  # noqa: PLC0415 - likewise

    if asked is None:
        shown = opened.thumbnail(name)
    else:
        data, limits = asked if isinstance(asked, bytes) else Path(asked).read_bytes(), opened.settings
        rgb = decode(data, max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels).rgb
        shown = thumbnail(rgb)
    question = contact_sheet.Question(
        name="standard input" if name == "-" else name,
        picture=shown,
        answers=(contact_sheet.Answer(result, opened.method(result.method).score),),
    )
    page.write_text(
        contact_sheet.render([question], opened.thumbnail, title="imagefinder search"), encoding="utf-8"
    )

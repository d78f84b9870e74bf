"""``imagefinder search``: which of mine is this?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

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
    open_page,
    picture,
)
from imagefinder.core.query import MAX_RERANK_DEPTH, Query, SearchOptions
from imagefinder.core.results import Mode, Ranking
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.results import SearchResult

HELP = """Find the pictures that show what a given one shows, or learn that there is none.

PICTURE is a file, a URL, or - for standard input; --id asks with a picture of the collection instead.

All methods of the collection answer together. For every hit: what kind of hit it is, and its E-value, the number
of pictures of this collection that would do as well by chance. At most 0.01 is a match, at most 1 is possible;
when the best is none of these, nothing in the collection shows this. The first search of a collection learns what
chance does in it, which takes some seconds.

  imagefinder search photo.jpg
  imagefinder search photo.jpg -k 10 --show
  imagefinder search photo.jpg --box 120,80,200,150
  imagefinder search https://example.org/photo.jpg --json
  imagefinder search --id holiday/beach.jpg
  imagefinder search photo.jpg --method sift --ranking matches
  curl -s https://example.org/photo.jpg | imagefinder search -

Exit codes: 0 there is a match, a possible one, or, by matches, any hit; 1 there is none."""


# wide: a parameter for each option of the command, as typer declares them.
def search(  # long: mostly the declarations of its options, as typer reads them.
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
    method: AnyMethodOption = "auto",
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many hits at most.")] = 3,
    ranking: Annotated[
        Ranking,
        typer.Option(
            "--ranking",
            metavar="NAME",
            help="evidence: by all that speaks for a hit. matches: by the score of one method alone.",
            autocompletion=lambda: list(get_args(Ranking)),
        ),
    ] = "evidence",
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            metavar="NAME",
            help="exact: score every image. fast: those that an index proposes. auto: fast in large collections.",
            autocompletion=lambda: list(get_args(Mode)),
        ),
    ] = "auto",
    mirror: MirrorOption = True,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", metavar="X", help="Drop hits with a lower score.", show_default=False),
    ] = None,
    max_evalue: Annotated[
        float | None,
        typer.Option("--max-evalue", metavar="X", min=0, help="Drop hits above this E-value.", show_default=False),
    ] = None,
    rerank_depth: Annotated[
        int | None,
        typer.Option(
            "--rerank-depth",
            metavar="N",
            min=1,
            max=MAX_RERANK_DEPTH,
            help="Verify this many of the best images by each method: more finds weaker matches and takes longer. "
            "Default: 50 by a method with keypoints, 20 by any other.",
            show_default=False,
        ),
    ] = None,
    box: BoxOption = None,
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
        image = None if query is None else _image(opened, query, shown=show)
        options = SearchOptions(
            method, k, ranking, mode, mirror, min_score=min_score, max_evalue=max_evalue, rerank_depth=rerank_depth
        )
        with output.counter("calibrating this collection", of_bytes=False) as progress:
            result = opened.search(Query(image, image_id, tuple(boxes(box))), options, progress=progress)
        if as_json:
            _document(opened, result, page if show else None)
        else:
            _tell(opened, result)
        if show:
            _write_page(opened, query or image_id or "", image, result, page)
            if not as_json:
                output.line(f"shown in: {page}")
    if show and not as_json:
        open_page(page)
    nothing = result.ranking == "evidence" and result.decision == "none"
    return UNFINISHED if nothing or not result.hits else OK


def _image(opened: Collection, query: str, *, shown: bool) -> str | bytes:
    """The query image; where the page shows it too, it is read, or downloaded, once for both."""
    image = picture(query, opened.settings)
    return opened.read(image) if shown and isinstance(image, str) else image


def _tell(opened: Collection, result: SearchResult) -> None:
    if result.ranking == "evidence":
        output.line(output.verdict(result), style="bold")
        _tell_evidence(opened, result)
    else:
        _tell_scores(opened, result)
    stages = ", ".join(
        f"{stage} {output.duration(seconds)}" for stage, seconds in result.timings.items() if stage != "total"
    )
    answered = ", ".join(f"{name} (fingerprint {digest})" for name, digest in result.fingerprints.items())
    compared = "compared" if result.mode == "exact" else "searched"
    output.line(
        f"{result.mode}, {answered}: {output.plural(result.searched, 'image')} {compared}"
        f"{f', {result.verified} looked at closely' if result.verified else ''} "
        f"in {output.duration(result.timings['total'])} ({stages})"
    )


def _tell_evidence(opened: Collection, result: SearchResult) -> None:
    if not result.hits:
        return
    output.line()
    output.table(
        (">rank", "id", "sure", "what", ">E-value", ">inliers", ">alike", ">overlap", "where"),
        [
            (
                str(hit.rank),
                hit.id,
                hit.decision or "-",
                hit.relation or "-",
                output.evalue(hit.evalue),
                *output.evidence(hit.evidence),
                output.place(opened.get(hit.id).uri),
            )
            for hit in result.hits
        ],
    )
    output.line()


def _tell_scores(opened: Collection, result: SearchResult) -> None:
    if not result.hits:
        output.line(output.verdict(result))
        return
    unit = opened.method(result.method).score
    output.table(
        (">rank", "id", ">score", ">E-value", "where"),
        [
            (
                str(hit.rank),
                hit.id,
                output.score(hit.score, unit),
                output.evalue(hit.evalue),
                output.place(opened.get(hit.id).uri),
            )
            for hit in result.hits
        ],
    )
    output.line()


def _document(opened: Collection, result: SearchResult, page: Path | None) -> None:
    answer = to_json(result)
    for hit in answer["hits"]:
        hit["uri"] = opened.get(hit["id"]).uri
    if page is not None:
        answer["page"] = str(page)
    output.document(answer)


def _write_page(
    opened: Collection, name: str, image: str | bytes | None, result: SearchResult, page: Path
) -> None:
    from imagefinder.cli import contact_sheet  # noqa: PLC0415 - only for --show
    from imagefinder.images.resize import thumbnail  # noqa: PLC0415 - likewise

    shown = opened.thumbnail(name) if image is None else thumbnail(opened.pixels(image))
    entry = contact_sheet.SheetEntry(
        name="standard input" if name == "-" else name,
        picture=shown,
        results=(contact_sheet.SheetResult(result, _unit(opened, result)),),
    )
    page.write_text(contact_sheet.render([entry], opened.thumbnail, title="imagefinder search"), encoding="utf-8")


def _unit(opened: Collection, result: SearchResult) -> str:
    return "evidence" if result.method == "auto" else opened.method(result.method).score

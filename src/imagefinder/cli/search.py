"""``imagefinder search``: find matches for a query image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from imagefinder.cli import output, search_many
from imagefinder.cli.query_options import BoxOption, RankingOption, boxes, parse_filter
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
    open_page,
    similar_ids,
)
from imagefinder.core.addresses import is_web_address
from imagefinder.core.query import MAX_RERANK_DEPTH, Query, SearchOptions
from imagefinder.core.results import PRIOR, Mode

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.results import SearchResult, WordsInfo

HELP = """\
IMAGE is a file, a URL, or - for standard input. To search with an image of the collection, use --id instead.
To search with words, use --text, alone or with an image.
With several of them, or with a folder, an archive or a list as for add, each image in them is a query.

All methods of the collection are combined. Each hit has a relation to the query and an E-value: the expected
number of images in this collection that would score as well by chance. An E-value of at most 0.01 is a match, of
at most 1 a possible match; above that there is no match. Until the collection has been calibrated, which add does,
answers are cautious; a search that finds it uncalibrated calibrates it after printing its answer.

  imagefinder search photo.jpg
  imagefinder search photo.jpg -k 10 --show
  imagefinder search photo.jpg --box 120,80,200,150
  imagefinder search https://example.org/photo.jpg --json
  imagefinder search --id holiday/beach.jpg
  imagefinder search --text "coffee cup"
  imagefinder search photo.jpg --text "coffee cup"
  imagefinder search ~/Downloads --json
  imagefinder search photo.jpg --method sift --ranking matches
  curl -s https://example.org/photo.jpg | imagefinder search -

Exit codes: 0 match or possible match (with --ranking matches or --text: any hit); 1 no match. With several
queries: 0 for each of them; 1 some without a match, or failed; 3 all failed."""


# wide: a parameter for each option of the command, as typer declares them.
def search(  # long: mostly the declarations of its options, as typer reads them.
    context: typer.Context,
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE",
            help="Query: file, URL, or - for standard input. Several, or a folder, an archive or a list: search "
            "with each image.",
            show_default=False,
        ),
    ] = None,
    *,
    image_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Search with this image of the collection.", show_default=False),
    ] = None,
    text: Annotated[
        str,
        typer.Option(
            "--text",
            metavar="WORDS",
            help="Search for images that show this; with an image: similar images that show this.",
            show_default=False,
        ),
    ] = "",
    method: AnyMethodOption = "auto",
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="Maximum number of hits.")] = 3,
    ranking: RankingOption = "evidence",
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            metavar="NAME",
            help="exact: score all images. fast: score candidates from the ANN index. auto: fast in large "
            "collections.",
            autocompletion=lambda: list(get_args(Mode)),
        ),
    ] = "auto",
    mirror: MirrorOption = True,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", metavar="X", help="Drop hits below this score.", show_default=False),
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
            help="Number of top candidates per method to verify: more finds weaker matches but takes longer. "
            "Default: 50 for methods with keypoints, 20 for others.",
            show_default=False,
        ),
    ] = None,
    stacks: Annotated[
        bool | None,
        typer.Option(
            "--stacks/--no-stacks",
            help="Count versions of one picture (raw and JPEG, edited copies, bursts) as one image. Default: "
            "setting stacks.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="JSON",
            help="Search only images whose metadata match this filter.",
            show_default=False,
        ),
    ] = None,
    box: BoxOption = None,
    show: Annotated[
        bool,
        typer.Option(
            "--show", help="Write an HTML page of the query and its hits; open it if there is a desktop."
        ),
    ] = False,
    page: Annotated[Path, typer.Option("--page", metavar="FILE", help="Page that --show writes.")] = Path(
        "imagefinder-search.html"
    ),
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Search, and print the hits."""
    text = text.strip()
    if (queries and image_id is not None) or not (queries or image_id is not None or text):
        raise typer.BadParameter("give an IMAGE, --id ID or --text WORDS")
    options = SearchOptions(
        *(method, k, ranking, mode, mirror, parse_filter(where)),
        min_score=min_score,
        max_evalue=max_evalue,
        rerank_depth=rerank_depth,
    )
    many = search_many.sources(queries or ())
    if text and many:
        raise typer.BadParameter("--text cannot be combined with several images")
    if text and show and not (queries or image_id):
        raise typer.BadParameter("--show needs a query image")
    with open_collection(context, collection, stacks=stacks) as opened, similar_ids(opened):
        if many:
            answers = search_many.Answers(
                opened, options, boxes(box), as_json=as_json, page=page if show else None
            )
            code = answers.search(many)
        else:
            chosen = None if image_id is None else id_argument(image_id)
            query = Query(queries[0] if queries else None, chosen, tuple(boxes(box)), text)
            code = _search(opened, query, options, as_json=as_json, page=page if show else None)
    if show and not as_json:
        open_page(page)
    return code


def _search(opened: Collection, query: Query, options: SearchOptions, *, as_json: bool, page: Path | None) -> int:
    """Search with one query, and print the result."""
    name = query.id or str(query.image)
    image = None if query.image is None else _image(opened, name, shown=page is not None)
    result = opened.search(replace(query, image=image), options)
    if as_json:
        _document(opened, result, page)
    else:
        _print(opened, result)
    if page is not None:
        _write_page(opened, name, image, result, page)
        if not as_json:
            output.line(f"page: {page}")
    if result.words is None:
        search_many.calibrate(opened, "calibrating for the next search")
    return OK if search_many.is_match(result) else UNFINISHED


def _image(opened: Collection, query: str, *, shown: bool) -> str | bytes:
    """The query image; downloaded only once if the page shows it too."""
    image = image_argument(query, opened.settings)
    return opened.read(image) if shown and isinstance(image, str) and is_web_address(image) else image


def _print(opened: Collection, result: SearchResult) -> None:
    if result.words is not None:
        _print_words(result, result.words)
    elif result.ranking == "evidence" or not result.hits:
        output.line(output.headline(result), style="bold")
    if result.null_model == PRIOR and result.searched:
        output.note("the collection is not calibrated yet, so this answer is cautious")
    if result.hits:
        _print_hits(opened, result)
    output.line()
    stages = ", ".join(
        f"{stage} {output.duration(seconds)}" for stage, seconds in result.timings.items() if stage != "total"
    )
    verified = f", {result.verified} verified" if result.verified else ""
    output.line(
        f"searched {output.plural(result.searched, 'image')}{verified} in "
        f"{output.duration(result.timings['total'])} ({stages})"
    )
    by = " words" if result.words else ""
    methods = ", ".join(f"{name}{by} (fingerprint {digest})" for name, digest in result.fingerprints.items())
    output.line(f"mode {result.mode}; {methods}", style="dim")


def _print_words(result: SearchResult, words: WordsInfo) -> None:
    """How the text was understood, and whether any image shows it."""
    quoted = ", ".join(words.words)
    best = "" if words.best is None else f" (best {words.best:.3f}, threshold {words.threshold:g})"
    shown = f"{output.plural(words.shown, 'image')} of {result.searched} may show: {quoted}"
    output.line(shown if words.shown else f"no image shows: {quoted}{best}", style="bold")
    if words.ignored:
        output.note(f"not known, and ignored: {', '.join(words.ignored)}")
    if words.classes:
        output.line(f"classes searched for: {', '.join(words.classes)}", style="dim")
    output.line("scores of words are not calibrated: no E-value, no decision", style="dim")


def _print_hits(opened: Collection, result: SearchResult) -> None:
    places = {record.id: output.location(record.uri) for record in opened.records(result.ids).values()}
    if result.ranking == "evidence":
        output.line()
        output.table(
            (">rank", "id", "decision", "relation", ">E-value", ">inliers", ">agreement", ">coverage", "location"),
            [
                (
                    str(hit.rank),
                    hit.id,
                    hit.decision or "-",
                    output.relation(hit.relation, hit.evidence, hit.decision),
                    output.evalue(hit.evalue),
                    *output.evidence(hit.evidence),
                    places.get(hit.id, "-"),
                )
                for hit in result.hits
            ],
        )
        return
    unit = opened.method(result.method).score
    if result.words is not None:
        output.table(
            (">rank", "id", ">score", "location"),
            [(str(hit.rank), hit.id, f"{hit.score:.3f}", places.get(hit.id, "-")) for hit in result.hits],
        )
        return
    output.table(
        (">rank", "id", ">score", ">E-value", "location"),
        [
            (
                str(hit.rank),
                hit.id,
                output.score(hit.score, unit),
                output.evalue(hit.evalue),
                places.get(hit.id, "-"),
            )
            for hit in result.hits
        ],
    )


def _document(opened: Collection, result: SearchResult, page: Path | None) -> None:
    answer = search_many.answer(opened, result)
    if page is not None:
        answer["page"] = str(page)
    output.document(answer)


def _write_page(
    opened: Collection, name: str, image: str | bytes | None, result: SearchResult, page: Path
) -> None:
    from imagefinder.cli import contact_sheet  # noqa: PLC0415 - only for --show
    from imagefinder.images.resize import thumbnail  # noqa: PLC0415 - only for --show

    shown = opened.thumbnail(name) if image is None else thumbnail(opened.pixels(image))
    entry = contact_sheet.SheetEntry(
        name="standard input" if name == "-" else name,
        thumbnail=shown,
        results=(contact_sheet.SheetResult(result, search_many.unit(opened, result)),),
    )
    page.write_text(contact_sheet.render([entry], opened.thumbnail, title="imagefinder search"), encoding="utf-8")

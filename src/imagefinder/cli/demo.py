"""``imagefinder demo``: index a few pictures, ask for some, show the answers."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagefinder.cli import add, output
from imagefinder.cli.contact_sheet import SheetEntry, SheetResult, render
from imagefinder.cli.session import OK, UNFINISHED, JsonOption, open_collection, program
from imagefinder.core.errors import SourceError, StoreError
from imagefinder.core.results import AUTO
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagefinder.collection import Collection
    from imagefinder.core.results import SearchResult

HELP = """Show what imagefinder does: index pictures, ask for some of them, show the answers.

It asks what a person would ask: a crop, a rotated copy, a screenshot, a different photo of the same thing, and
a picture that is not there; with every method that is ready. Without a FOLDER it uses the example pictures of
the source checkout and checks that the answers are right. Everything it writes is in one folder, which can be
deleted.

  imagefinder demo
  imagefinder demo ~/Pictures/holiday

Exit codes: 0 the answers are right; 1 one is wrong."""

_HITS = 3
_CHECKED = (AUTO, "sift", "efficientnet-lite0")
"""What every installation has: the answers of these on the examples are known to be right."""

_LEGEND = (
    "An E-value is the number of pictures of this collection that would do as well by chance.",
    "At most 0.01 is a match; auto is all methods together.",
)


@dataclass(frozen=True)
class _Query:
    """A picture to ask with.

    Attributes:
        name: What it is, for people.
        path: The file.
        expected: Id of the image it shows; ``None`` if the collection has none that does.
    """

    name: str
    path: Path
    expected: str | None


def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Pictures to use instead of the examples.", show_default=False),
    ] = None,
    place: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write.")] = Path(
        "demo-output"
    ),
    as_json: JsonOption = False,
) -> int:
    """Index, ask, show."""
    examples = None if folder else _examples()
    pictures = folder or examples / "pictures"  # type: ignore[operator]
    with open_collection(context, place / "collection", create=True) as opened:
        ready = sorted((state.name for state in opened.methods() if state.ready), key=lambda name: name != "sift")
        asked_by = [AUTO, *ready]
        try:
            with output.progress_bar("indexing") as progress:
                report = opened.add(pictures, methods=ready, prune=True, progress=progress)
        except StoreError as problem:
            problem.hint = f"delete {place / 'collection'} and start again: it holds only what the demo made"
            raise
        queries = _own_queries(opened, place) if examples is None else _example_queries(opened, place, examples)
        with output.counter("learning what chance does here", of_bytes=False) as learning:
            opened.calibrate(learning)
        entries = _ask(opened, queries, asked_by, judged=examples is not None)
        page = place / "contact-sheet.html"
        subtitle = f"{output.plural(opened.info().images, 'picture')}, {output.plural(len(entries), 'question')}"
        page.write_text(render(entries, opened.thumbnail, title="imagefinder demo", subtitle=subtitle), "utf-8")
    right = all(
        answer.verdict != "wrong" for entry in entries for answer in entry.results if answer.name in _CHECKED
    )
    if as_json:
        output.document(
            {
                "collection": str(place / "collection"),
                "page": str(page),
                "indexed": to_json(report),
                "questions": [_document(*pair) for pair in zip(queries, entries, strict=True)],
                "right": right,
            }
        )
    else:
        add.tell(report, str(place / "collection"))
        _tell(entries)
        _tell_next(place, page, queries)
        if not right:
            output.note("error: an answer is wrong", style="bold red")
    return OK if right else UNFINISHED


def _examples() -> Path:
    folder = Path(__file__).resolve().parents[3] / "examples"
    if not (folder / "pictures").is_dir():
        raise SourceError(
            "the example pictures are not here: they come with the source checkout, not with the package",
            hint="use pictures of your own: imagefinder demo FOLDER",
        )
    return folder


def _example_queries(opened: Collection, place: Path, examples: Path) -> list[_Query]:
    return [
        _edited(opened, place, "temple.jpg", *_CROP),
        _edited(opened, place, "dogs.jpg", *_ROTATED),
        _edited(opened, place, "nuthatch.jpg", *_SCREENSHOT),
        _Query(
            "a different photo of motorcycle.jpg",
            examples / "queries" / "motorcycle-second-view.jpg",
            "motorcycle.jpg",
        ),
        _Query("a picture that is not there", examples / "queries" / "brushes.jpg", None),
    ]


def _own_queries(opened: Collection, place: Path) -> list[_Query]:
    ids = [record.id for record in opened.images(limit=1000)]
    if not ids:
        raise SourceError("no picture could be indexed, so there is nothing to ask for")
    edits = (_CROP, _ROTATED, _SCREENSHOT)
    chosen = dict.fromkeys(ids[round(i * (len(ids) - 1) / (len(edits) - 1))] for i in range(len(edits)))
    return [_edited(opened, place, image_id, *edit) for image_id, edit in zip(chosen, edits, strict=False)]


def _edited(opened: Collection, place: Path, image_id: str, name: str, edit: Callable[[Image], Image]) -> _Query:
    from PIL import Image  # noqa: PLC0415 - only the demo draws

    rgb = opened.decode(Path(output.place(opened.get(image_id).uri)).read_bytes()).rgb
    path = place / "queries" / f"{name.split()[1]}-of-{Path(image_id).stem}.jpg"
    path.parent.mkdir(exist_ok=True)
    edit(Image.fromarray(rgb)).save(path, quality=70)
    return _Query(f"{name} {image_id}", path, image_id)


def _crop(image: Image) -> Image:
    width, height = image.size
    return image.crop((round(width * 0.2), round(height * 0.2), round(width * 0.8), round(height * 0.8)))


def _rotated(image: Image) -> Image:
    from PIL.Image import Resampling  # noqa: PLC0415 - as above

    return image.rotate(25, Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255))


def _screenshot(image: Image) -> Image:
    """The picture smaller and brighter on a page, with a bar above and a line of text below it."""
    from PIL import Image, ImageDraw, ImageEnhance  # noqa: PLC0415 - as above

    small = image.resize((round(image.width * 0.75), round(image.height * 0.75)))
    page = Image.new("RGB", (small.width + 80, small.height + 130), (238, 240, 243))
    pen = ImageDraw.Draw(page)
    pen.rectangle((0, 0, page.width, 40), fill=(52, 84, 140))
    pen.text((16, 14), "Look what I found", fill=(255, 255, 255))
    page.paste(ImageEnhance.Brightness(small).enhance(1.15), (40, 60))
    pen.text((40, small.height + 80), "How nice! Where is that?", fill=(30, 30, 30))
    return page


_CROP = ("a crop of", _crop)
_ROTATED = ("a rotated copy of", _rotated)
_SCREENSHOT = ("a screenshot of", _screenshot)


def _ask(
    opened: Collection, queries: Sequence[_Query], methods: Sequence[str], *, judged: bool
) -> list[SheetEntry]:
    from imagefinder.images.resize import thumbnail  # noqa: PLC0415 - as above

    for method in methods:
        # The times shown are those of a running program, not of loading a network.
        if method != AUTO:
            opened.warm(method)
    results = [[opened.search(query.path, method=method, k=_HITS) for method in methods] for query in queries]
    entries = []
    for query, row in zip(queries, results, strict=True):
        answers = []
        for method, result in zip(methods, row, strict=True):
            verdict = ""
            if judged:
                verdict = "right" if _found(result) == query.expected else "wrong"
            unit = "evidence" if method == AUTO else opened.method(method).score
            answers.append(SheetResult(result, unit, verdict, name=method))
        shown = opened.decode(query.path.read_bytes())
        detail = "" if query.expected else "nothing in this collection shows it; these are the nearest"
        entries.append(SheetEntry(query.name, thumbnail(shown.rgb), tuple(answers), detail, query.expected or ""))
    return entries


def _found(result: SearchResult) -> str | None:
    """The best hit, unless nothing shows what was asked for."""
    return None if result.decision == "none" else result.ids[0]


def _document(query: _Query, entry: SheetEntry) -> dict[str, Any]:
    return {
        "query": query.name,
        "path": str(query.path),
        "expected": query.expected,
        "answers": [
            {**to_json(answer.result), "method": answer.name, "verdict": answer.verdict}
            for answer in entry.results
        ],
    }


def _tell(entries: Sequence[SheetEntry]) -> None:
    rows: list[tuple[str, ...]] = []
    for entry in entries:
        answers = [row for answer in entry.results for row in _rows(answer)]
        # Narrow columns, so that eighty characters hold a line.
        names = textwrap.wrap(entry.name, 20)
        rows += [(name or "", *(row or ("", "", ""))) for name, row in zip_longest(names, answers)]
    output.line()
    output.table(("query", "method", "best hit", ">E-value"), rows)
    output.line()
    for text in _LEGEND:
        output.line(text, style="dim")


def _rows(answer: SheetResult) -> list[tuple[str, str, str]]:
    seconds = output.duration(answer.result.timings["total"])
    facts = (answer.name, ", ".join(filter(None, (answer.verdict, seconds))))
    if not answer.result.hits:
        return [(facts[0], "no hits", ""), (facts[1], "", "")]
    best = answer.result.hits[0]
    if best.decision == "none":
        return [
            (facts[0], "nothing shows this", output.evalue(best.evalue)),
            (facts[1], f"nearest: {best.id}", ""),
        ]
    return [(facts[0], best.id, output.evalue(best.evalue)), (facts[1], f"{best.decision}, {best.relation}", "")]


def _tell_next(place: Path, page: Path, queries: Sequence[_Query]) -> None:
    call = program()
    output.line()
    output.line(f"Query and answers side by side: {page}")
    output.line()
    output.line("What to type next:")
    for text, *commands in (
        ("ask for something else", f"{call} search PICTURE -c {place / 'collection'} --show"),
        ("find in your own pictures", f"{call} add ~/Pictures", f"{call} search PICTURE"),
        (
            "the same as a service",
            f"{call} serve -c {place / 'collection'}",
            f'curl -X POST -F "image=@{queries[0].path}" http://127.0.0.1:5000/sift-similar-images',
        ),
    ):
        output.line(f"  {text}")
        for command in commands:
            output.line(f"    {command}")

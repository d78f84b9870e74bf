"""``imagefinder demo``: add a few images, search for edited copies of them, show the results."""

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

HELP = """\
The demo adds images, searches for some of them, and shows the results. The queries are typical: a crop, a rotated
copy, a screenshot, a second photo of the same object, and an image that is not in the collection. Every method
that is ready is used. Without a FOLDER, the demo uses the example images of the source checkout and verifies the
results. All output is in one folder, which you can delete afterwards.

  imagefinder demo
  imagefinder demo ~/Pictures/holiday

Exit codes: 0 all results are correct; 1 a result is wrong."""

_HITS = 3
_VERIFIED = (AUTO, "sift", "efficientnet-lite0")
"""Methods that every installation has, and whose results on the examples must be correct."""

_LEGEND = (
    "E-value: expected number of images in this collection that would score as well",
    "by chance. At most 0.01 is a match. auto combines all methods.",
)


@dataclass(frozen=True)
class _Query:
    """A query image.

    Attributes:
        name: Description, for display.
        path: Its file.
        expected: Id of the correct answer; ``None`` if the collection has none.
    """

    name: str
    path: Path
    expected: str | None


def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Images to use instead of the examples.", show_default=False),
    ] = None,
    destination: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for all output.")
    ] = Path("demo-output"),
    as_json: JsonOption = False,
) -> int:
    """Add the images, run the queries, show the results."""
    examples = None if folder else _examples()
    images = folder or examples / "pictures"  # type: ignore[operator]
    with open_collection(context, str(destination / "collection"), create=True) as opened:
        ready = sorted(
            (state.name for state in opened.methods() if state.ready and state.auto),
            key=lambda name: name != "sift",
        )
        methods = [AUTO, *ready]
        try:
            with output.progress_bar("adding") as progress:
                report = opened.add(images, methods=ready, prune=True, progress=progress)
        except StoreError as problem:
            problem.hint = f"delete {destination / 'collection'} and try again: only the demo uses it"
            raise
        queries = (
            _own_queries(opened, destination)
            if examples is None
            else _example_queries(opened, destination, examples)
        )
        entries = _search(opened, queries, methods, verify=examples is not None)
        page = destination / "contact-sheet.html"
        counts = (
            output.plural(opened.info().images, "image"),
            output.plural(len(entries), "query", "queries"),
        )
        page.write_text(
            render(entries, opened.thumbnail, title="imagefinder demo", subtitle=", ".join(counts)), "utf-8"
        )
    correct = all(
        answer.verdict != "wrong" for entry in entries for answer in entry.results if answer.name in _VERIFIED
    )
    if as_json:
        output.document(
            {
                "collection": str(destination / "collection"),
                "page": str(page),
                "indexed": to_json(report),
                "queries": [_document(*pair) for pair in zip(queries, entries, strict=True)],
                "correct": correct,
            }
        )
    else:
        add.print_report(report, str(destination / "collection"))
        _print(entries)
        _print_next_steps(destination, page, queries)
        if not correct:
            output.note("error: a result is wrong", style="bold red")
    return OK if correct else UNFINISHED


def _examples() -> Path:
    folder = Path(__file__).resolve().parents[3] / "examples"
    if not (folder / "pictures").is_dir():
        raise SourceError(
            "example images not found: they are part of the source checkout, not of the package",
            hint="use your own images: imagefinder demo FOLDER",
        )
    return folder


def _example_queries(opened: Collection, destination: Path, examples: Path) -> list[_Query]:
    return [
        _edited(opened, destination, "temple.jpg", *_CROP),
        _edited(opened, destination, "dogs.jpg", *_ROTATED),
        _edited(opened, destination, "nuthatch.jpg", *_SCREENSHOT),
        _Query(
            "a second photo of motorcycle.jpg",
            examples / "queries" / "motorcycle-second-view.jpg",
            "motorcycle.jpg",
        ),
        _Query("an image not in the collection", examples / "queries" / "brushes.jpg", None),
    ]


def _own_queries(opened: Collection, destination: Path) -> list[_Query]:
    ids = [record.id for record in opened.images(limit=1000)]
    if not ids:
        raise SourceError("no images could be added, so there is nothing to search for")
    edits = (_CROP, _ROTATED, _SCREENSHOT)
    chosen = dict.fromkeys(ids[round(i * (len(ids) - 1) / (len(edits) - 1))] for i in range(len(edits)))
    return [_edited(opened, destination, image_id, *edit) for image_id, edit in zip(chosen, edits, strict=False)]


def _edited(
    opened: Collection, destination: Path, image_id: str, name: str, edit: Callable[[Image], Image]
) -> _Query:
    from PIL import Image  # noqa: PLC0415 - fast start

    rgb = opened.decode(Path(output.location(opened.get(image_id).uri)).read_bytes()).rgb
    path = destination / "queries" / f"{name.split()[1]}-of-{Path(image_id).stem}.jpg"
    path.parent.mkdir(exist_ok=True)
    edit(Image.fromarray(rgb)).save(path, quality=70)
    return _Query(f"{name} {image_id}", path, image_id)


def _crop(image: Image) -> Image:
    width, height = image.size
    return image.crop((round(width * 0.2), round(height * 0.2), round(width * 0.8), round(height * 0.8)))


def _rotated(image: Image) -> Image:
    from PIL.Image import Resampling  # noqa: PLC0415 - fast start

    return image.rotate(25, Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255))


def _screenshot(image: Image) -> Image:
    """The image, reduced and brightened, on a page with a title bar above and a line of text below."""
    from PIL import Image, ImageDraw, ImageEnhance  # noqa: PLC0415 - fast start

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


def _search(
    opened: Collection, queries: Sequence[_Query], methods: Sequence[str], *, verify: bool
) -> list[SheetEntry]:
    from imagefinder.images.resize import thumbnail  # noqa: PLC0415 - fast start

    for method in methods:
        # Keep the time of loading a network out of the times shown.
        if method != AUTO:
            opened.warm(method)
    results = [[opened.search(query.path, method=method, k=_HITS) for method in methods] for query in queries]
    entries = []
    for query, row in zip(queries, results, strict=True):
        answers = []
        for method, result in zip(methods, row, strict=True):
            verdict = ""
            if verify:
                verdict = "correct" if _best_id(result) == query.expected else "wrong"
            unit = "evidence" if method == AUTO else opened.method(method).score
            answers.append(SheetResult(result, unit, verdict, name=method))
        shown = opened.decode(query.path.read_bytes())
        detail = "" if query.expected else "Not in this collection; the nearest images are shown."
        entries.append(SheetEntry(query.name, thumbnail(shown.rgb), tuple(answers), detail, query.expected or ""))
    return entries


def _best_id(result: SearchResult) -> str | None:
    """Id of the best hit; ``None`` if there is no match."""
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


def _print(entries: Sequence[SheetEntry]) -> None:
    rows: list[tuple[str, ...]] = []
    for entry in entries:
        answers = [row for answer in entry.results for row in _rows(answer)]
        # Narrow columns keep each line within 80 characters.
        names = textwrap.wrap(entry.name, 20)
        rows += [(name or "", *(row or ("", "", ""))) for name, row in zip_longest(names, answers)]
    output.line()
    output.table(("query", "method", "best hit", ">E-value"), rows)
    output.line()
    for text in _LEGEND:
        output.line(text, style="dim")


def _rows(answer: SheetResult) -> list[tuple[str, str, str]]:
    seconds = output.duration(answer.result.timings["total"])
    name, details = answer.name, ", ".join(filter(None, (answer.verdict, seconds)))
    if not answer.result.hits:
        return [(name, "no hits", ""), (details, "", "")]
    best = answer.result.hits[0]
    if best.decision == "none":
        return [(name, "no match", output.evalue(best.evalue)), (details, f"nearest: {best.id}", "")]
    return [
        (name, best.id, output.evalue(best.evalue)),
        (details, f"{best.decision}, {output.relation(best.relation, None, best.decision)}", ""),
    ]


def _print_next_steps(destination: Path, page: Path, queries: Sequence[_Query]) -> None:
    command = program()
    output.line()
    output.line(f"Queries and results side by side: {page}")
    output.line()
    output.line("What to try next:")
    for text, *commands in (
        ("Search with another image", f"{command} search IMAGE -c {destination / 'collection'} --show"),
        ("Search your own images", f"{command} add ~/Pictures", f"{command} search IMAGE"),
        (
            "Run the REST service",
            f"{command} serve -c {destination / 'collection'}",
            f'curl -X POST -F "image=@{queries[0].path}" http://127.0.0.1:5000/sift-similar-images',
        ),
    ):
        output.line(f"  {text}")
        for line in commands:
            output.line(f"    {line}")

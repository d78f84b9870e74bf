"""``imagefinder evaluate``: how well does it work on my pictures?"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from imagefinder.cli import output, session
from imagefinder.cli.evaluation_table import COLUMNS, row
from imagefinder.cli.session import OK, UNFINISHED, CollectionOption, JsonOption, Start, open_collection
from imagefinder.core import registry
from imagefinder.core.errors import InputError, ModelError, SourceError
from imagefinder.core.paging import iter_images
from imagefinder.core.results import Ranking
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.settings import Settings
    from imagefinder.evaluation.advice import Advice
    from imagefinder.evaluation.datasets import Dataset
    from imagefinder.evaluation.protocol import Evaluation
    from imagefinder.indexing.progress import AddReport

HELP = """Measure how well each method finds what it should among your own pictures, and suggest settings.

SOURCE is a folder. If it has a manifest.json, that names queries and right answers. With --groups each folder in
it is a group: of the pictures of one folder each should find the others. Otherwise no labels are needed: edits of
your pictures are asked with (crops, turns, screenshots and the like), and every fifth picture is kept out of the
index, so that its edits should find nothing. SOURCE is not changed.

  imagefinder evaluate ~/Pictures
  imagefinder evaluate products --groups --report products.html
  imagefinder evaluate labelled --method sift --method auto --limit 100
  imagefinder evaluate ~/Pictures -c measured.collection --json

Exit codes: 0 measured; 1 measured, but without pictures that could not be indexed."""

QUERIES = 200
"""By default so many queries where there is no manifest."""

_AUTO = "auto"


@dataclass(frozen=True, slots=True)
class _Measured:
    """What there is to tell.

    Attributes:
        dataset: What was asked, less what could not be indexed.
        what: A line that says what that is.
        evaluations: One per method.
        advice: What they suggest.
    """

    dataset: Dataset
    what: str
    evaluations: list[Evaluation]
    advice: Advice


# wide: a parameter for each option of the command, as typer declares them.
def evaluate(  # long: mostly the declarations of its options, as typer reads them.
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of pictures.", show_default=False)],
    *,
    groups: Annotated[bool, typer.Option("--groups", help="Each folder in SOURCE is a group.")] = False,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            metavar="NAME",
            help="Method to measure; may be given several times; auto: all together. By default those the "
            "collection has, or every method that is ready, and auto.",
            autocompletion=lambda: [_AUTO, *registry.names(registry.METHODS)],
            show_default=False,
        ),
    ] = None,
    ranking: Annotated[
        Ranking,
        typer.Option(
            "--ranking",
            metavar="NAME",
            help="evidence: by all that speaks for a hit. matches: by the score of one method alone.",
            autocompletion=lambda: list(get_args(Ranking)),
        ),
    ] = "evidence",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help=f"Ask at most so many queries; by default all of a manifest, otherwise {QUERIES}.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Decides what is drawn at random.")] = 0,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a page with all figures, curves, and the worst mistakes as pictures.",
            show_default=False,
        ),
    ] = None,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Make or read queries, index the gallery, ask, and tell the figures."""
    if ranking == "matches" and _AUTO in (methods or ()):
        raise typer.BadParameter("--ranking matches needs single methods: their scores cannot be compared")
    start = context.find_object(Start) or Start()
    kept = collection or start.overrides.get("collection")
    limits = session.settings(context)
    with tempfile.TemporaryDirectory(prefix="imagefinder-") as folder:
        scratch = Path(folder)
        dataset, what = _dataset(source, scratch, limits, groups=groups, limit=limit, seed=seed)
        what += f", ranked by {ranking}"
        if not as_json:
            output.line(what)
        with open_collection(context, Path(kept) if kept else scratch / "collection", create=True) as opened:
            _only_gallery(opened, dataset)
            to_index, to_ask = _methods(opened, methods, ranking)
            indexed, dataset = _index(opened, dataset, to_index)
            evaluations = [_evaluate(opened, dataset, method, ranking) for method in to_ask]
            measured = _Measured(dataset, what, evaluations, _advise(evaluations))
            if report:
                _write_report(opened, measured, report)
        if as_json:
            _document(measured, indexed, report)
        else:
            _tell(measured)
            if report:
                output.line(f"shown in: {report}")
    return UNFINISHED if indexed.failures else OK


def _dataset(
    source: Path, scratch: Path, limits: Settings, *, groups: bool, limit: int | None, seed: int
) -> tuple[Dataset, str]:
    """What is asked, and a line that says what that is."""
    from imagefinder import wiring  # noqa: PLC0415 - only this command measures
    from imagefinder.evaluation import datasets  # noqa: PLC0415 - likewise

    source = source.expanduser()
    if not groups and (source / "manifest.json").is_file():
        dataset = datasets.read_manifest(source)
        dataset, how = datasets.limited(dataset, limit or len(dataset.queries), seed), "labels: its manifest.json"
    elif groups:
        dataset, how = datasets.groups_from_folders(source), "labels: each folder is a group"
        dataset = datasets.limited(dataset, limit or QUERIES, seed)
    else:
        made = scratch / "queries"
        made.mkdir()
        with (
            output.counter("editing pictures", of_bytes=False) as progress,
            contextlib.closing(wiring.make_decoder(limits)) as decoder,
        ):
            decode = partial(decoder.decode, max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels)
            dataset = datasets.edits_of_pictures(
                source, made, decode, queries=limit or QUERIES, seed=seed, progress=progress
            )
        how = "no labels: edits of its pictures, every fifth picture held out"
    if not any(query.positives for query in dataset.queries):
        raise SourceError(f"no query of {source} has a right answer, so there is nothing to measure")
    lacking = sum(not query.positives for query in dataset.queries)
    return dataset, (
        f"{dataset.name}, {how}: {output.plural(len(dataset.images), 'image')}, "
        f"{output.plural(len(dataset.queries), 'query', 'queries')}, {lacking} of them without a right answer"
    )


def _only_gallery(opened: Collection, dataset: Dataset) -> None:
    """Refuse a collection that holds anything else: it would be found, and counted wrong.

    Raises:
        InputError: it does.
    """
    gallery = frozenset(dataset.images)
    for record in iter_images(opened.images):
        if record.id not in gallery:
            raise InputError(
                f"{opened.settings.collection} holds {record.id!r}, which is not in the gallery to measure",
                hint="name a folder of its own for this index, or none: then it is made for this run only",
            )


def _methods(opened: Collection, asked: list[str] | None, ranking: Ranking) -> tuple[list[str], list[str]]:
    """Names of the methods to index, and of those to ask, ``auto`` among these."""
    named = list(dict.fromkeys(asked or ()))
    if named and _AUTO not in named:
        return named, named
    held = sorted(opened.info().methods)
    present = held or [state.name for state in opened.methods() if state.ready]
    if not present:
        raise ModelError("no method is ready on this machine", hint="see: imagefinder methods")
    to_index = list(dict.fromkeys([*present, *(name for name in named if name != _AUTO)]))
    if named:
        return to_index, named
    return to_index, [*present, _AUTO] if len(present) > 1 and ranking == "evidence" else present


def _index(opened: Collection, dataset: Dataset, methods: list[str]) -> tuple[AddReport, Dataset]:
    """Index the gallery; what cannot be indexed is left out of the dataset."""
    from imagefinder.evaluation.datasets import without  # noqa: PLC0415 - as above
    from imagefinder.evaluation.protocol import add_gallery  # noqa: PLC0415 - as above

    with output.progress_bar("indexing") as progress:
        done = add_gallery(opened, dataset, methods, progress)
    if not done.failures:
        return done, dataset
    for failure in done.failures[:5]:
        output.note(f"left out: {failure.id}: {failure.message}", style="yellow")
    if len(done.failures) > 5:
        output.note(f"left out: {len(done.failures) - 5} more", style="yellow")
    return done, without(dataset, [failure.id for failure in done.failures])


def _evaluate(opened: Collection, dataset: Dataset, method: str, ranking: Ranking) -> Evaluation:
    from imagefinder.evaluation import protocol  # noqa: PLC0415 - as above

    with output.counter("learning this collection", of_bytes=False) as progress:
        opened.calibrate(progress)
    with output.counter(f"asking {method}", of_bytes=False) as progress:
        return protocol.evaluate(opened, dataset, method, progress, ranking=ranking)


def _advise(evaluations: list[Evaluation]) -> Advice:
    from imagefinder.evaluation.advice import advise  # noqa: PLC0415 - as above

    return advise(evaluations)


def _tell(measured: _Measured) -> None:
    output.line()
    output.table(COLUMNS, [row(one) for one in measured.evaluations])
    output.line()
    output.line("Suggested settings", style="bold")
    for sentence in measured.advice.sentences:
        output.line(f"* {sentence}")


def _document(measured: _Measured, indexed: AddReport, report: Path | None) -> None:
    dataset = measured.dataset
    output.document(
        {
            "dataset": {
                "name": dataset.name,
                "what": measured.what,
                "images": len(dataset.images),
                "queries": len(dataset.queries),
                "unanswerable": sum(not query.positives for query in dataset.queries),
            },
            "indexed": to_json(indexed),
            "methods": [one.to_dict() for one in measured.evaluations],
            "suggested": measured.advice.to_dict(),
            "report": None if report is None else str(report),
        }
    )


def _write_report(opened: Collection, measured: _Measured, report: Path) -> None:
    from imagefinder.cli import evaluation_sheet  # noqa: PLC0415 - only for --report
    from imagefinder.images.resize import thumbnail  # noqa: PLC0415 - likewise

    def of_query(path: Path) -> bytes:
        return thumbnail(opened.decode(path.read_bytes()).rgb)

    def name_of_query(path: Path) -> str:
        root = measured.dataset.root
        return str(path.relative_to(root)) if path.is_relative_to(root) else path.name

    page = evaluation_sheet.render(
        measured.evaluations,
        measured.advice,
        evaluation_sheet.Pictures(opened.thumbnail, of_query, name_of_query),
        title=f"imagefinder evaluate: {measured.dataset.name}",
        subtitle=measured.what,
    )
    report.write_text(page, encoding="utf-8")

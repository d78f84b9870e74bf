"""``imagefinder evaluate``: measure retrieval accuracy on a folder of images."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagefinder.cli import output, session
from imagefinder.cli.evaluation_table import COLUMNS, LEGEND, row
from imagefinder.cli.query_options import RankingOption
from imagefinder.cli.session import (
    OK,
    UNFINISHED,
    CollectionOption,
    GlobalOptions,
    JsonOption,
    method_names,
    open_collection,
)
from imagefinder.core.errors import InputError, ModelError, SourceError
from imagefinder.core.home import expand
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

HELP = """\
SOURCE is a folder. A manifest.json in it lists queries and correct answers. With --groups, each subfolder is a
group whose images should find each other. Otherwise no labels are needed: the queries are edited copies of your
images (crops, rotations, screenshots and more), and every fifth image is held out of the collection, so that its
edited copies should find nothing. The result includes recommended settings. SOURCE is not changed.

  imagefinder evaluate ~/Pictures
  imagefinder evaluate products --groups --report products.html
  imagefinder evaluate labelled --method sift --method auto --limit 100
  imagefinder evaluate ~/Pictures -c measured.collection --json

Exit codes: 0 success; 1 success, but some images could not be added and were left out."""

QUERIES = 200
"""Default maximum number of queries without a manifest."""

_AUTO = "auto"


@dataclass(frozen=True, slots=True)
class _Measurement:
    """Everything that is reported.

    Attributes:
        dataset: The dataset, without images that could not be added.
        description: One line about the dataset.
        evaluations: One per method.
        advice: Recommended settings.
    """

    dataset: Dataset
    description: str
    evaluations: list[Evaluation]
    advice: Advice


# wide: a parameter for each option of the command, as typer declares them.
def evaluate(  # long: mostly the declarations of its options, as typer reads them.
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of images.", show_default=False)],
    *,
    groups: Annotated[bool, typer.Option("--groups", help="Each subfolder of SOURCE is a group.")] = False,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            metavar="NAME",
            help="Method to evaluate; repeatable; auto combines all methods. Default: the collection's methods, "
            "or every method that is ready, and auto.",
            autocompletion=lambda: [_AUTO, *method_names()],
            show_default=False,
        ),
    ] = None,
    ranking: RankingOption = "evidence",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help=f"Maximum number of queries. Default: all queries of a manifest, otherwise {QUERIES}.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed for random choices.")] = 0,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write an HTML page with all metrics, curves, and the worst mistakes.",
            show_default=False,
        ),
    ] = None,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> int:
    """Make or read queries, add the gallery, search, and report the metrics."""
    if ranking == "matches" and _AUTO in (methods or ()):
        raise typer.BadParameter("--ranking matches does not work with auto: scores of methods are not comparable")
    global_options = context.find_object(GlobalOptions) or GlobalOptions()
    kept = collection or global_options.overrides.get("collection")
    limits = session.settings(context)
    with tempfile.TemporaryDirectory(prefix="imagefinder-") as folder:
        scratch = Path(folder)
        dataset, description = _dataset(source, scratch, limits, groups=groups, limit=limit, seed=seed)
        description += f", ranked by {ranking}"
        if not as_json:
            output.line(description)
        with open_collection(context, str(kept or scratch / "collection"), create=True) as opened:
            _require_only_gallery(opened, dataset)
            to_add, to_evaluate = _methods(opened, methods, ranking)
            added, dataset = _add(opened, dataset, to_add)
            evaluations = [_evaluate(opened, dataset, method, ranking) for method in to_evaluate]
            measurement = _Measurement(dataset, description, evaluations, _advise(evaluations))
            if report:
                _write_report(opened, measurement, report)
        if as_json:
            _document(measurement, added, report)
        else:
            _print(measurement)
            if report:
                output.line(f"page: {report}")
    return UNFINISHED if added.failures else OK


def _dataset(
    source: Path, scratch: Path, limits: Settings, *, groups: bool, limit: int | None, seed: int
) -> tuple[Dataset, str]:
    """The dataset, and one line that describes it."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start
    from imagefinder.evaluation import datasets  # noqa: PLC0415 - fast start

    source = expand(source)
    if not groups and (source / "manifest.json").is_file():
        dataset, labels = datasets.read_manifest(source), "labels from manifest.json"
        dataset = datasets.limited(dataset, limit or len(dataset.queries), seed)
    elif groups:
        dataset, labels = datasets.groups_from_folders(source), "subfolders as groups"
        dataset = datasets.limited(dataset, limit or QUERIES, seed)
    else:
        edited = scratch / "queries"
        edited.mkdir()
        with (
            output.counter("editing images", of_bytes=False) as progress,
            contextlib.closing(wiring.make_decoder(limits)) as decoder,
        ):
            decode = partial(decoder.decode, max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels)
            dataset = datasets.edited_copies(
                source, edited, decode, queries=limit or QUERIES, seed=seed, progress=progress
            )
        labels = "edited copies as queries, every fifth image held out"
    if not any(query.positives for query in dataset.queries):
        raise SourceError(f"no query in {source} has a correct answer, so accuracy cannot be measured")
    unanswerable = sum(not query.positives for query in dataset.queries)
    return dataset, (
        f"{dataset.name} ({labels}): {output.plural(len(dataset.images), 'image')}, "
        f"{output.plural(len(dataset.queries), 'query', 'queries')} ({unanswerable} without a correct answer)"
    )


def _require_only_gallery(opened: Collection, dataset: Dataset) -> None:
    """Refuse a collection with other images: they could be found, and would count as wrong.

    Raises:
        InputError: the collection contains an image that is not in the gallery.
    """
    gallery = frozenset(dataset.images)
    for record in iter_images(opened.images):
        if record.id not in gallery:
            raise InputError(
                f"{opened.settings.collection} contains {record.id!r}, which is not in the gallery to evaluate",
                hint="use a separate folder for --collection, or omit it for a temporary collection",
            )


def _methods(opened: Collection, requested: list[str] | None, ranking: Ranking) -> tuple[list[str], list[str]]:
    """Names of the methods to add features for, and of those to evaluate, which may include ``auto``."""
    named = list(dict.fromkeys(requested or ()))
    if named and _AUTO not in named:
        return named, named
    stored = sorted(opened.info().methods)
    present = stored or [state.name for state in opened.methods() if state.ready and state.auto]
    if not present:
        raise ModelError("no method is ready on this machine", hint="see: imagefinder methods")
    to_add = list(dict.fromkeys([*present, *(name for name in named if name != _AUTO)]))
    if named:
        return to_add, named
    return to_add, [*present, _AUTO] if len(present) > 1 and ranking == "evidence" else present


def _add(opened: Collection, dataset: Dataset, methods: list[str]) -> tuple[AddReport, Dataset]:
    """Add the gallery; images that fail are removed from the dataset."""
    from imagefinder.evaluation.datasets import without  # noqa: PLC0415 - fast start
    from imagefinder.evaluation.protocol import add_gallery  # noqa: PLC0415 - fast start

    with output.progress_bar("adding") as progress:
        report = add_gallery(opened, dataset, methods, progress)
    if not report.failures:
        return report, dataset
    for failure in report.failures[:5]:
        output.note(f"left out: {failure.id}: {failure.message}", style="yellow")
    if len(report.failures) > 5:
        output.note(f"left out: {len(report.failures) - 5} more", style="yellow")
    return report, without(dataset, [failure.id for failure in report.failures])


def _evaluate(opened: Collection, dataset: Dataset, method: str, ranking: Ranking) -> Evaluation:
    from imagefinder.evaluation import protocol  # noqa: PLC0415 - fast start

    with output.counter("calibrating scores", of_bytes=False) as progress:
        opened.calibrate(progress)
    with output.counter(f"evaluating {method}", of_bytes=False) as progress:
        return protocol.evaluate(opened, dataset, method, progress, ranking=ranking)


def _advise(evaluations: list[Evaluation]) -> Advice:
    from imagefinder.evaluation.advice import advise  # noqa: PLC0415 - fast start

    return advise(evaluations)


def _print(measurement: _Measurement) -> None:
    output.line()
    output.table(COLUMNS, [row(one) for one in measurement.evaluations])
    output.line()
    for text in LEGEND:
        output.line(text, style="dim")
    output.line()
    output.line("Recommended settings", style="bold")
    for sentence in measurement.advice.sentences:
        output.line(f"* {sentence}")


def _document(measurement: _Measurement, added: AddReport, report: Path | None) -> None:
    dataset = measurement.dataset
    output.document(
        {
            "dataset": {
                "name": dataset.name,
                "description": measurement.description,
                "images": len(dataset.images),
                "queries": len(dataset.queries),
                "unanswerable": sum(not query.positives for query in dataset.queries),
            },
            "indexed": to_json(added),
            "methods": [one.to_dict() for one in measurement.evaluations],
            "recommended": measurement.advice.to_dict(),
            "report": None if report is None else str(report),
        }
    )


def _write_report(opened: Collection, measurement: _Measurement, report: Path) -> None:
    from imagefinder.cli import evaluation_sheet  # noqa: PLC0415 - only for --report
    from imagefinder.images.resize import thumbnail  # noqa: PLC0415 - only for --report

    def of_query(path: Path) -> bytes:
        return thumbnail(opened.decode(path.read_bytes()).rgb)

    def query_name(path: Path) -> str:
        root = measurement.dataset.root
        return str(path.relative_to(root)) if path.is_relative_to(root) else path.name

    page = evaluation_sheet.render(
        measurement.evaluations,
        measurement.advice,
        evaluation_sheet.Thumbnails(opened.thumbnail, of_query, query_name),
        title=f"imagefinder evaluate: {measurement.dataset.name}",
        subtitle=measurement.description,
    )
    report.write_text(page, encoding="utf-8")

"""Evaluation report: a self-contained HTML page of metrics, curves and mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagefinder import templates
from imagefinder.cli import output
from imagefinder.cli.evaluation_table import COLUMNS, row
from imagefinder.evaluation.advice import Advice, format_threshold
from imagefinder.evaluation.metrics import OperatingPoint
from imagefinder.evaluation.protocol import Evaluation


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Sources of the images on the page: JPEG bytes, empty if an image has no thumbnail.

    Attributes:
        of_image: Maps an image id to its thumbnail.
        of_query: Maps the path of a query to its thumbnail.
        query_name: Maps the path of a query to the name to show.
    """

    of_image: Callable[[str], bytes]
    of_query: Callable[[Path], bytes]
    query_name: Callable[[Path], str]


def render(
    evaluations: Sequence[Evaluation],
    advice: Advice,
    thumbnails: Thumbnails,
    *,
    title: str,
    subtitle: str,
) -> str:
    """Render the page.

    Args:
        evaluations: One per method, in the order of the page.
        advice: Recommended settings.
        thumbnails: Sources of images and query names.
        title: Heading.
        subtitle: Line below the heading.

    Returns:
        HTML text.
    """
    return templates.render(
        "evaluation_sheet.html",
        evaluations=evaluations,
        overview=(COLUMNS, [row(one) for one in evaluations]),
        metrics=_metrics,
        by_edit=_by_edit,
        advice=advice,
        thumbnails=thumbnails,
        title=title,
        subtitle=subtitle,
        output=output,
    )


def _metrics(one: Evaluation) -> list[tuple[str, str]]:
    stages = [(stage, seconds) for stage, seconds in one.median_seconds.items() if stage != "total"]
    rows = [
        (f"mAP ({output.plural(one.queries, 'query', 'queries')})", f"{one.mean_average_precision:.3f}"),
        ("mAP, revisited Oxford protocol", f"{one.oxford_mean_average_precision:.3f}"),
        ("R@1 / R@5 / R@10", f"{one.recall_at_1:.3f} / {one.recall_at_5:.3f} / {one.recall_at_10:.3f}"),
        ("Micro-AP", f"{one.micro_average_precision:.3f}"),
        ("Recall at 99 % precision", _point(one.at_99, one)),
        ("Recall at 90 % precision", _point(one.at_90, one)),
    ]
    if one.as_matches and one.as_matches.declared:
        point = one.as_matches
        rows.append(("Precision / recall of matches", f"{point.precision:.3f} / {point.recall:.3f}"))
    if one.false_alarms is not None and one.unanswerable:
        rows.append(("False alarms", f"{one.false_alarms} of {one.unanswerable}"))
    rows += [
        (f"Wrong hits per query, E-value ≤ {expected:g}", f"{wrong:.3f}")
        for expected, wrong in one.wrong_per_query.items()
    ]
    rows.append(("Median time per query", output.duration(one.median_seconds["total"])))
    rows += [(f"- {stage}", output.duration(seconds)) for stage, seconds in stages if seconds >= 0.0005]
    if one.peak_bytes is not None:
        rows.append(("Peak memory", output.size(one.peak_bytes)))
    return rows


def _point(point: OperatingPoint | None, one: Evaluation) -> str:
    if point is None:
        return "not reached"
    sign = "≤" if one.unit == "E-value" else "≥"
    hits = output.plural(point.declared, "hit")
    return f"{point.recall:.3f} ({one.unit} {sign} {format_threshold(point.threshold)}, {hits})"


def _by_edit(one: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: R@1 of each kind of edit, and how often its hits have each relation."""
    names = list(dict.fromkeys(name for result in one.by_edit for name in result.relations))
    rows = [
        [
            result.edit,
            str(result.queries),
            f"{result.recall_at_1:.3f}",
            *(str(result.relations.get(name) or "") for name in names),
        ]
        for result in one.by_edit
    ]
    return ["edit", ">queries", ">R@1", *(f">{name}" for name in names)], rows

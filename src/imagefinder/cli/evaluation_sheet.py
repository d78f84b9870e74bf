"""One HTML page of figures, curves and mistakes; like ``contact_sheet`` a single file that loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagefinder import templates
from imagefinder.cli import output
from imagefinder.cli.evaluation_table import COLUMNS, row
from imagefinder.evaluation.advice import Advice, shown
from imagefinder.evaluation.metrics import OperatingPoint
from imagefinder.evaluation.protocol import Evaluation


@dataclass(frozen=True, slots=True)
class Pictures:
    """Where small pictures come from; all are JPEG, empty where there is none.

    Attributes:
        of_image: By id.
        of_query: By path.
        name_of_query: Path -> what people call it.
    """

    of_image: Callable[[str], bytes]
    of_query: Callable[[Path], bytes]
    name_of_query: Callable[[Path], str]


def render(
    evaluations: Sequence[Evaluation],
    advice: Advice,
    pictures: Pictures,
    *,
    title: str,
    subtitle: str,
) -> str:
    """The whole page.

    Args:
        evaluations: One per method, in the order of the page.
        advice: What they suggest.
        pictures: What is shown, and what queries are called.
        title: Heading.
        subtitle: Line below it.

    Returns:
        HTML text.
    """
    return templates.render(
        "evaluation_sheet.html",
        evaluations=evaluations,
        overview=(COLUMNS, [row(one) for one in evaluations]),
        figures=_figures,
        kinds=_kinds,
        advice=advice,
        pictures=pictures,
        title=title,
        subtitle=subtitle,
        output=output,
    )


def _figures(one: Evaluation) -> list[tuple[str, str]]:
    stages = [(stage, seconds) for stage, seconds in one.median_seconds.items() if stage != "total"]
    rows = [
        (f"mAP over {output.plural(one.queries, 'query', 'queries')}", f"{one.mean_average_precision:.3f}"),
        ("mAP as the revisited Oxford sets define it", f"{one.oxford_mean_average_precision:.3f}"),
        ("R@1 / R@5 / R@10", f"{one.recall_at_1:.3f} / {one.recall_at_5:.3f} / {one.recall_at_10:.3f}"),
        ("micro-AP, all queries in one ranking", f"{one.micro_average_precision:.3f}"),
        ("recall where 99% is right", _point(one.at_99, one)),
        ("recall where 90% is right", _point(one.at_90, one)),
    ]
    if one.as_matches and one.as_matches.declared:
        found = one.as_matches
        rows.append(("called a match: precision, recall", f"{found.precision:.3f}, {found.recall:.3f}"))
    if one.false_alarms is not None and one.unanswerable:
        rows.append(("without a right answer, got a match", f"{one.false_alarms} of {one.unanswerable}"))
    rows += [
        (f"wrong hits per query with E-value up to {expected:g}", f"{wrong:.3f}")
        for expected, wrong in one.wrong_per_query.items()
    ]
    rows.append(("time per query, median", output.duration(one.median_seconds["total"])))
    rows += [(f"of it {stage}", output.duration(seconds)) for stage, seconds in stages if seconds >= 0.0005]
    if one.peak_bytes is not None:
        rows.append(("most memory", output.size(one.peak_bytes)))
    return rows


def _point(point: OperatingPoint | None, one: Evaluation) -> str:
    if point is None:
        return "0: no threshold"
    sign = "≤" if one.unit == "E-value" else "≥"
    return f"{point.recall:.3f} ({one.unit} {sign} {shown(point.threshold)}, {point.declared} hits)"


def _kinds(one: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: how each kind of edit was found, and as what."""
    names = list(dict.fromkeys(name for kind in one.kinds for name in kind.relations))
    rows = [
        [
            kind.edit,
            str(kind.queries),
            f"{kind.recall_at_1:.3f}",
            *(str(kind.relations.get(name) or "") for name in names),
        ]
        for kind in one.kinds
    ]
    return ["edit", ">queries", ">R@1", *(f">{name}" for name in names)], rows

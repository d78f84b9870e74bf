"""Overview table of an evaluation: one row per method, in the terminal and on the HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagefinder.evaluation.protocol import Evaluation

COLUMNS = (
    "method",
    ">mAP",
    ">R@1",
    ">micro-AP",
    ">recall@P99",
    ">false alarms",
    ">ms/query",
    ">peak MB",
)
"""Column headings; a leading ``>`` marks a column of numbers."""

LEGEND = (
    "recall@P99: recall at the threshold that gives 99 % precision",
    "false alarms: queries without a correct answer that got a match",
)
"""Explanations of the headings that need one."""


def row(one: Evaluation) -> tuple[str, ...]:
    """Table cells of one method, in the order of ``COLUMNS``."""
    return (
        one.method,
        f"{one.mean_average_precision:.3f}",
        f"{one.recall_at_1:.3f}",
        f"{one.micro_average_precision:.3f}",
        f"{one.recall_at_99:.3f}",
        "-" if one.false_alarms is None or not one.unanswerable else f"{one.false_alarms} of {one.unanswerable}",
        f"{one.median_seconds['total'] * 1000:.0f}",
        "-" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:.0f}",
    )

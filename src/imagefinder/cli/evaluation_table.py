"""The table of an evaluation: one row per method, in the terminal and on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagefinder.evaluation.protocol import Evaluation

COLUMNS = (
    "method",
    ">mAP",
    ">R@1",
    ">micro-AP",
    ">recall at 99%",
    ">false alarms",
    ">ms per query",
    ">peak MB",
)
"""Names of the columns; those that begin with ``>`` hold numbers."""


def row(one: Evaluation) -> tuple[str, ...]:
    """The cells of the table for one method, under ``COLUMNS``."""
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

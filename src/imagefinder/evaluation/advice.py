"""Recommends settings from an evaluation, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagefinder.evaluation.protocol import Evaluation

NEARLY = 0.01
"""A faster method is recommended too if its mAP is at most this much below the best."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Recommended settings.

    Attributes:
        method: Method with the highest mAP; the fastest of equals.
        faster: Nearly as accurate method that takes less than half the time; empty if there is none.
        threshold: Highest E-value, or lowest score, with 99 % of the hits correct; ``None`` if there is none.
        sentences: The recommendations as text.
    """

    method: str
    faster: str
    threshold: float | None
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "method": self.method,
            "faster": self.faster,
            "threshold": self.threshold,
            "sentences": list(self.sentences),
        }


def advise(evaluations: Sequence[Evaluation]) -> Advice:
    """Recommend settings.

    Args:
        evaluations: Evaluations of several methods on the same queries; at least one.
    """
    best = min(evaluations, key=lambda one: (-one.mean_average_precision, _seconds(one)))
    near = [
        one
        for one in evaluations
        if best.mean_average_precision - one.mean_average_precision <= NEARLY
        and _seconds(one) < _seconds(best) / 2
    ]
    faster = min(near, key=_seconds, default=None)
    sentences = [_best(best)]
    if faster:
        sentences.append(
            f"{faster.method} is nearly as accurate (mAP {faster.mean_average_precision:.3f}) and takes "
            f"{_seconds(faster) * 1000:.0f} ms per query."
        )
    sentences += [_threshold(best), *_matches(best)]
    return Advice(
        method=best.method,
        faster=faster.method if faster else "",
        threshold=best.at_99.threshold if best.at_99 else None,
        sentences=tuple(sentences),
    )


def error_rate_bound(wrong: int, of: int) -> float:
    """Upper bound of an error rate: one-sided 95 % Wilson score interval.

    Source: E. B. Wilson: Probable inference, the law of succession, and statistical inference. JASA 22, 1927.

    Args:
        wrong: Number of errors.
        of: Number of trials; at least 1.
    """
    z = 1.645
    part, spread = wrong / of, z * z / of
    centre = part + spread / 2
    return (centre + math.sqrt(part * (1 - part) * spread + spread * spread / 4)) / (1 + spread)


def format_threshold(threshold: float) -> str:
    """Format a threshold with two significant digits."""
    return f"{threshold:.2g}"


def _best(best: Evaluation) -> str:
    return (
        f"Use --method {best.method}: mAP {best.mean_average_precision:.3f}, correct first hit for "
        f"{best.recall_at_1:.0%} of {best.queries} queries, {_seconds(best) * 1000:.0f} ms per query."
    )


def _threshold(best: Evaluation) -> str:
    point = best.at_99
    if point is None:
        return "No threshold reaches 99% precision on these images: verify hits before you rely on them."
    limit = "an E-value of at most" if best.unit == "E-value" else "a score of at least"
    wrong = round(point.declared * (1 - point.precision))
    return (
        f"For 99% precision, accept hits with {limit} {format_threshold(point.threshold)}: {point.precision:.1%} "
        f"of {point.declared} such hits are correct; they include {point.recall:.1%} of all correct answers. With "
        f"this sample size, up to {error_rate_bound(wrong, point.declared):.1%} may be wrong (95% confidence)."
    )


def _matches(best: Evaluation) -> list[str]:
    point = best.as_matches
    if point is None:
        return []
    text = (
        f"Of {point.declared} hits reported as a match (E-value at most 0.01), "
        f"{round(point.precision * point.declared)} are correct; they include {point.recall:.1%} of all correct "
        "answers."
        if point.declared
        else "No hit was reported as a match."
    )
    if best.unanswerable:
        text += f" Of {best.unanswerable} queries without a correct answer, {best.false_alarms} still got a match."
    return [text]


def _seconds(one: Evaluation) -> float:
    return one.median_seconds["total"]

"""From figures to settings, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagefinder.evaluation.protocol import Evaluation

NEARLY = 0.01
"""Of methods whose mAP is no further from the best one's than this, a quicker one is worth naming."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to set, by what was measured.

    Attributes:
        method: The one with the highest mAP; of equal ones the quickest.
        quicker: One that is nearly as good in less than half the time; empty if there is none.
        threshold: The highest E-value, or the lowest score, that is still right in 99 % of the cases; ``None`` if
            no threshold is.
        sentences: All of it, for people.
    """

    method: str
    quicker: str
    threshold: float | None
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "method": self.method,
            "quicker": self.quicker,
            "threshold": self.threshold,
            "sentences": list(self.sentences),
        }


def advise(evaluations: Sequence[Evaluation]) -> Advice:
    """What the figures of several methods on the same queries, at least one, suggest."""
    best = min(evaluations, key=lambda one: (-one.mean_average_precision, _seconds(one)))
    near = [
        one
        for one in evaluations
        if best.mean_average_precision - one.mean_average_precision <= NEARLY
        and _seconds(one) < _seconds(best) / 2
    ]
    quicker = min(near, key=_seconds, default=None)
    sentences = [_best(best)]
    if quicker:
        sentences.append(
            f"{quicker.method} is nearly as good (mAP {quicker.mean_average_precision:.3f}) in "
            f"{_seconds(quicker) * 1000:.0f} ms."
        )
    sentences += [_threshold(best), *_matches(best)]
    return Advice(
        method=best.method,
        quicker=quicker.method if quicker else "",
        threshold=best.at_99.threshold if best.at_99 else None,
        sentences=tuple(sentences),
    )


def at_worst(wrong: int, of: int) -> float:
    """The part that may be wrong for all that is known: the upper end of Wilson's interval, one-sided, 95 %.

    Source: E. B. Wilson: Probable inference, the law of succession, and statistical inference. JASA 22, 1927.
    """
    z = 1.645
    part, spread = wrong / of, z * z / of
    centre = part + spread / 2
    return (centre + math.sqrt(part * (1 - part) * spread + spread * spread / 4)) / (1 + spread)


def shown(threshold: float) -> str:
    """A threshold for people."""
    return f"{threshold:.2g}"


def _best(best: Evaluation) -> str:
    return (
        f"Use --method {best.method}: mAP {best.mean_average_precision:.3f}, a right first hit for "
        f"{best.recall_at_1:.0%} of {best.queries} queries, {_seconds(best) * 1000:.0f} ms each."
    )


def _threshold(best: Evaluation) -> str:
    point, how = best.at_99, "an E-value of at most" if best.unit == "E-value" else "a score of at least"
    if point is None:
        return "No threshold is right in 99% of the cases here: look at what is found before you trust it."
    wrong = round(point.declared * (1 - point.precision))
    return (
        f"To be right in 99% of the cases, trust {how} {shown(point.threshold)}: {point.declared} hits have that, "
        f"{point.precision:.1%} of them right, and it finds {point.recall:.1%} of all right answers. So many hits "
        f"leave it possible that up to {at_worst(wrong, point.declared):.1%} are wrong."
    )


def _matches(best: Evaluation) -> list[str]:
    point = best.as_matches
    if point is None:
        return []
    told = (
        f"What is called a match (E-value up to 0.01) is right in {round(point.precision * point.declared)} of "
        f"{point.declared} cases, and finds {point.recall:.1%} of all right answers."
        if point.declared
        else "Nothing was called a match."
    )
    if best.unanswerable:
        told += (
            f" Of {best.unanswerable} queries that nothing in the gallery answers, {best.false_alarms} got a "
            "match nevertheless."
        )
    return [told]


def _seconds(one: Evaluation) -> float:
    return one.median_seconds["total"]

"""Retrieval metrics.

Some evaluate one ranking by its order alone. The others pool the hits of all queries by their confidence, and so
show whether a single threshold works for every query.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


def average_precision(ranked: Sequence[str], positives: Collection[str], ignore: Collection[str] = ()) -> float:
    """Mean of the precision at the rank of each correct answer; an answer that is not found counts 0.

    Defined as in scikit-learn's ``average_precision_score`` (no interpolation).

    Args:
        ranked: Ids, best first.
        positives: Ids of the correct answers; at least one.
        ignore: Ids removed from the ranking first.
    """
    found, total = 0, 0.0
    for rank, image_id in enumerate((i for i in ranked if i not in ignore), 1):
        if image_id in positives:
            found += 1
            total += found / rank
    return total / len(positives)


def revisited_oxford_average_precision(
    ranked: Sequence[str], positives: Collection[str], ignore: Collection[str] = ()
) -> float:
    """Area under the precision-recall curve by trapezoids: the mAP of the (revisited) Oxford and Paris sets.

    The j-th correct answer (from 0) at rank r (from 0, without the ignored ids, called junk there) adds
    ``(j / r + (j + 1) / (r + 1)) / 2`` divided by the number of correct answers, where ``0 / 0`` is 1.

    Source: ``compute_ap`` in ``python/evaluate.py`` of github.com/filipradenovic/revisitop (F. Radenovic,
    A. Iscen, G. Tolias, Y. Avrithis, O. Chum: Revisiting Oxford and Paris. CVPR 2018).

    Args:
        ranked: Ids, best first.
        positives: Ids of the correct answers; at least one.
        ignore: Ids removed from the ranking first.
    """
    kept = [image_id for image_id in ranked if image_id not in ignore]
    ranks = [rank for rank, image_id in enumerate(kept) if image_id in positives]
    areas = (((j / rank if rank else 1.0) + (j + 1) / (rank + 1)) / 2 for j, rank in enumerate(ranks))
    return sum(areas) / len(positives)


def recall_at(k: int, ranked: Sequence[str], positives: Collection[str], ignore: Collection[str] = ()) -> float:
    """1 if a correct answer is among the first ``k``, else 0 (the R@k of retrieval benchmarks)."""
    kept = [i for i in ranked if i not in ignore]
    return float(any(image_id in positives for image_id in kept[:k]))


class Curve(NamedTuple):
    """Precision and recall of the hits accepted at each threshold.

    Attributes:
        thresholds: ``(T,)`` float64, distinct confidences, descending.
        declared: ``(T,)`` int64, number of hits accepted: confidence at least the threshold.
        precision: ``(T,)`` float64, fraction of the accepted hits that are correct.
        recall: ``(T,)`` float64, fraction of all correct answers that are accepted.
    """

    thresholds: NDArray[np.float64]
    declared: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Precision and recall at one threshold.

    Attributes:
        threshold: Hits with at least this confidence are accepted.
        precision: Fraction of the accepted hits that are correct; 1 if no hit is accepted.
        recall: Fraction of all correct answers that are accepted.
        declared: Number of accepted hits.
    """

    threshold: float
    precision: float
    recall: float
    declared: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self) | {"threshold": self.threshold if math.isfinite(self.threshold) else None}


def precision_recall_curve(confidences: ArrayLike, correct: ArrayLike, total_positives: int) -> Curve:
    """Precision-recall curve with one point per distinct confidence.

    Args:
        confidences: ``(N,)``, confidence of each hit of each query; may be minus infinity.
        correct: ``(N,)`` bool, whether the hit is a correct answer.
        total_positives: Number of correct answers of all queries, found or not.
    """
    values = np.asarray(confidences, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    descending = values[order]
    last_of_equals = np.flatnonzero(np.append(descending[1:] != descending[:-1], [True] * (len(descending) > 0)))
    found = np.cumsum(np.asarray(correct, dtype=np.bool_)[order])[last_of_equals]
    declared = last_of_equals.astype(np.int64) + 1
    return Curve(descending[last_of_equals], declared, found / declared, found / max(1, total_positives))


def micro_average_precision(confidences: ArrayLike, correct: ArrayLike, total_positives: int) -> float:
    """Average precision of a single ranking of the hits of all queries, including those without a correct answer.

    The metric of the Image Similarity Challenge (M. Douze et al.: The 2021 image similarity dataset and challenge,
    2021). Hits with equal confidence count together, as in scikit-learn's ``average_precision_score``; correct
    answers that are not found count 0.

    Args:
        confidences: ``(N,)``, confidence of each hit.
        correct: ``(N,)`` bool, whether the hit is a correct answer.
        total_positives: Number of correct answers of all queries, found or not.
    """
    curve = precision_recall_curve(confidences, correct, total_positives)
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))


def operating_point(
    confidences: ArrayLike, correct: ArrayLike, total_positives: int, precision: float
) -> OperatingPoint | None:
    """Threshold with the highest recall among those with at least this precision; the highest of equals.

    ``None`` if no finite threshold reaches the precision and accepts a correct answer.
    """
    curve = precision_recall_curve(confidences, correct, total_positives)
    precise = np.flatnonzero((curve.precision >= precision) & (curve.recall > 0) & np.isfinite(curve.thresholds))
    if not len(precise):
        return None
    at = precise[np.argmax(curve.recall[precise])]
    return OperatingPoint(
        threshold=float(curve.thresholds[at]),
        precision=float(curve.precision[at]),
        recall=float(curve.recall[at]),
        declared=int(curve.declared[at]),
    )


def at_threshold(
    confidences: ArrayLike, correct: ArrayLike, total_positives: int, threshold: float
) -> OperatingPoint:
    """Precision and recall of the hits with a confidence of at least ``threshold``."""
    accepted = np.asarray(confidences, dtype=np.float64) >= threshold
    found, declared = int(np.sum(np.asarray(correct, dtype=np.bool_)[accepted])), int(np.sum(accepted))
    return OperatingPoint(
        threshold=threshold,
        precision=found / declared if declared else 1.0,
        recall=found / max(1, total_positives),
        declared=declared,
    )

"""Figures of merit of rankings.

Some judge one ranking (its order alone); the others judge all hits of all queries together, by how strongly each
was reported, and so tell whether one threshold serves every query.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


def average_precision(ranked: Sequence[str], positives: Collection[str], ignore: Collection[str] = ()) -> float:
    """Mean, over the right answers, of the precision at the rank of each; one that is missing counts 0.

    The definition of scikit-learn's ``average_precision_score`` (no interpolation).

    Args:
        ranked: Ids, best first.
        positives: Ids that are right; at least one.
        ignore: Ids taken out of the ranking first.
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

    The j-th right answer (from 0) at rank r (from 0, without the ignored ones, there called junk) adds
    ``(j / r + (j + 1) / (r + 1)) / 2`` over the number of right answers, where ``0 / 0`` counts 1.

    Source: ``compute_ap`` in ``python/evaluate.py`` of github.com/filipradenovic/revisitop (F. Radenovic,
    A. Iscen, G. Tolias, Y. Avrithis, O. Chum: Revisiting Oxford and Paris. CVPR 2018).

    Args:
        ranked: Ids, best first.
        positives: Ids that are right; at least one.
        ignore: Ids taken out of the ranking first.
    """
    judged = [image_id for image_id in ranked if image_id not in ignore]
    ranks = [rank for rank, image_id in enumerate(judged) if image_id in positives]
    areas = (((j / rank if rank else 1.0) + (j + 1) / (rank + 1)) / 2 for j, rank in enumerate(ranks))
    return sum(areas) / len(positives)


def recall_at(k: int, ranked: Sequence[str], positives: Collection[str], ignore: Collection[str] = ()) -> float:
    """1 if a right answer is among the first ``k``, else 0 (the R@k of retrieval benchmarks)."""
    judged = [i for i in ranked if i not in ignore]
    return float(any(image_id in positives for image_id in judged[:k]))


class Curve(NamedTuple):
    """Precision and recall where everything at least as strong as a threshold is declared right.

    Attributes:
        thresholds: ``(T,)`` float64, the distinct strengths, falling.
        declared: ``(T,)`` int64, hits at least so strong.
        precision: ``(T,)`` float64, part of those that is right.
        recall: ``(T,)`` float64, part of all right answers that is among them.
    """

    thresholds: NDArray[np.float64]
    declared: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What one threshold gives.

    Attributes:
        threshold: Hits at least so strong are declared right.
        precision: Part of the declared hits that is right; 1 where none is declared.
        recall: Part of all right answers that is declared.
        declared: How many hits these figures rest on.
    """

    threshold: float
    precision: float
    recall: float
    declared: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self) | {"threshold": self.threshold if math.isfinite(self.threshold) else None}


def precision_recall_curve(scores: ArrayLike, right: ArrayLike, total_positives: int) -> Curve:
    """One point per distinct strength; hits of equal strength are declared together.

    Args:
        scores: ``(N,)``, how strongly each hit of each query was reported; may be minus infinity.
        right: ``(N,)`` bool, whether it is a right answer.
        total_positives: Right answers of all queries, found or not; at least 1 unless there are none.
    """
    strengths = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-strengths, kind="stable")
    falling = strengths[order]
    last_of_equals = np.flatnonzero(np.append(falling[1:] != falling[:-1], [True] * (len(falling) > 0)))
    found = np.cumsum(np.asarray(right, dtype=np.bool_)[order])[last_of_equals]
    declared = last_of_equals.astype(np.int64) + 1
    return Curve(falling[last_of_equals], declared, found / declared, found / max(1, total_positives))


def micro_average_precision(scores: ArrayLike, right: ArrayLike, total_positives: int) -> float:
    """Average precision of one ranking of all hits of all queries, also of queries without a right answer.

    The figure of the Image Similarity Challenge (M. Douze et al.: The 2021 image similarity dataset and
    challenge, 2021). Hits of equal strength count together, as in scikit-learn's ``average_precision_score``;
    right answers that were not found at all count 0.

    Args:
        scores: ``(N,)``, how strongly each hit was reported.
        right: ``(N,)`` bool.
        total_positives: Right answers of all queries, found or not.
    """
    curve = precision_recall_curve(scores, right, total_positives)
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))


def operating_point(
    scores: ArrayLike, right: ArrayLike, total_positives: int, precision: float
) -> OperatingPoint | None:
    """The threshold with the highest recall of those with at least this precision; the higher one of equals.

    ``None`` where no threshold is so precise, or none of those declares a right answer.
    """
    curve = precision_recall_curve(scores, right, total_positives)
    fine = np.flatnonzero((curve.precision >= precision) & (curve.recall > 0) & np.isfinite(curve.thresholds))
    if not len(fine):
        return None
    at = fine[np.argmax(curve.recall[fine])]
    return OperatingPoint(
        threshold=float(curve.thresholds[at]),
        precision=float(curve.precision[at]),
        recall=float(curve.recall[at]),
        declared=int(curve.declared[at]),
    )


def at_threshold(scores: ArrayLike, right: ArrayLike, total_positives: int, threshold: float) -> OperatingPoint:
    """Precision and recall where hits at least as strong as ``threshold`` are declared right."""
    strong = np.asarray(scores, dtype=np.float64) >= threshold
    found, declared = int(np.sum(np.asarray(right, dtype=np.bool_)[strong])), int(np.sum(strong))
    return OperatingPoint(
        threshold=threshold,
        precision=found / declared if declared else 1.0,
        recall=found / max(1, total_positives),
        declared=declared,
    )

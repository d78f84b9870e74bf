"""Figures of merit of rankings. Queries without a right answer are not judged here."""

from __future__ import annotations

from collections.abc import Collection, Sequence


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


def recall_at(k: int, ranked: Sequence[str], positives: Collection[str], ignore: Collection[str] = ()) -> float:
    """1 if a right answer is among the first ``k``, else 0 (the R@k of retrieval benchmarks)."""
    judged = [i for i in ranked if i not in ignore]
    return float(any(image_id in positives for image_id in judged[:k]))

"""Asks every query of a dataset and judges the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from imagefinder.collection import Collection
from imagefinder.evaluation.datasets import Dataset
from imagefinder.evaluation.metrics import average_precision, recall_at


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one method did on one dataset.

    Attributes:
        dataset: Its name.
        method: Its name.
        fingerprint: Digest of what made the features.
        queries: How many were judged (those with a right answer).
        mean_average_precision: Mean over them.
        recall_at_1: Likewise.
        median_seconds: Stage -> median over all queries, also those without a right answer.
    """

    dataset: str
    method: str
    fingerprint: str
    queries: int
    mean_average_precision: float
    recall_at_1: float
    median_seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def evaluate(
    collection: Collection, dataset: Dataset, method: str, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Ask all queries of a dataset whose images the collection holds under the dataset's ids.

    Args:
        collection: The gallery.
        dataset: Queries and right answers.
        method: Name of the method.
        progress: Called with (done, total) after each query.

    Raises:
        ValueError: the dataset has no queries, or none with a right answer.
    """
    precisions: list[float] = []
    recalls: list[float] = []
    timings: list[dict[str, float]] = []
    fingerprint = ""
    for number, query in enumerate(dataset.queries, 1):
        result = collection.search(query.path, method=method, k=len(dataset.images))
        fingerprint = result.fingerprint
        timings.append(dict(result.timings))
        if query.positives:
            precisions.append(average_precision(result.ids, query.positives, query.ignore))
            recalls.append(recall_at(1, result.ids, query.positives, query.ignore))
        if progress:
            progress(number, len(dataset.queries))
    if not precisions:
        raise ValueError(f"{dataset.name} has no query with a right answer")
    return Evaluation(
        dataset=dataset.name,
        method=method,
        fingerprint=fingerprint,
        queries=len(precisions),
        mean_average_precision=fmean(precisions),
        recall_at_1=fmean(recalls),
        median_seconds={stage: median(t[stage] for t in timings) for stage in timings[0]},
    )

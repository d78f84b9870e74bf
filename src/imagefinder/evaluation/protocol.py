"""Asks every query of a dataset and judges the answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from imagefinder.collection import Collection
from imagefinder.core.results import Ranking
from imagefinder.evaluation.datasets import Dataset
from imagefinder.evaluation.metrics import average_precision, recall_at
from imagefinder.indexing.candidate import file_candidate
from imagefinder.indexing.pipeline import index
from imagefinder.indexing.progress import AddReport, Progress


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one method did on one dataset.

    Attributes:
        dataset: Its name.
        method: Its name.
        ranking: See ``Collection.search``.
        fingerprint: Digest of what made the features.
        queries: How many were judged (those with a right answer).
        mean_average_precision: Mean over them.
        recall_at_1: Likewise.
        median_seconds: Stage -> median over all queries, also those without a right answer.
    """

    dataset: str
    method: str
    ranking: Ranking
    fingerprint: str
    queries: int
    mean_average_precision: float
    recall_at_1: float
    median_seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def add_gallery(
    collection: Collection,
    dataset: Dataset,
    methods: Sequence[str],
    progress: Callable[[Progress], None] | None = None,
) -> AddReport:
    """Index the gallery of a dataset, and nothing else of its folder, under the dataset's ids.

    Raises:
        OSError: a picture of the gallery is not there.
        UnknownMethodError: no such method.
        ModelMissingError: the weights of a method are not here.
    """
    root = os.path.abspath(dataset.root)  # noqa: PTH100 - as indexing does
    paths = ((image_id, os.path.join(root, image_id)) for image_id in dataset.images)  # noqa: PTH118 - likewise
    candidates = (file_candidate(path, os.stat(path), image_id, "") for image_id, path in paths)  # noqa: PTH116
    chosen = [collection.method(name) for name in methods]
    return index(collection.store, chosen, candidates, settings=collection.settings, progress=progress)


def evaluate(
    collection: Collection,
    dataset: Dataset,
    method: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    ranking: Ranking = "matches",
    mirror: bool = False,
) -> Evaluation:
    """Ask all queries of a dataset whose images the collection holds under the dataset's ids.

    Args:
        collection: The gallery.
        dataset: Queries and right answers.
        method: Name of the method.
        progress: Called with (done, total) after each query.
        ranking: See ``Collection.search``.
        mirror: Likewise.

    Raises:
        InputError: the method cannot verify.
        ValueError: the dataset has no queries, or none with a right answer.
    """
    precisions: list[float] = []
    recalls: list[float] = []
    timings: list[dict[str, float]] = []
    fingerprint = ""
    for number, query in enumerate(dataset.queries, 1):
        result = collection.search(
            query.path, method=method, k=len(dataset.images), ranking=ranking, mirror=mirror
        )
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
        ranking=ranking,
        fingerprint=fingerprint,
        queries=len(precisions),
        mean_average_precision=fmean(precisions),
        recall_at_1=fmean(recalls),
        median_seconds={stage: median(t[stage] for t in timings) for stage in timings[0]},
    )

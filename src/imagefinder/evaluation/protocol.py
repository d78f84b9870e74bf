"""Evaluates a method: searches with every query of a dataset and compares the hits with the correct answers."""

from __future__ import annotations

import math
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagefinder.collection import Collection
from imagefinder.core.errors import ImageError, SourceError
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.results import Hit, Ranking, SearchResult
from imagefinder.evaluation.datasets import Dataset, LabelledQuery
from imagefinder.evaluation.memory import peak_bytes, reset_peak
from imagefinder.evaluation.metrics import (
    Curve,
    OperatingPoint,
    at_threshold,
    average_precision,
    micro_average_precision,
    operating_point,
    precision_recall_curve,
    recall_at,
    revisited_oxford_average_precision,
)
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.indexing.source_item import file_item
from imagefinder.search.decision import MATCH

CHECKED = (1.0, 0.1, 0.01)
"""E-values to check: each predicts the number of wrong hits per query up to it."""

Unit: TypeAlias = Literal["E-value", "score"]
"""Unit of a threshold: the highest accepted E-value, or the lowest accepted score."""

UNEDITED = "unedited"
"""Name of the edit of queries that were not edited."""

_MISTAKES, _SHOWN, _POINTS = 12, 3, 200
_SMALLEST = 1e-300
"""Smaller E-values are raised to this before their logarithm is taken."""


@dataclass(frozen=True, slots=True)
class EditResult:
    """Results of the queries made by one kind of edit; only those with a correct answer.

    Attributes:
        edit: Name of the edit.
        queries: Number of queries.
        recall_at_1: Fraction of queries whose first hit is correct.
        relations: Relation of the best correct hit -> number of queries; ``not found`` if there is none or its
            decision is ``none``. Empty without E-values.
    """

    edit: str
    queries: int
    recall_at_1: float
    relations: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "edit": self.edit,
            "queries": self.queries,
            "recall_at_1": self.recall_at_1,
            "relations": dict(self.relations),
        }


@dataclass(frozen=True, slots=True)
class Mistake:
    """A query with a misleading result: a wrong first hit, a wrong match, or a correct answer that is not a match.

    Attributes:
        query: The query.
        hits: The best hits and the best wrong one; ranks do not count ignored images.
        expected: The correct answers among the hits, best first; empty if none was found.
    """

    query: LabelledQuery
    hits: tuple[Hit, ...]
    expected: tuple[Hit, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""

        def brief(hit: Hit) -> dict[str, Any]:
            return {
                "rank": hit.rank,
                "id": hit.id,
                "score": hit.score,
                "evalue": hit.evalue,
                "relation": hit.relation,
            }

        return {
            "query": str(self.query.path),
            "edits": list(self.query.edits),
            "hits": [brief(hit) for hit in self.hits],
            "expected": [brief(hit) for hit in self.expected],
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one method on one dataset.

    Attributes:
        dataset: Name of the dataset.
        method: Name of the method.
        ranking: Ranking of the hits, as in ``Collection.search``.
        fingerprint: Digest of how the features were made.
        images: Number of gallery images.
        queries: Number of queries with a correct answer.
        unanswerable: Number of queries without a correct answer.
        mean_average_precision: Mean average precision over the queries with a correct answer.
        oxford_mean_average_precision: The same by the protocol of the revisited Oxford and Paris datasets.
        recall_at_1: Fraction of queries with a correct answer that have one as the first hit.
        recall_at_5: Fraction with one among the first 5 hits.
        recall_at_10: Fraction with one among the first 10 hits.
        micro_average_precision: Average precision of the pooled hits of all queries.
        unit: Unit of the thresholds.
        at_99: Threshold with the highest recall at a precision of at least 0.99; ``None`` if there is none.
        at_90: Threshold with the highest recall at a precision of at least 0.9; ``None`` if there is none.
        as_matches: Precision and recall of the hits reported as a match; ``None`` without E-values.
        false_alarms: Queries without a correct answer that got a match; ``None`` without E-values.
        wrong_per_query: E-value -> wrong hits per query up to it, which is about the same number if E-values are
            calibrated. Counted on the queries without a correct answer, or on all queries if every one has a
            correct answer; empty without E-values.
        by_edit: Results by edit; unedited queries form one group.
        curve: (recall, precision) at descending thresholds, at most 200 points.
        median_seconds: Stage -> median over all queries.
        seconds: Total time of all queries.
        peak_bytes: Peak memory of the process meanwhile, including everything loaded before.
        mistakes: Worst mistakes, the most confident ones first.
    """

    dataset: str
    method: str
    ranking: Ranking
    fingerprint: str
    images: int
    queries: int
    unanswerable: int
    mean_average_precision: float
    oxford_mean_average_precision: float
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    micro_average_precision: float
    unit: Unit
    at_99: OperatingPoint | None
    at_90: OperatingPoint | None
    as_matches: OperatingPoint | None
    false_alarms: int | None
    wrong_per_query: Mapping[float, float]
    by_edit: tuple[EditResult, ...]
    curve: tuple[tuple[float, float], ...]
    median_seconds: Mapping[str, float]
    seconds: float
    peak_bytes: int | None
    mistakes: tuple[Mistake, ...]

    @property
    def recall_at_99(self) -> float:
        """Highest recall at a precision of at least 0.99; 0 if no threshold reaches it."""
        return self.at_99.recall if self.at_99 else 0.0

    @property
    def recall_at_90(self) -> float:
        """Highest recall at a precision of at least 0.9; 0 if no threshold reaches it."""
        return self.at_90.recall if self.at_90 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        points = {name: getattr(self, name) for name in ("at_99", "at_90", "as_matches")}
        return {name: getattr(self, name) for name in self.__slots__} | {
            **{name: point and point.to_dict() for name, point in points.items()},
            "wrong_per_query": {f"{expected:g}": wrong for expected, wrong in self.wrong_per_query.items()},
            "by_edit": [result.to_dict() for result in self.by_edit],
            "curve": [list(point) for point in self.curve],
            "median_seconds": dict(self.median_seconds),
            "mistakes": [mistake.to_dict() for mistake in self.mistakes],
        }


def add_gallery(
    collection: Collection,
    dataset: Dataset,
    methods: Sequence[str],
    progress: Callable[[Progress], None] | None = None,
) -> AddReport:
    """Add the gallery of a dataset to a collection, under the dataset's ids; other files are not added.

    Args:
        collection: Collection to add to.
        dataset: The dataset.
        methods: Names of the methods to extract features for.
        progress: Called with the state of the run.

    Raises:
        OSError: a gallery image does not exist.
        UnknownMethodError: a method is not installed.
        ModelMissingError: the weights of a method are not installed.
    """
    root = os.path.abspath(dataset.root)  # noqa: PTH100 - as in indexing
    paths = ((image_id, os.path.join(root, image_id)) for image_id in dataset.images)  # noqa: PTH118 - as above
    items = (file_item(path, os.stat(path), image_id, "") for image_id, path in paths)  # noqa: PTH116
    return collection.add_items(items, methods, progress)


# wide: the parameters after progress are search options, named as in Collection.search.
def evaluate(
    collection: Collection,
    dataset: Dataset,
    method: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    ranking: Ranking = "evidence",
    mirror: bool = True,
    evalues: bool = True,
) -> Evaluation:
    """Search a collection with every query of a dataset, and compute metrics.

    Args:
        collection: Contains the gallery images under the dataset's ids, and no others.
        dataset: Queries with their correct answers.
        method: Name of a method, or ``auto`` to combine all methods of the collection.
        progress: Called with (done, total) after each query.
        ranking: As in ``Collection.search``.
        mirror: As in ``Collection.search``.
        evalues: As in ``Collection.search``; without E-values, the score is the confidence of a hit.

    Raises:
        InputError: ``auto`` with the ranking ``matches``.
        SourceError: no query has a correct answer, or a query is not a usable image.
    """
    if not any(query.positives for query in dataset.queries):
        raise SourceError(f"no query of {dataset.name} has a correct answer")

    options = SearchOptions(method, len(dataset.images), ranking, mirror=mirror, evalues=evalues, stacks=False)

    def search(query: LabelledQuery) -> SearchResult:
        return collection.search(Query(query.path), options)

    reset_peak()
    started, answers = time.perf_counter(), []
    for answer in _answers(dataset.queries, search):
        answers.append(answer)
        if progress:
            progress(len(answers), len(dataset.queries))
    seconds = time.perf_counter() - started
    answerable = [answer for answer in answers if answer.query.positives]
    unanswerable = [answer for answer in answers if not answer.query.positives]
    pool = _Pool.of(answers, has_evalues=evalues or ranking == "evidence")
    return Evaluation(
        dataset=dataset.name,
        method=method,
        ranking=ranking,
        fingerprint=answers[-1].fingerprint,
        images=len(dataset.images),
        queries=len(answerable),
        unanswerable=len(unanswerable),
        mean_average_precision=_mean(average_precision, answerable),
        oxford_mean_average_precision=_mean(revisited_oxford_average_precision, answerable),
        recall_at_1=_mean(partial(recall_at, 1), answerable),
        recall_at_5=_mean(partial(recall_at, 5), answerable),
        recall_at_10=_mean(partial(recall_at, 10), answerable),
        micro_average_precision=micro_average_precision(pool.confidences, pool.correct, pool.total),
        unit=pool.unit,
        at_99=pool.with_precision(0.99),
        at_90=pool.with_precision(0.9),
        as_matches=pool.as_matches(),
        false_alarms=sum(a.has_match for a in unanswerable) if pool.has_evalues else None,
        wrong_per_query=_wrong_per_query(unanswerable or answers) if pool.has_evalues else {},
        by_edit=_by_edit(answerable),
        curve=_thinned(precision_recall_curve(pool.confidences, pool.correct, pool.total)),
        median_seconds=_medians([answer.timings for answer in answers]),
        seconds=seconds,
        peak_bytes=peak_bytes(),
        mistakes=_worst(answers),
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """Result of one query, without ignored images.

    Attributes:
        query: The query.
        ids: Ids of the hits, best first.
        confidences: ``(N,)`` confidence of each hit: -log10 of the E-value, or the score.
        correct: ``(N,)`` bool, whether each hit is a correct answer.
        has_match: Whether any hit is a match.
        best: The best hits and the best wrong one; ranks do not count ignored images.
        wrong: The best wrong hit; ``None`` if there is none.
        expected: The best correct hits.
        fingerprint: Digest of how the features were made.
        timings: Stage -> seconds.
    """

    query: LabelledQuery
    ids: list[str]
    confidences: NDArray[np.float64]
    correct: NDArray[np.bool_]
    has_match: bool
    best: tuple[Hit, ...]
    wrong: Hit | None
    expected: tuple[Hit, ...]
    fingerprint: str
    timings: Mapping[str, float]


def _answers(
    queries: Iterable[LabelledQuery], search: Callable[[LabelledQuery], SearchResult]
) -> Iterator[_Answer]:
    """Search with each query in turn."""
    for query in queries:
        try:
            result = search(query)
        except ImageError as error:
            raise SourceError(f"cannot use the query {query.path}: {error.message}") from error
        yield _answer(query, result)


def _answer(query: LabelledQuery, result: SearchResult) -> _Answer:
    kept = [hit for hit in result.hits if hit.id not in query.ignore]
    correct = [hit.id in query.positives for hit in kept]
    ranked = [replace(hit, rank=rank) for rank, hit in enumerate(kept, 1)]
    wrong = next((hit for hit, is_correct in zip(ranked, correct, strict=True) if not is_correct), None)
    return _Answer(
        query=query,
        ids=[hit.id for hit in kept],
        confidences=np.array([_confidence(hit) for hit in kept], dtype=np.float64),
        correct=np.array(correct, dtype=np.bool_),
        has_match=any(hit.decision == "match" for hit in kept),
        best=tuple([*ranked[: _SHOWN - 1], wrong] if wrong and wrong.rank > _SHOWN else ranked[:_SHOWN]),
        wrong=wrong,
        expected=tuple(hit for hit, is_correct in zip(ranked, correct, strict=True) if is_correct)[:_SHOWN],
        fingerprint=result.fingerprint,
        timings=dict(result.timings),
    )


def _mean(metric: Callable[[Sequence[str], frozenset[str]], float], answers: Sequence[_Answer]) -> float:
    """Mean over queries of a metric of (ranked ids, correct ids)."""
    return fmean(metric(answer.ids, answer.query.positives) for answer in answers)


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """Pooled hits of all queries.

    Attributes:
        confidences: ``(N,)`` confidence of each hit.
        correct: ``(N,)`` bool, whether each hit is a correct answer.
        total: Number of correct answers of all queries, found or not.
        has_evalues: Whether confidences come from E-values; otherwise they are scores.
    """

    confidences: NDArray[np.float64]
    correct: NDArray[np.bool_]
    total: int
    has_evalues: bool

    @classmethod
    def of(cls, answers: Sequence[_Answer], *, has_evalues: bool) -> _Pool:
        return cls(
            np.concatenate([answer.confidences for answer in answers]),
            np.concatenate([answer.correct for answer in answers]),
            sum(len(answer.query.positives) for answer in answers),
            has_evalues,
        )

    @property
    def unit(self) -> Unit:
        return "E-value" if self.has_evalues else "score"

    def with_precision(self, least: float) -> OperatingPoint | None:
        return self._in_unit(operating_point(self.confidences, self.correct, self.total, least))

    def as_matches(self) -> OperatingPoint | None:
        if not self.has_evalues:
            return None
        return self._in_unit(at_threshold(self.confidences, self.correct, self.total, -math.log10(MATCH)))

    def _in_unit(self, point: OperatingPoint | None) -> OperatingPoint | None:
        """Convert the threshold from a confidence to the unit."""
        return point and replace(point, threshold=10.0**-point.threshold if self.has_evalues else point.threshold)


def _confidence(hit: Hit) -> float:
    return hit.score if hit.evalue is None else -math.log10(max(hit.evalue, _SMALLEST))


def _wrong_per_query(answers: Sequence[_Answer]) -> dict[float, float]:
    return {
        expected: fmean(int(np.sum(a.confidences[~a.correct] >= -math.log10(expected))) for a in answers)
        for expected in CHECKED
    }


def _by_edit(answers: Sequence[_Answer]) -> tuple[EditResult, ...]:
    groups: dict[str, list[_Answer]] = defaultdict(list)
    for answer in answers:
        groups[" + ".join(answer.query.edits) or UNEDITED].append(answer)
    return tuple(
        EditResult(
            edit=edit,
            queries=len(group),
            recall_at_1=fmean(recall_at(1, a.ids, a.query.positives) for a in group),
            relations=dict(Counter(filter(None, map(_relation, group))).most_common()),
        )
        for edit, group in sorted(groups.items())
    )


def _relation(answer: _Answer) -> str | None:
    best = answer.expected[0] if answer.expected else None
    return "not found" if best is None or best.decision == "none" else best.relation


def _thinned(curve: Curve) -> tuple[tuple[float, float], ...]:
    """The point of highest precision for each recall, thinned to at most ``_POINTS``."""
    rises = np.flatnonzero(np.diff(curve.recall, prepend=0.0) > 0)
    kept = rises[np.unique(np.linspace(0, len(rises) - 1, min(len(rises), _POINTS)).round().astype(int))]
    return tuple(zip(curve.recall[kept].tolist(), curve.precision[kept].tolist(), strict=True))


def _medians(timings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    stages = dict.fromkeys(stage for one in timings for stage in one)
    return {stage: median(one.get(stage, 0.0) for one in timings) for stage in stages}


def _worst(answers: Sequence[_Answer]) -> tuple[Mistake, ...]:
    mistakes = [(rank, answer) for answer in answers if (rank := _severity(answer)) is not None]
    mistakes.sort(key=lambda pair: pair[0], reverse=True)
    return tuple(Mistake(a.query, a.best, a.expected) for _, a in mistakes[:_MISTAKES])


def _severity(answer: _Answer) -> tuple[int, float] | None:
    """Sort key of a mistake; ``None`` if the result is correct, or wrong but reported as no match."""
    wrong = answer.wrong
    if wrong and wrong.decision == "match":
        return 4, _confidence(wrong)
    if wrong and wrong.rank == 1 and (wrong.decision == "possible" or answer.query.positives):
        return {"possible": 3, None: 3}.get(wrong.decision, 2), _confidence(wrong)
    if answer.query.positives and (not answer.expected or answer.expected[0].decision == "none"):
        return 1, _confidence(answer.best[0]) if answer.best else -math.inf
    return None

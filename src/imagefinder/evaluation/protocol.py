"""Searches with every query of a dataset and judges the answers."""

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
from imagefinder.core.results import Hit, Ranking, SearchResult
from imagefinder.evaluation.datasets import Dataset, Query
from imagefinder.evaluation.memory import forget_peak, peak_bytes
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
"""E-values that are checked; each is the number of wrong hits per query that it promises."""

Unit: TypeAlias = Literal["E-value", "score"]
"""What thresholds are: the highest E-value, or the lowest score, that is still taken for right."""

UNEDITED = "as it is"
"""Stands for the edit of queries that were not edited."""

_MISTAKES, _SHOWN, _POINTS = 12, 3, 200
_SMALLEST = 1e-300
"""Smaller E-values are no longer numbers."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How queries that were made by one kind of edit fared; only those with a right answer.

    Attributes:
        edit: What was done.
        queries: How many.
        recall_at_1: Part of them whose first hit is right.
        relations: What their best right hit was called -> how often; ``not found`` where nothing but chance spoke
            for it. Empty where hits are not called anything.
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
    """A query whose answer misleads: the first hit is wrong, a wrong one a match, or a right one nothing.

    Attributes:
        query: The query.
        hits: The best and the best wrong one; those to ignore are taken out, and ranks counted without them.
        expected: The right answers, the best ones first, with their ranks; empty where there is none.
    """

    query: Query
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
    """How one method did on one dataset.

    Attributes:
        dataset: Its name.
        method: Its name.
        ranking: See ``Collection.search``.
        fingerprint: Digest of what made the features.
        images: How many the gallery has.
        queries: How many were judged (those with a right answer).
        unanswerable: How many queries have no right answer.
        mean_average_precision: Mean over those with one.
        oxford_mean_average_precision: The same, as the revisited Oxford and Paris sets define it.
        recall_at_1: Part of them with a right answer as the first hit.
        recall_at_5: ... among the first 5.
        recall_at_10: ... among the first 10.
        micro_average_precision: Of one ranking of all hits of all queries, also of those without a right answer.
        unit: What thresholds are.
        at_99: The threshold of the highest recall with a precision of at least 0.99; ``None`` if there is none.
        at_90: The same for 0.9.
        as_matches: Precision and recall of E-values that are called a match; ``None`` without E-values.
        false_alarms: Queries without a right answer that got a hit called a match; ``None`` without E-values.
        wrong_per_query: E-value -> wrong hits per query up to it; where E-values are right, about as many.
            Counted on the queries without a right answer, or on all where there are none; empty without E-values.
        kinds: By edit; queries without one stand together.
        curve: (recall, precision) of falling thresholds, at most 200 points.
        median_seconds: Stage -> median over all queries.
        seconds: What all queries took together.
        peak_bytes: The most memory the process used meanwhile, all that it had loaded before included.
        mistakes: The worst ones, those that looked surest first.
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
    kinds: tuple[Kind, ...]
    curve: tuple[tuple[float, float], ...]
    median_seconds: Mapping[str, float]
    seconds: float
    peak_bytes: int | None
    mistakes: tuple[Mistake, ...]

    @property
    def recall_at_99(self) -> float:
        """The highest recall with a precision of at least 0.99; 0 where no threshold gives that."""
        return self.at_99.recall if self.at_99 else 0.0

    @property
    def recall_at_90(self) -> float:
        """The highest recall with a precision of at least 0.9; 0 where no threshold gives that."""
        return self.at_90.recall if self.at_90 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        points = {name: getattr(self, name) for name in ("at_99", "at_90", "as_matches")}
        return {name: getattr(self, name) for name in self.__slots__} | {
            **{name: point and point.to_dict() for name, point in points.items()},
            "wrong_per_query": {f"{expected:g}": wrong for expected, wrong in self.wrong_per_query.items()},
            "kinds": [kind.to_dict() for kind in self.kinds],
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
    """Index the gallery of a dataset, and nothing else of its folder, under the dataset's ids.

    Raises:
        OSError: a picture of the gallery is not there.
        UnknownMethodError: no such method.
        ModelMissingError: the weights of a method are not here.
    """
    root = os.path.abspath(dataset.root)  # noqa: PTH100 - as indexing does
    paths = ((image_id, os.path.join(root, image_id)) for image_id in dataset.images)  # noqa: PTH118 - likewise
    items = (file_item(path, os.stat(path), image_id, "") for image_id, path in paths)  # noqa: PTH116
    return collection.add_items(items, methods, progress)


# wide: gallery, dataset and method; the others are options of a search, named as in Collection.search.
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
    """Search with every query of a dataset in a collection of its images, under its ids, and of no others.

    Args:
        collection: The gallery.
        dataset: Queries and right answers.
        method: Name of a method, or ``auto``: all that the collection has, together.
        progress: Called with (done, total) after each query.
        ranking: See ``Collection.search``.
        mirror: See ``Collection.search``.
        evalues: See ``Collection.search``; without E-values scores are the measure of how sure a hit is.

    Raises:
        InputError: ``auto`` with the ranking ``matches``.
        SourceError: the dataset has no query with a right answer, or one that is no picture.
    """
    if not any(query.positives for query in dataset.queries):
        raise SourceError(f"{dataset.name} has no query with a right answer")

    def search(query: Query) -> SearchResult:
        return collection.search(
            query.path, method=method, k=len(dataset.images), ranking=ranking, mirror=mirror, evalues=evalues
        )

    forget_peak()
    started, answers = time.perf_counter(), []
    for answer in _answers(dataset.queries, search):
        answers.append(answer)
        if progress:
            progress(len(answers), len(dataset.queries))
    seconds = time.perf_counter() - started
    judged = [answer for answer in answers if answer.query.positives]
    lacking = [answer for answer in answers if not answer.query.positives]
    pool = _Pool.of(answers, has_evalues=evalues or ranking == "evidence")
    return Evaluation(
        dataset=dataset.name,
        method=method,
        ranking=ranking,
        fingerprint=answers[-1].fingerprint,
        images=len(dataset.images),
        queries=len(judged),
        unanswerable=len(lacking),
        mean_average_precision=_mean(average_precision, judged),
        oxford_mean_average_precision=_mean(revisited_oxford_average_precision, judged),
        recall_at_1=_mean(partial(recall_at, 1), judged),
        recall_at_5=_mean(partial(recall_at, 5), judged),
        recall_at_10=_mean(partial(recall_at, 10), judged),
        micro_average_precision=micro_average_precision(pool.strengths, pool.right, pool.total),
        unit=pool.unit,
        at_99=pool.with_precision(0.99),
        at_90=pool.with_precision(0.9),
        as_matches=pool.as_matches(),
        false_alarms=sum(a.has_match for a in lacking) if pool.has_evalues else None,
        wrong_per_query=_wrong_per_query(lacking or answers) if pool.has_evalues else {},
        kinds=_kinds(judged),
        curve=_thinned(precision_recall_curve(pool.strengths, pool.right, pool.total)),
        median_seconds=_medians([answer.timings for answer in answers]),
        seconds=seconds,
        peak_bytes=peak_bytes(),
        mistakes=_worst(answers),
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is kept of the answer to one query, those to ignore taken out.

    Attributes:
        query: The query.
        ids: Best first.
        strengths: ``(N,)`` how strongly each was reported: minus the logarithm of the E-value, or the score.
        right: ``(N,)`` bool.
        has_match: Whether any was called a match.
        best: The best hits and the best wrong one, ranks counted without the ignored ones.
        wrong: The best wrong one; ``None`` if there is none.
        expected: The best right ones.
        fingerprint: Digest of what made the features.
        timings: Stage -> seconds.
    """

    query: Query
    ids: list[str]
    strengths: NDArray[np.float64]
    right: NDArray[np.bool_]
    has_match: bool
    best: tuple[Hit, ...]
    wrong: Hit | None
    expected: tuple[Hit, ...]
    fingerprint: str
    timings: Mapping[str, float]


def _answers(queries: Iterable[Query], search: Callable[[Query], SearchResult]) -> Iterator[_Answer]:
    """What is kept of the answer to each query, one after the other."""
    for query in queries:
        try:
            result = search(query)
        except ImageError as error:
            raise SourceError(f"the query {query.path} cannot be used: {error.message}") from error
        yield _answer(query, result)


def _answer(query: Query, result: SearchResult) -> _Answer:
    kept = [hit for hit in result.hits if hit.id not in query.ignore]
    right = [hit.id in query.positives for hit in kept]
    ranked = [replace(hit, rank=rank) for rank, hit in enumerate(kept, 1)]
    wrong = next((hit for hit, is_right in zip(ranked, right, strict=True) if not is_right), None)
    return _Answer(
        query=query,
        ids=[hit.id for hit in kept],
        strengths=np.array([_strength(hit) for hit in kept], dtype=np.float64),
        right=np.array(right, dtype=np.bool_),
        has_match=any(hit.decision == "match" for hit in kept),
        best=tuple([*ranked[: _SHOWN - 1], wrong] if wrong and wrong.rank > _SHOWN else ranked[:_SHOWN]),
        wrong=wrong,
        expected=tuple(hit for hit, is_right in zip(ranked, right, strict=True) if is_right)[:_SHOWN],
        fingerprint=result.fingerprint,
        timings=dict(result.timings),
    )


def _mean(measure: Callable[[Sequence[str], frozenset[str]], float], judged: Sequence[_Answer]) -> float:
    """Mean over queries of a measure of (ids, right ids)."""
    return fmean(measure(answer.ids, answer.query.positives) for answer in judged)


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """The hits of all queries together.

    Attributes:
        strengths: ``(N,)`` how strongly each was reported.
        right: ``(N,)`` bool.
        total: How many right answers there are.
        has_evalues: Whether strengths are those of E-values; otherwise scores.
    """

    strengths: NDArray[np.float64]
    right: NDArray[np.bool_]
    total: int
    has_evalues: bool

    @classmethod
    def of(cls, answers: Sequence[_Answer], *, has_evalues: bool) -> _Pool:
        return cls(
            np.concatenate([answer.strengths for answer in answers]),
            np.concatenate([answer.right for answer in answers]),
            sum(len(answer.query.positives) for answer in answers),
            has_evalues,
        )

    @property
    def unit(self) -> Unit:
        return "E-value" if self.has_evalues else "score"

    def with_precision(self, least: float) -> OperatingPoint | None:
        return self._in_unit(operating_point(self.strengths, self.right, self.total, least))

    def as_matches(self) -> OperatingPoint | None:
        if not self.has_evalues:
            return None
        return self._in_unit(at_threshold(self.strengths, self.right, self.total, -math.log10(MATCH)))

    def _in_unit(self, point: OperatingPoint | None) -> OperatingPoint | None:
        """With the threshold as it is shown to people."""
        return point and replace(point, threshold=10.0**-point.threshold if self.has_evalues else point.threshold)


def _strength(hit: Hit) -> float:
    return hit.score if hit.evalue is None else -math.log10(max(hit.evalue, _SMALLEST))


def _wrong_per_query(answers: Sequence[_Answer]) -> dict[float, float]:
    return {
        expected: fmean(int(np.sum(a.strengths[~a.right] >= -math.log10(expected))) for a in answers)
        for expected in CHECKED
    }


def _kinds(answers: Sequence[_Answer]) -> tuple[Kind, ...]:
    by_edit: dict[str, list[_Answer]] = defaultdict(list)
    for answer in answers:
        by_edit[" + ".join(answer.query.edits) or UNEDITED].append(answer)
    return tuple(
        Kind(
            edit=edit,
            queries=len(of_kind),
            recall_at_1=fmean(recall_at(1, a.ids, a.query.positives) for a in of_kind),
            relations=dict(Counter(filter(None, map(_called, of_kind))).most_common()),
        )
        for edit, of_kind in sorted(by_edit.items())
    )


def _called(answer: _Answer) -> str | None:
    best = answer.expected[0] if answer.expected else None
    return "not found" if best is None or best.decision == "none" else best.relation


def _thinned(curve: Curve) -> tuple[tuple[float, float], ...]:
    """The first point of each recall, which has its highest precision; where there are many, some of them."""
    rises = np.flatnonzero(np.diff(curve.recall, prepend=0.0) > 0)
    kept = rises[np.unique(np.linspace(0, len(rises) - 1, min(len(rises), _POINTS)).round().astype(int))]
    return tuple(zip(curve.recall[kept].tolist(), curve.precision[kept].tolist(), strict=True))


def _medians(timings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    stages = dict.fromkeys(stage for one in timings for stage in one)
    return {stage: median(one.get(stage, 0.0) for one in timings) for stage in stages}


def _worst(answers: Sequence[_Answer]) -> tuple[Mistake, ...]:
    mistakes = [(rank, answer) for answer in answers if (rank := _how_bad(answer)) is not None]
    mistakes.sort(key=lambda pair: pair[0], reverse=True)
    return tuple(Mistake(a.query, a.best, a.expected) for _, a in mistakes[:_MISTAKES])


def _how_bad(answer: _Answer) -> tuple[int, float] | None:
    """For sorting; ``None`` if the answer does not mislead: right, or wrong and said to be nothing."""
    wrong = answer.wrong
    if wrong and wrong.decision == "match":
        return 4, _strength(wrong)
    if wrong and wrong.rank == 1 and (wrong.decision == "possible" or answer.query.positives):
        return {"possible": 3, None: 3}.get(wrong.decision, 2), _strength(wrong)
    if answer.query.positives and (not answer.expected or answer.expected[0].decision == "none"):
        return 1, _strength(answer.best[0]) if answer.best else -math.inf
    return None

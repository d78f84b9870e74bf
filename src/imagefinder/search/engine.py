"""One query, answered: extract, compare with every stored image, look closely at the best, judge, rank."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import get_args

from imagefinder.core.contracts import Shortlist, Store
from imagefinder.core.errors import InputError, MethodNotIndexedError
from imagefinder.core.method import Examiner, Method
from imagefinder.core.results import AUTO, Hit, Ranking, SearchResult, decision_of
from imagefinder.search import shortlisting
from imagefinder.search.background import Background
from imagefinder.search.examination import Found, examine, shortlist
from imagefinder.search.judgement import Judge, by_evidence, by_score, judge_of
from imagefinder.search.question import Asked, ask
from imagefinder.search.scoring import Scores, restricted, score, searched


@dataclass(slots=True)
class Stopwatch:
    """Seconds per stage of one query.

    Attributes:
        stages: Stage -> seconds, in the order they ran.
    """

    stages: dict[str, float] = field(default_factory=dict)
    _start: float = field(default_factory=time.perf_counter)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """The time since the lap before belongs to this stage."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._last
        self._last = now

    def total(self) -> Mapping[str, float]:
        """The stages and their ``total``."""
        return {**self.stages, "total": time.perf_counter() - self._start}


def search(
    store: Store,
    methods: Sequence[Method],
    asked: Asked,
    *,
    k: int,
    watch: Stopwatch,
    order: Ranking = "matches",
    mirror: bool = False,
    examiner: Examiner | None = None,
    background: Background | None = None,
    threads: int = 1,
    allowed: Set[str] | None = None,
    shortlists: Mapping[str, Shortlist] | None = None,
) -> SearchResult:
    """The ``k`` images of a store that agree best with the query; every image is scored, or every candidate.

    Args:
        store: Holds the gallery.
        methods: One, or, for a ranking by evidence, those that answer together.
        asked: The query; if it is a stored image, that is left out of the answer.
        k: How many hits at most, at least 1. The first hits do not depend on it.
        watch: Gets the stages ``extract``, ``match`` and, for a ranking by evidence, ``verify`` and ``judge``.
        order: ``matches``: by score. ``evidence``: by E-value; the best by each method's score are looked at for
            what else speaks for them.
        mirror: Compare with the mirror image of the query too; the higher score counts.
        examiner: Looks closely; needed for ``evidence``.
        background: What chance does in this store; needed for ``evidence``. With ``matches``, it gives E-values.
        threads: Candidates looked at at once.
        allowed: Ids of the only images that are asked; E-values are about these. ``None``: all.
        shortlists: Method -> what proposes candidates; only they are scored then. ``None``: all images are.

    Raises:
        InputError: ``k`` is below 1, no such order.
        ValueError: a ranking by evidence without what it needs, or one by matches of several methods.
        UnknownImageError: no image of that id.
        MethodNotIndexedError: there are images, but none has features of this method.
        FingerprintMismatchError: the stored features were made differently.
        ModelMissingError: the query needs a network whose weights are not here.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    if order not in get_args(Ranking):
        raise InputError(f"there is no ranking {order!r}", hint=f"rankings: {', '.join(get_args(Ranking))}")
    if order == "matches" and len(methods) != 1:
        raise ValueError("the plain order is that of one method")
    questions = [(method, ask(store, method, asked)) for method in methods]
    watch.lap("extract")
    near = order == "evidence"
    if shortlists is None:
        scored = [
            score(store, method, question, background, mirror=mirror, near=near) for method, question in questions
        ]
        if allowed is not None:
            scored = [restricted(scores, allowed) for scores in scored]
    else:
        scored = shortlisting.score(
            store, questions, shortlists, background, k=k, mirror=mirror, allowed=allowed, near=near
        )
    watch.lap("match")
    found: Mapping[str, Found] = {}
    if order == "matches":
        hits = by_score(scored[0], asked, background, k)
    elif examiner is None or background is None:
        raise ValueError("a ranking by evidence needs an examiner and a background")
    else:
        best = shortlist(scored, asked)
        found = examine(store, examiner, scored, asked, best, mirror=mirror, threads=threads)
        watch.lap("verify")
        judge = judge_of(background, scored)
        hits = tuple(by_evidence(scored, asked, found, judge, examiner.relate, k=k))
        watch.lap("judge")
    return SearchResult(
        hits=hits,
        decision=decision_of(hits, order),
        method=methods[0].name if len(methods) == 1 else AUTO,
        mode="exact" if shortlists is None else "fast",
        fingerprints={method.name: question.fingerprint.digest for method, question in questions},
        searched=searched(scored),
        timings=watch.total(),
        ranking=order,
        verified=len(found),
        query_size=asked.whole,
        boxes=tuple((x + asked.corner[0], y + asked.corner[1], w, h) for x, y, w, h in asked.boxes),
    )


def assess(
    store: Store,
    methods: Sequence[Method],
    asked: Asked,
    image_id: str,
    *,
    mirror: bool,
    examiner: Examiner,
    background: Background,
    allowed: Set[str] | None = None,
    shortlists: Mapping[str, Shortlist] | None = None,
) -> tuple[Hit, Sequence[Scores], Judge]:
    """What a search, exact or by shortlists, would say of one image, looked at as closely as the best are.

    Of images that are not ``allowed`` only this one is asked.

    Raises:
        MethodNotIndexedError: the image has no features of these methods.
        FingerprintMismatchError, ModelMissingError: as ``search``.
    """
    questions = [(method, ask(store, method, asked)) for method in methods]
    some = None if allowed is None else {*allowed, image_id}
    if shortlists is None:
        scored = [score(store, method, question, background, mirror=mirror) for method, question in questions]
        if some is not None:
            scored = [restricted(scores, some) for scores in scored]
    else:
        scored = shortlisting.score(
            store, questions, shortlists, background, k=1, mirror=mirror, allowed=some, candidates=[image_id]
        )
    if not any(image_id in scores.rows for scores in scored):
        raise MethodNotIndexedError(methods[0].name, store.status([image_id])[image_id].methods, image_id)
    judge = judge_of(background, scored)
    found = examine(store, examiner, scored, asked, [image_id], mirror=mirror, threads=1)
    hits = by_evidence(scored, asked, found, judge, examiner.relate)
    return next(hit for hit in hits if hit.id == image_id), scored, judge

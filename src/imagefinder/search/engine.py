"""One query, answered: extract, compare with every stored image, look closely at the best, judge, rank."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.errors import InputError
from imagefinder.core.features import Features, LocalFeatures, RgbImage
from imagefinder.core.method import Examiner, Method
from imagefinder.core.results import Comparison, Evidence, Hit, MethodScore, Ranking, SearchResult
from imagefinder.images.resize import thumbnail
from imagefinder.search import background as chance
from imagefinder.search import ranking
from imagefinder.search.background import Background
from imagefinder.search.evidence import Scrutiny, moved
from imagefinder.search.judgement import Judge, decide
from imagefinder.search.question import Asked, Question, ask, views

AUTO = "auto"
"""Name of all methods of a collection together."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What one method says of all images.

    Attributes:
        method: The method.
        views: The query as it was compared: itself, and perhaps its mirror image.
        rows: Image id -> row of the arrays.
        values: ``(B,)``, what the matcher returned.
        standard: ``(B,)``, standardised; zeros where nothing is known about chance.
    """

    method: Method
    views: Sequence[Question]
    rows: Mapping[str, int]
    values: NDArray[np.float64]
    standard: NDArray[np.float64]


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
) -> SearchResult:
    """The ``k`` images of a store that agree best with the query; every image is scored.

    Args:
        store: Holds the gallery.
        methods: One, or, for a ranking by evidence, those that answer together.
        asked: The query; if it is a stored image, that is left out of the answer.
        k: How many hits at most, at least 1. The first hits do not depend on it.
        watch: Gets the stages ``extract``, ``match`` and, for a ranking by evidence, ``verify`` and ``judge``.
        order: ``matches``: by score. ``evidence``: by E-value; the ``ranking.SHORTLIST`` best by each method's score
            are looked at for what else speaks for them.
        mirror: Compare with the mirror image of the query too; the higher score counts.
        examiner: Looks closely; needed for ``evidence``.
        background: What chance does in this store; needed for ``evidence``. With ``matches``, it gives E-values.
        threads: Candidates looked at at once.

    Raises:
        InputError: ``k`` is below 1, no such order.
        UnknownImageError: no image of that id.
        MethodNotIndexedError: there are images, but none has features of this method.
        FingerprintMismatchError: the stored features were made differently.
        ModelMissingError: the query needs a network whose weights are not here.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    if order not in get_args(Ranking):
        raise InputError(f"there is no ranking {order!r}", hint=f"rankings: {', '.join(get_args(Ranking))}")
    questions = [(method, ask(store, method, asked)) for method in methods]
    watch.lap("extract")
    scored = [_score(store, method, question, background, mirror=mirror) for method, question in questions]
    watch.lap("match")
    searched = len({image_id for scores in scored for image_id in scores.rows})
    found: dict[str, _Found] = {}
    if order == "matches" or background is None or examiner is None:
        (scores,) = scored
        judge = background and Judge(background, searched, tests=1)
        hits = _by_score(scores, asked, judge, k)
    else:
        shortlist = _shortlist(scored, asked)
        found = _look(store, examiner, scored, asked, shortlist, mirror=mirror, threads=threads)
        watch.lap("verify")
        judge = Judge(background, searched, tests=1 + sum(_counts(scores, scored) for scores in scored))
        hits = _by_evidence(store, examiner, scored, asked, found, judge, k)
        watch.lap("judge")
    return SearchResult(
        hits=hits,
        method=methods[0].name if len(methods) == 1 else AUTO,
        mode="exact",
        fingerprints={method.name: question.fingerprint.digest for method, question in questions},
        searched=searched,
        timings=watch.total(),
        ranking=order,
        verified=len(found),
        boxes=tuple((x + asked.corner[0], y + asked.corner[1], w, h) for x, y, w, h in asked.boxes),
    )


def _score(
    store: Store, method: Method, question: Question, background: Background | None, *, mirror: bool
) -> Scores:
    """Compare with every image of the store."""
    asked = views(method, question, mirror=mirror)
    known = background.methods.get(method.name) if background else None
    ids: list[str] = []
    values, hubness = [np.empty(0)], []
    for block in store.scan(method.name) if question.indexed else ():
        ids += block.ids
        values.append(np.max([method.matcher.score(view.features, block.features) for view in asked], axis=0))
        if known and known.centre is not None:
            hubness.append(chance.hubness(method, known, block.features))
    scores = np.concatenate(values)
    standard = np.zeros(len(scores))
    if known:
        standard = chance.standardised(scores, np.concatenate(hubness) if hubness else None, known)
    return Scores(method, asked, dict(zip(ids, range(len(ids)), strict=True)), scores, standard)


def _by_score(scores: Scores, asked: Asked, judge: Judge | None, k: int) -> tuple[Hit, ...]:
    """The plain order."""
    ids = list(scores.rows)
    # One more than wanted: a query by id finds itself and is left out.
    ranked = [pair for pair in ranking.best(ids, scores.values, k + 1) if pair[0] != asked.id][:k]
    hits = []
    for rank, (image_id, score) in enumerate(ranked, 1):
        if judge is None:
            hits.append(Hit(rank, image_id, score))
            continue
        expected = judge.of_score(scores.method.name, float(scores.standard[scores.rows[image_id]]))
        expected = judge.together({scores.method.name: expected})
        decision = decide(expected, None, judge.searched)
        hits.append(Hit(rank, image_id, score, evalue=10.0**expected, decision=decision))
    return tuple(hits)


@dataclass(frozen=True, slots=True)
class _Found:
    """What close looks at one candidate saw: by each method's own keypoints, and at its thumbnail."""

    keypoints: Mapping[str, Evidence]
    closer: Evidence | None = None


def _shortlist(scored: Sequence[Scores], asked: Asked) -> list[str]:
    """The best of each method, without the query itself."""
    chosen: dict[str, None] = {}
    for scores in scored:
        many = ranking.SHORTLIST if scores.method.verifier else ranking.SHORTLIST_WITHOUT_KEYPOINTS
        values = scores.values if scores.method.verifier else scores.standard
        chosen.update((image_id, None) for image_id, _ in ranking.best(list(scores.rows), values, many))
    chosen.pop(asked.id, None)
    return list(chosen)


def _look(
    store: Store,
    examiner: Examiner,
    scored: Sequence[Scores],
    asked: Asked,
    shortlist: Sequence[str],
    *,
    mirror: bool,
    threads: int,
) -> dict[str, _Found]:
    """What speaks for each candidate; those that nothing speaks for yet get a closer look, the best first."""
    scrutiny = Scrutiny(store, examiner, asked, mirror=mirror)
    local = [scores for scores in scored if scores.method.verifier]

    def keypoints(image_id: str) -> _Found:
        seen = {
            scores.method.name: scrutiny.keypoints(scores.method, scores.views, image_id)
            for scores in local
            if image_id in scores.rows
        }
        return _Found({name: evidence for name, evidence in seen.items() if evidence})

    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(shortlist, pool.map(keypoints, shortlist), strict=True))
        # Networks propose best what has too few keypoints of its own.
        lead = min(scored, key=lambda scores: scores.method.verifier is not None)
        unexplained = [image_id for image_id in shortlist if not found[image_id].keypoints]
        order = [image_id for image_id in _best_first(lead, unexplained)][: chance.CLOSER]
        for image_id, evidence in zip(order, pool.map(scrutiny.closer_look, order), strict=True):
            found[image_id] = _Found({}, evidence)
    return found


def _best_first(scores: Scores, ids: Sequence[str]) -> list[str]:
    known = [image_id for image_id in ids if image_id in scores.rows]
    return sorted(known, key=lambda image_id: (-scores.standard[scores.rows[image_id]], image_id))


def _counts(scores: Scores, scored: Sequence[Scores]) -> bool:
    """Whether a method's score is a test of its own.

    Matches of keypoints are counted to find candidates; what they are worth, geometry says. Where all methods have
    keypoints their scores still order what no geometry speaks for.
    """
    return scores.method.verifier is None or all(other.method.verifier for other in scored)


def _by_evidence(
    store: Store,
    examiner: Examiner,
    scored: Sequence[Scores],
    asked: Asked,
    found: Mapping[str, _Found],
    judge: Judge,
    k: int,
) -> tuple[Hit, ...]:
    """Every image by its E-value, the smallest first."""
    sure = _same_pictures(store, asked, found)
    judged: dict[str, float] = {}
    evidence: dict[str, Evidence] = {}
    for scores in scored:
        if not _counts(scores, scored):
            continue
        tail = judge.background.methods[scores.method.name].score
        expected = np.log10(max(judge.searched, 1)) + tail.log10_p(scores.standard)
        if scores.method.verifier:
            # Without a common geometry many matches are no match yet.
            expected = np.maximum(expected, 0.0)
        for image_id, row in scores.rows.items():
            judged[image_id] = min(judged.get(image_id, np.inf), float(expected[row]))
    for image_id, seen in found.items():
        tests = {name: (judge.of_geometry(name, one), one) for name, one in seen.keypoints.items()}
        if seen.closer:
            tests["closer look"] = judge.of_closer_look(seen.closer), seen.closer
        for expected_of_it, one in sorted(tests.values(), key=lambda pair: pair[0]):
            evidence.setdefault(image_id, one)
            judged[image_id] = min(judged.get(image_id, np.inf), expected_of_it)
    together = {image_id: judge.together({"best": value}) for image_id, value in judged.items()}
    together.update(dict.fromkeys(sure, -300.0))
    together.pop(asked.id, None)
    strength = {image_id: sum(_standard(scores, image_id) for scores in scored) for image_id in together}
    ranked = sorted(together, key=lambda image_id: (together[image_id], -strength[image_id], image_id))
    hits = []
    for rank, image_id in enumerate(ranked[:k], 1):
        one_found, expected_here = evidence.get(image_id), together[image_id]
        decision = decide(expected_here, one_found, judge.searched)
        each = {
            scores.method.name: MethodScore(
                float(scores.values[scores.rows[image_id]]),
                10.0 ** min(np.log10(max(judge.searched, 1)), judge.of_score(scores.method.name, _standard(scores, image_id))),
            )
            for scores in scored
            if image_id in scores.rows
        }
        alone = each.get(scored[0].method.name) if len(scored) == 1 else None
        hits.append(
            Hit(
                rank,
                image_id,
                score=alone.score if alone else -expected_here,
                evidence=one_found and moved(one_found, asked.corner),
                evalue=10.0**expected_here,
                decision=decision,
                relation=examiner.relate(one_found, decision, image_id in sure),
                methods=each,
            )
        )
    return tuple(hits)


def _standard(scores: Scores, image_id: str) -> float:
    row = scores.rows.get(image_id)
    return -np.inf if row is None else float(scores.standard[row])


def _same_pictures(store: Store, asked: Asked, candidates: Mapping[str, _Found]) -> set[str]:
    """Those with the same bytes, or with the same size and the same thumbnail to the last pixel."""
    same: set[str] = set()
    small: bytes | None = None
    for image_id, status in store.status(list(candidates)).items():
        if asked.sha256 and status.sha256 == asked.sha256:
            same.add(image_id)
            continue
        record = store.get(image_id)
        if (record.width, record.height) != asked.size or asked.boxes:
            continue
        if small is None:
            small = store.thumbnail(asked.id) if asked.id else thumbnail(asked.pixels)
        if small and store.thumbnail(image_id) == small:
            same.add(image_id)
    return same


def compare(method: Method, a: RgbImage, b: RgbImage, *, watch: Stopwatch) -> Comparison:
    """Score one picture against another.

    Raises:
        ModelMissingError: the weights of the method are not here.
    """
    features_a, features_b = method.extractor.extract([a]), method.extractor.extract([b])
    watch.lap("extract")
    score = float(method.matcher.score(features_a, features_b)[0])
    watch.lap("match")
    return Comparison(
        method=method.name,
        fingerprint=method.extractor.fingerprint().digest,
        score=score,
        features_a=_rows(features_a),
        features_b=_rows(features_b),
        timings=watch.total(),
    )


def _rows(features: Features) -> int:
    return len(features.descriptors) if isinstance(features, LocalFeatures) else len(features)

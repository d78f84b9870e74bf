"""One query, answered: extract, compare with every stored image, rank, verify."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.errors import InputError
from imagefinder.core.features import Features, LocalFeatures, RgbImage
from imagefinder.core.method import Method
from imagefinder.core.results import Comparison, Evidence, Hit, Ranking, SearchResult
from imagefinder.search import ranking
from imagefinder.search.evidence import gather, verifier_of
from imagefinder.search.question import ask, views


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
    method: Method,
    query: RgbImage | str,
    *,
    k: int,
    watch: Stopwatch,
    order: Ranking = "matches",
    mirror: bool = False,
) -> SearchResult:
    """The ``k`` images of a store that agree best with the query; every image is scored.

    Args:
        store: Holds the gallery.
        method: Extracts from the query and compares.
        query: A picture, or the id of a stored image, which is then left out of the answer.
        k: How many hits at most, at least 1.
        watch: Gets the stages ``extract`` and ``match``, and ``verify`` if that is done.
        order: ``matches``: by score. ``evidence``: of the ``ranking.SHORTLIST`` best by score, those that share a
            geometry with the query come first.
        mirror: Compare with the mirror image of the query too; the higher score counts.

    Raises:
        InputError: ``k`` is below 1, no such order, or the method or its features cannot be verified.
        UnknownImageError: no image of that id.
        MethodNotIndexedError: there are images, but none has features of this method.
        FingerprintMismatchError: the stored features were made differently.
        ModelMissingError: the query needs a network whose weights are not here.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    verify = _is_verified(order, method)
    if mirror and not verify:
        raise InputError("mirrored copies are found by the ranking 'evidence' only")
    question = ask(store, method, query)
    asked = views(method, question, mirror=mirror)
    watch.lap("extract")
    ranked: ranking.Ranked = []
    searched = 0
    # One more than wanted: a query by id finds itself and is left out below.
    wanted = 1 + (max(k, ranking.SHORTLIST) if verify else k)
    for block in store.scan(method.name) if question.indexed else ():
        scores = np.max([method.matcher.score(view.features, block.features) for view in asked], axis=0)
        ranked = ranking.merge([ranked, ranking.best(block.ids, scores, wanted)], wanted)
        searched += len(block.ids)
    ranked = [pair for pair in ranked if not (question.id and pair[0] == question.id)]
    watch.lap("match")
    found: dict[str, Evidence | None] = {}
    if verify:
        found = gather(store, method, asked, [image_id for image_id, _ in ranked[: ranking.SHORTLIST]])
        ranked = ranking.by_evidence(ranked, found)
        watch.lap("verify")
    return SearchResult(
        hits=tuple(
            Hit(rank, image_id, score, found.get(image_id)) for rank, (image_id, score) in enumerate(ranked[:k], 1)
        ),
        method=method.name,
        mode="exact",
        fingerprints={method.name: question.fingerprint.digest},
        searched=searched,
        timings=watch.total(),
        ranking=order,
        verified=len(found),
    )


def _is_verified(order: str, method: Method) -> bool:
    if order not in get_args(Ranking):
        raise InputError(f"there is no ranking {order!r}", hint=f"rankings: {', '.join(get_args(Ranking))}")
    if order == "evidence":
        verifier_of(method)
    return order == "evidence"


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

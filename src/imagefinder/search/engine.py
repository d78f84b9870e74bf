"""One query, answered: extract, compare with every stored image, rank."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagefinder.core.contracts import Store
from imagefinder.core.errors import FingerprintMismatchError, InputError, MethodNotIndexedError
from imagefinder.core.features import Features, LocalFeatures, RgbImage
from imagefinder.core.method import Method
from imagefinder.core.results import Comparison, Hit, SearchResult
from imagefinder.search import ranking


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


def search(store: Store, method: Method, query: RgbImage | str, *, k: int, watch: Stopwatch) -> SearchResult:
    """The ``k`` images of a store that agree best with the query; every image is scored.

    Args:
        store: Holds the gallery.
        method: Extracts from the query and compares.
        query: A picture, or the id of a stored image, which is then left out of the answer.
        k: How many hits at most, at least 1.
        watch: Gets the stages ``extract`` and ``match``.

    Raises:
        InputError: ``k`` is below 1.
        UnknownImageError: no image of that id.
        MethodNotIndexedError: there are images, but none has features of this method.
        FingerprintMismatchError: the stored features were made differently.
        ModelMissingError: the query needs a network whose weights are not here.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    info = store.info()
    stored = info.methods.get(method.name)
    if stored is None and info.images:
        if not isinstance(query, str):
            method.extractor.fingerprint()  # missing weights are the cause, so they are the error
        raise MethodNotIndexedError(method.name, info.methods)
    if isinstance(query, str):
        features = store.features(query, method.name)
        fingerprint = stored.fingerprint if stored else method.extractor.fingerprint()
    else:
        fingerprint = method.extractor.fingerprint()
        if stored and stored.fingerprint != fingerprint:
            raise FingerprintMismatchError(
                f"the stored {method.name} features were made differently: "
                f"{stored.fingerprint.difference(fingerprint)} (stored against present)",
                hint="use the settings or weights they were made with, or index into a new collection",
            )
        features = method.extractor.extract([query])
    watch.lap("extract")
    ranked: ranking.Ranked = []
    searched = 0
    for block in store.scan(method.name) if stored else ():
        scores = method.matcher.score(features, block.features)
        # One more than asked for: a query by id finds itself and is left out below.
        ranked = ranking.merge([ranked, ranking.best(block.ids, scores, k + 1)], k + 1)
        searched += len(block.ids)
    hits = [pair for pair in ranked if not (isinstance(query, str) and pair[0] == query)][:k]
    watch.lap("match")
    return SearchResult(
        hits=tuple(Hit(rank, image_id, score) for rank, (image_id, score) in enumerate(hits, 1)),
        method=method.name,
        mode="exact",
        fingerprint=fingerprint.digest,
        searched=searched,
        timings=watch.total(),
    )


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

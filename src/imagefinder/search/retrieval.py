"""Retrieval: scores of the images of a store, and the candidates for spatial verification.

``exact`` mode scores every image. ``fast`` mode has two stages: ANN indexes propose candidates, which are then
scored exactly. Scores are identical in both modes; only the set of scored images differs. Scores are standardised
(``MethodNullModel.standardise``) against all images in exact mode, and against a sample in fast mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import AnnIndex, Store
from imagefinder.core.features import Features, concatenate
from imagefinder.core.method import Method
from imagefinder.search import ranking
from imagefinder.search.allowed import Allowed
from imagefinder.search.encoding import EncodedQuery, QueryImage, augment
from imagefinder.search.null_model import NullModel
from imagefinder.search.scanned import Scanned
from imagefinder.search.scoring import Scorer

RERANK_DEPTH = 50
"""Number of top-ranked images verified for a method with keypoints."""

RERANK_DEPTH_GLOBAL = 20
"""Number of top-ranked images verified for any other method."""

NEAR_ONE_OF = 150
"""At least one image out of this many is verified for its near matches: in a large collection, hundreds of wrong
images have more of them by chance than an image that shows a small part of the query."""

FLIPPED_RATIO = 1.25
"""The mirror image of the query is verified if it has this many times the matches of the query itself."""

PROPOSED = 64
"""Number of images that an ANN index proposes for each augmentation of a query."""

SAMPLE_LOCAL, SAMPLE_GLOBAL = 48, 1000
"""Size of the sample that fast mode standardises scores against."""


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """The images to search.

    Attributes:
        store: The store of the images.
        null_model: Null model of the collection; ``None`` if E-values are not required.
        allowed: The images to search, which E-values refer to; ``None``: all images.
        ann_indexes: Method name -> ANN index; ``None``: score every image.
        stacks: Whether versions of one picture count as one image.
    """

    store: Store
    null_model: NullModel | None = None
    allowed: Allowed | None = None
    ann_indexes: Mapping[str, AnnIndex] | None = None
    stacks: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """The scores to compute.

    Attributes:
        k: Number of hits; ANN indexes propose at least as many images.
        mirror: Also compare the mirror image of the query, if a method can flip features.
        near: Also count near matches, if a matcher can.
        rerank_depth: Number of top-ranked images of each method to verify.
        only: Id of a single image to score, while E-values still refer to all images; ``None``: score all images.
    """

    k: int = 1
    mirror: bool = False
    near: bool = False
    rerank_depth: int = RERANK_DEPTH
    only: str | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of images by one method.

    Attributes:
        method: The method.
        queries: The augmentations of the query: the query itself, and possibly its mirror image.
        ids: Ids of the images, in the order of the arrays.
        values: ``(B,)`` float64, score of the matcher; the maximum over the augmentations.
        likely: ``(B,)`` int64, index of the augmentation to verify.
        standard: ``(B,)`` float64, standardised scores; zeros without a null model.
        near: ``(B,)`` float64, number of near matches; ``None`` if they were not counted.
        eligible: Fast mode: number of images that the ANN indexes cover. Exact mode: ``None``.
        images: The features of the images; ``None`` if they were not kept.
    """

    method: Method
    queries: Sequence[EncodedQuery]
    ids: Sequence[str]
    values: NDArray[np.float64]
    likely: NDArray[np.int64]
    standard: NDArray[np.float64]
    near: NDArray[np.float64] | None = None
    eligible: int | None = None
    images: Scanned | None = None

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Image id -> row of the arrays."""
        return dict(zip(self.ids, range(len(self.ids)), strict=True))

    def features_of(self, ids: Iterable[str]) -> dict[str, Features]:
        """Id -> features as a batch of one; unknown images, and those removed meanwhile, are left out.

        Raises:
            CollectionCorruptError: features do not match their checksum.
        """
        return self.images.features(ids) if self.images else {}

    def matches_of(self, image_id: str, view: int) -> NDArray[np.int64] | None:
        """Its matches with an augmentation of the query; ``None`` if they were not kept for ``features_of``."""
        return self.images.matches(image_id, view) if self.images else None

    def query_for(self, image_id: str) -> EncodedQuery:
        """The augmentation of the query to verify against an image; the image must have a row."""
        return self.queries[int(self.likely[self.rows[image_id]])]

    def standard_of(self, image_id: str) -> float:
        """The standardised score of one image; minus infinity if it has no row."""
        row = self.rows.get(image_id)
        return -np.inf if row is None else float(self.standard[row])


def retrieve(gallery: Gallery, encoded: Sequence[tuple[Method, EncodedQuery]], wanted: Wanted) -> list[Scores]:
    """Score images by each method.

    Args:
        gallery: The images to search.
        encoded: The methods, each with the query encoded by it.
        wanted: The scores to compute.
    """
    methods = [method for method, _ in encoded]
    models = gallery.null_model.methods if gallery.null_model else {}
    scorers = [
        Scorer(
            gallery.store,
            (method, augment(method, query, mirror=wanted.mirror)),
            models.get(method.name),
            near=wanted.near,
            sparing=not is_test(method, methods),
        )
        for method, query in encoded
    ]
    if gallery.ann_indexes is not None:
        return _two_stage(gallery, scorers, gallery.ann_indexes, wanted)
    allowed = _allowed(gallery, wanted)
    scores = [_exact(gallery.store, scorer) for scorer in scorers]
    if allowed is None:
        return scores
    if allowed.ids is None:
        raise ValueError("an exact search with a filter requires the ids of all matching images")
    return [restrict(one, allowed.ids) for one in scores]


def is_test(method: Method, methods: Sequence[Method]) -> bool:
    """Whether the score of a method counts as a test in a search with these methods.

    The number of keypoint matches only selects candidates, which geometry then tests. But if all methods have
    keypoints, their scores still rank the images without a geometry.
    """
    return method.verifier is None or all(other.verifier for other in methods)


def candidates(scores: Sequence[Scores], image: QueryImage, rerank_depth: int | None = None) -> list[str]:
    """Select the candidates for verification: the top-ranked images of each method, by score and by near matches.

    In a large collection, many wrong images have more matches by chance than an image that shows a small part of
    the query; near matches occur by chance far more rarely. A stored query image is not a candidate.

    Args:
        scores: Scores by each method.
        image: The query image.
        rerank_depth: Number of top-ranked images of each method; ``None``: the default of its kind.
    """
    chosen: dict[str, None] = {}
    for one in scores:
        depth = rerank_depth or (RERANK_DEPTH if one.method.verifier else RERANK_DEPTH_GLOBAL)
        ids = one.ids
        best = ranking.best(ids, one.values if one.method.verifier else one.standard, depth)
        chosen.update((image_id, None) for image_id, _ in best)
        if one.near is not None:
            nearest = ranking.best(ids, one.near, max(depth, len(ids) // NEAR_ONE_OF))
            chosen.update((image_id, None) for image_id, near in nearest if near)
    chosen.pop(image.id, None)
    return list(chosen)


def searched(scores: Sequence[Scores]) -> int:
    """Number of images that were scored by any method or, in fast mode, covered by the ANN indexes."""
    eligible = [one.eligible for one in scores if one.eligible is not None]
    if eligible:
        return max(eligible)
    return len(align(scores)[0])


def align(scores: Sequence[Scores]) -> tuple[Sequence[str], list[NDArray[np.int64]]]:
    """The ids of all scored images, and for each method their rows; -1 for an image without a score."""
    ids = scores[0].ids
    if all(one.ids == ids for one in scores):  # usually all images have features of all methods
        return ids, [np.arange(len(ids)) for _ in scores]
    ids = list(dict.fromkeys(image_id for one in scores for image_id in one.ids))
    return ids, [np.array([one.rows.get(image_id, -1) for image_id in ids], dtype=np.int64) for one in scores]


def _allowed(gallery: Gallery, wanted: Wanted) -> Allowed | None:
    if gallery.allowed is None or wanted.only is None:
        return gallery.allowed
    return gallery.allowed.including(gallery.store, wanted.only)


# -- exact -----------------------------------------------------------------------------------------------------


def _exact(store: Store, scorer: Scorer) -> Scores:
    """Score every image of the store."""
    if scorer.is_indexed:
        scorer.scan(store.scan(scorer.method.name))
    return _scores(scorer, scorer.standard())


def _scores(scorer: Scorer, standard: NDArray[np.float64], eligible: int | None = None) -> Scores:
    """The scores of all images compared."""
    best = scorer.each.max(axis=0)
    return Scores(
        scorer.method,
        scorer.queries,
        scorer.images.ids,
        best,
        _likely(scorer.each, best),
        standard,
        near=None if scorer.near is None else scorer.near.max(axis=0),
        eligible=eligible,
        images=scorer.images,
    )


def _likely(each: NDArray[np.float64], best: NDArray[np.float64]) -> NDArray[np.int64]:
    """The augmentation to verify: the query itself, unless its mirror image has clearly more matches.

    By chance, both have about the same number.

    Args:
        each: ``(queries, B)`` float64, scores of all augmentations.
        best: ``(B,)`` float64, the highest score of each image.
    """
    likely: NDArray[np.int64] = np.where(best > FLIPPED_RATIO * each[0], each.argmax(axis=0), 0)
    return likely


def restrict(scores: Scores, allowed: Set[str]) -> Scores:
    """The scores of the allowed images."""
    rows = np.array([row for row, image_id in enumerate(scores.ids) if image_id in allowed], dtype=np.int64)
    return replace(
        scores,
        ids=[scores.ids[row] for row in rows.tolist()],
        values=scores.values[rows],
        likely=scores.likely[rows],
        near=None if scores.near is None else scores.near[rows],
        standard=scores.standard[rows],
    )


# -- two stages ------------------------------------------------------------------------------------------------


def _two_stage(
    gallery: Gallery, scorers: Sequence[Scorer], ann_indexes: Mapping[str, AnnIndex], wanted: Wanted
) -> list[Scores]:
    """Score the images that the ANN indexes of all methods propose, each of them once."""
    store, allowed = gallery.store, _allowed(gallery, wanted)
    indexed = [one for one in scorers if one.is_indexed]
    many = max(PROPOSED, 2 * wanted.k, wanted.rerank_depth)
    for one in indexed:
        _score_proposed(one, ann_indexes[one.method.name], many, allowed)
    if len(indexed) > 1:  # every method scores the best images of the others
        best = [ranking.best(one.images.ids, one.each.max(axis=0), wanted.rerank_depth) for one in indexed]
        chosen = list(dict.fromkeys(image_id for ranked in best for image_id, _ in ranked))
        for one in indexed:
            _complete(one, chosen)
    if wanted.only is not None:
        for one in indexed:
            _complete(one, [wanted.only])
    info = store.info()
    eligible = min(info.images, sum(info.methods[one.method.name].images for one in indexed))
    if allowed is not None:
        eligible = min(eligible, allowed.count)
    found = []
    for one in scorers:
        sample = None
        if one.is_indexed:
            sample = ann_indexes[one.method.name].sample(SAMPLE_LOCAL if _is_local(one.method) else SAMPLE_GLOBAL)
        standard = one.standard(sample.features if sample else None, eligible)
        found.append(_scores(one, standard, eligible))
    return found


def _score_proposed(scorer: Scorer, ann_index: AnnIndex, many: int, allowed: Allowed | None) -> None:
    """Score the candidates that the ANN index of one method proposes for all augmentations of the query."""
    store, method = scorer.store, scorer.method
    if allowed is not None and allowed.ids is not None:
        scorer.scan([store.select(method.name, sorted(allowed.ids))], keep=True)
        return
    where = None if allowed is None else allowed.where
    features = concatenate(method.extractor.spec, [query.features for query in scorer.queries])
    proposed = [proposals.keys for proposals in ann_index.propose(features, many, where=where)]
    keys, block = store.load(method.name, np.unique(np.concatenate(proposed)), where=where)
    scorer.add(block, {block.ids[row] for row in np.flatnonzero(np.isin(keys, proposed[-1])).tolist()})


def _complete(scorer: Scorer, ids: Sequence[str]) -> None:
    """Score the images among these that were not scored yet."""
    scored = set(scorer.images.ids)
    missing = [image_id for image_id in ids if image_id not in scored]
    if missing:
        scorer.add(scorer.store.select(scorer.method.name, missing))


def _is_local(method: Method) -> bool:
    return method.extractor.spec.kind == "local"

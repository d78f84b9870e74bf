"""Retrieval: scores of the images of a store, and the candidates for spatial verification.

``exact`` mode scores every image. ``fast`` mode has two stages: ANN indexes propose candidates, which are then
scored exactly. Scores are identical in both modes; only the set of scored images differs. Scores are standardised
(``MethodNullModel.standardise``) against all images in exact mode, and against a sample in fast mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import AnnIndex, NearMatcher, Store
from imagefinder.core.features import Features, concatenate
from imagefinder.core.method import Method
from imagefinder.core.records import GalleryBlock
from imagefinder.search import ranking
from imagefinder.search.allowed import Allowed
from imagefinder.search.encoding import EncodedQuery, QueryImage, augment
from imagefinder.search.null_model import NullModel

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
    """

    store: Store
    null_model: NullModel | None = None
    allowed: Allowed | None = None
    ann_indexes: Mapping[str, AnnIndex] | None = None


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
        features: Features of all rows; ``None`` if they were not kept.
    """

    method: Method
    queries: Sequence[EncodedQuery]
    ids: Sequence[str]
    values: NDArray[np.float64]
    likely: NDArray[np.int64]
    standard: NDArray[np.float64]
    near: NDArray[np.float64] | None = None
    eligible: int | None = None
    features: Features | None = None

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Image id -> row of the arrays."""
        return dict(zip(self.ids, range(len(self.ids)), strict=True))

    def features_of(self, image_id: str) -> Features | None:
        """Features of one image as a batch of one; ``None`` if they were not kept."""
        return self.features.image(self.rows[image_id]) if self.features is not None else None

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
    queries = [augment(method, query, mirror=wanted.mirror) for method, query in encoded]
    compared = [(method, each) for (method, _), each in zip(encoded, queries, strict=True)]
    if gallery.ann_indexes is not None:
        return _two_stage(gallery, compared, gallery.ann_indexes, wanted)
    scores = [_exact(gallery, method, each, near=wanted.near) for method, each in compared]
    allowed = _allowed(gallery, wanted)
    if allowed is None:
        return scores
    if allowed.ids is None:
        raise ValueError("an exact search with a filter requires the ids of all matching images")
    return [restrict(one, allowed.ids) for one in scores]


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


def _exact(gallery: Gallery, method: Method, queries: Sequence[EncodedQuery], *, near: bool) -> Scores:
    """Score every image of the store."""
    model = gallery.null_model.methods.get(method.name) if gallery.null_model else None
    ids: list[str] = []
    values, nears, hubs = [np.empty((len(queries), 0))], [np.empty((len(queries), 0))], [np.empty(0)]
    for block in gallery.store.scan(method.name) if queries[0].indexed else ():
        ids += block.ids
        scores, near_matches = _score(method, queries, block.features, near=near)
        values.append(scores)
        nears.append(scores[:, :0] if near_matches is None else near_matches)
        if model and (hubness := model.hubness(method, block.features)) is not None:
            hubs.append(hubness)
    each = np.concatenate(values, axis=1)
    best = each.max(axis=0)
    standard = np.zeros(len(best))
    if model:
        standard = model.standardise(best, np.concatenate(hubs) if model.centre else None)
    most_near = np.concatenate(nears, axis=1).max(axis=0)
    return Scores(
        method,
        queries,
        ids,
        best,
        _likely(each, best),
        standard,
        near=most_near if len(most_near) == len(ids) else None,
    )


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
        features=None,
    )


# -- two stages ------------------------------------------------------------------------------------------------


def _two_stage(
    gallery: Gallery,
    compared: Sequence[tuple[Method, Sequence[EncodedQuery]]],
    ann_indexes: Mapping[str, AnnIndex],
    wanted: Wanted,
) -> list[Scores]:
    """Score the images that the ANN indexes of all methods propose."""
    store, allowed = gallery.store, _allowed(gallery, wanted)
    indexed = [(method, queries) for method, queries in compared if queries[0].indexed]
    blocks: dict[str, GalleryBlock]
    if wanted.only is not None:
        blocks = {method.name: store.select(method.name, [wanted.only]) for method, _ in indexed}
    else:
        many = max(PROPOSED, 2 * wanted.k, wanted.rerank_depth)
        blocks = {one[0].name: _propose(store, one, ann_indexes[one[0].name], many, allowed) for one in indexed}
        if len(blocks) > 1:
            best = _best_of_all(indexed, blocks, wanted.rerank_depth)
            blocks = {name: _complete(store, name, block, best) for name, block in blocks.items()}
    info = store.info()
    eligible = min(info.images, sum(info.methods[method.name].images for method, _ in indexed))
    if allowed is not None:
        eligible = min(eligible, allowed.count)
    found = []
    for method, queries in compared:
        block = blocks.get(method.name) or GalleryBlock((), concatenate(method.extractor.spec, []))
        scores = _of_block(method, queries, block, eligible, near=wanted.near)
        model = gallery.null_model.methods.get(method.name) if gallery.null_model else None
        if model and queries[0].indexed:
            sample = ann_indexes[method.name].sample(SAMPLE_LOCAL if _is_local(method) else SAMPLE_GLOBAL)
            among = _score(method, queries, sample.features, near=False)[0].max(axis=0)
            hubs = model.hubness(method, block.features)
            standard = model.standardise(scores.values, hubs, among=among, total=eligible)
            scores = replace(scores, standard=standard)
        found.append(scores)
    return found


def _of_block(
    method: Method, queries: Sequence[EncodedQuery], block: GalleryBlock, eligible: int, *, near: bool
) -> Scores:
    """Scores of the images of a block, without standardised scores."""
    each, near_matches = _score(method, queries, block.features, near=near)
    best = each.max(axis=0)
    return Scores(
        method,
        queries,
        block.ids,
        best,
        _likely(each, best),
        np.zeros(len(best)),
        near=None if near_matches is None else near_matches.max(axis=0),
        eligible=eligible,
        features=block.features,
    )


def _propose(
    store: Store,
    compared: tuple[Method, Sequence[EncodedQuery]],
    ann_index: AnnIndex,
    many: int,
    allowed: Allowed | None,
) -> GalleryBlock:
    """The candidates that the ANN index of one method proposes for all augmentations of the query."""
    method, queries = compared
    if allowed is not None and allowed.ids is not None:
        return store.select(method.name, sorted(allowed.ids))
    where = None if allowed is None else allowed.where
    features = concatenate(method.extractor.spec, [query.features for query in queries])
    proposed = ann_index.propose(features, many, where=where)
    keys = np.unique(np.concatenate([proposals.keys for proposals in proposed]))
    return store.load(method.name, keys, where=where)[1]


def _best_of_all(
    compared: Sequence[tuple[Method, Sequence[EncodedQuery]]],
    blocks: Mapping[str, GalleryBlock],
    rerank_depth: int,
) -> list[str]:
    """The top-ranked images of each method by exact score, which every method has to score."""
    chosen: dict[str, None] = {}
    for method, queries in compared:
        block = blocks[method.name]
        scores = _score(method, queries, block.features, near=False)[0].max(axis=0)
        chosen.update((image_id, None) for image_id, _ in ranking.best(block.ids, scores, rerank_depth))
    return list(chosen)


def _complete(store: Store, method: str, block: GalleryBlock, ids: Sequence[str]) -> GalleryBlock:
    """A block, completed by the images of ``ids`` that it lacks."""
    present = set(block.ids)
    missing = store.select(method, [image_id for image_id in ids if image_id not in present])
    if not missing.ids:
        return block
    features = concatenate(block.features.spec(), [block.features, missing.features])
    return GalleryBlock(block.ids + missing.ids, features)


# -- scores of a block -----------------------------------------------------------------------------------------


def _score(
    method: Method, queries: Sequence[EncodedQuery], gallery: Features, *, near: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Scores ``(queries, B)``, and near matches of the same shape, or ``None`` if they are not counted."""
    matcher = method.matcher
    if near and isinstance(matcher, NearMatcher):
        both = [matcher.score_near(query.features, gallery) for query in queries]
        return np.array([scores for scores, _ in both]), np.array([near_matches for _, near_matches in both])
    return np.array([matcher.score(query.features, gallery) for query in queries]), None


def _likely(each: NDArray[np.float64], best: NDArray[np.float64]) -> NDArray[np.int64]:
    """The augmentation to verify: the query itself, unless its mirror image has clearly more matches.

    By chance, both have about the same number.

    Args:
        each: ``(queries, B)`` float64, scores of all augmentations.
        best: ``(B,)`` float64, the highest score of each image.
    """
    likely: NDArray[np.int64] = np.where(best > FLIPPED_RATIO * each[0], each.argmax(axis=0), 0)
    return likely


def _is_local(method: Method) -> bool:
    return method.extractor.spec.kind == "local"

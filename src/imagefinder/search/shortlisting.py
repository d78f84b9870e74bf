"""Stage one proposes, the exact score decides: what each method says of the candidates of all of them.

The scores are those of an exact search, to the last bit; only which images get one differs. What an exact search
takes from the scores of all images (how a score stands out, see ``background.standardised``) is taken here from a
sample of the collection. E-values count all images that could have been found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import AnnIndex, Store
from imagefinder.core.features import Features, concatenate
from imagefinder.core.method import Method
from imagefinder.core.records import GalleryBlock
from imagefinder.search import background as chance
from imagefinder.search import ranking
from imagefinder.search.background import Background
from imagefinder.search.question import Question, views
from imagefinder.search.scoring import Scores, likely_views, of_views_near

PROPOSED = 64
"""So many images are proposed for each view of a query."""

SAMPLE_LOCAL, SAMPLE_GLOBAL = 48, 1000
"""So many images stand for the collection where the scores of all are asked for."""

FEW = 1000
"""Of so few images that a search is restricted to all are scored."""

OVERFETCH = 8
"""So many times as many are proposed where only some images count."""


def score(
    store: Store,
    questions: Sequence[tuple[Method, Question]],
    shortlists: Mapping[str, AnnIndex],
    background: Background | None,
    *,
    k: int,
    mirror: bool,
    allowed: Collection[str] | None = None,
    candidates: Sequence[str] | None = None,
    near: bool = False,
) -> list[Scores]:
    """Compare with the images that the shortlists of the methods propose.

    Args:
        store: Holds the gallery.
        questions: Each method with what it asks.
        shortlists: Of all these methods.
        background: What chance does in this store, if that is known.
        k: At least so many images are proposed.
        mirror: Ask with the mirror image, too, where that can be had.
        allowed: Only these images count; ``None``: all.
        candidates: Score these instead of what the shortlists propose.
        near: As for ``scoring.score``.
    """
    asked = [(method, views(method, question, mirror=mirror), question) for method, question in questions]
    indexed = [(method, seen) for method, seen, question in asked if question.indexed]
    if candidates is not None:
        held = {method.name: store.select(method.name, candidates) for method, _ in indexed}
    else:
        held = {
            method.name: _proposed(store, method, seen, shortlists[method.name], k=k, allowed=allowed)
            for method, seen in indexed
        }
        if len(held) > 1:
            best = _best_of_all(indexed, held)
            held = {name: _completed(store, name, block, best) for name, block in held.items()}
    info = store.info()
    eligible = min(info.images, sum(info.methods[method.name].images for method, _ in indexed))
    if allowed is not None:
        eligible = min(eligible, len(allowed))
    found = []
    for method, seen, question in asked:
        block = held.get(method.name) or GalleryBlock((), concatenate(method.extractor.spec, []))
        of_views, promise = of_views_near(method, seen, block.features, near=near)
        scores = of_views.max(axis=0)
        standard = np.zeros(len(scores))
        known = background.methods.get(method.name) if background else None
        if known and question.indexed:
            many = SAMPLE_LOCAL if _is_local(method) else SAMPLE_GLOBAL
            among = _score(method, seen, shortlists[method.name].sample(many).features).max(axis=0)
            hubs = chance.hubness(method, known.centre, block.features) if known.centre else None
            standard = chance.standardised(scores, hubs, known, among=among, total=eligible)
        rows = dict(zip(block.ids, range(len(block.ids)), strict=True))
        likely = likely_views(of_views, scores)
        promised = None if promise is None else promise.max(axis=0)
        found.append(
            Scores(
                method,
                seen,
                rows,
                scores,
                likely,
                standard,
                near=promised,
                eligible=eligible,
                features=block.features,
            )
        )
    return found


def _proposed(
    store: Store,
    method: Method,
    seen: Sequence[Question],
    shortlist: AnnIndex,
    *,
    k: int,
    allowed: Collection[str] | None,
) -> GalleryBlock:
    if allowed is not None and len(allowed) <= FEW:
        return store.select(method.name, sorted(allowed))
    many = max(PROPOSED, 2 * k)
    if allowed is not None:
        many *= OVERFETCH
    queries = concatenate(method.extractor.spec, [view.features for view in seen])
    keys = np.unique(np.concatenate([proposals.keys for proposals in shortlist.propose(queries, many)]))
    _, block = store.load(method.name, keys)
    if allowed is None:
        return block
    kept = set(allowed)
    return store.select(method.name, [image_id for image_id in block.ids if image_id in kept])


def _best_of_all(
    indexed: Sequence[tuple[Method, Sequence[Question]]], held: Mapping[str, GalleryBlock]
) -> list[str]:
    """The best of each method by its exact score: more are not looked at, and each is scored by every method."""
    chosen: dict[str, None] = {}
    for method, seen in indexed:
        block = held[method.name]
        scores = _score(method, seen, block.features).max(axis=0)
        best = ranking.best(block.ids, scores, ranking.SHORTLIST)
        chosen.update((image_id, None) for image_id, _ in best)
    return list(chosen)


def _completed(store: Store, method: str, block: GalleryBlock, candidates: Sequence[str]) -> GalleryBlock:
    """A block with what it lacks of the candidates."""
    there = set(block.ids)
    missing = store.select(method, [image_id for image_id in candidates if image_id not in there])
    if not missing.ids:
        return block
    features = concatenate(block.features.spec(), [block.features, missing.features])
    return GalleryBlock(block.ids + missing.ids, features)


def _score(method: Method, seen: Sequence[Question], gallery: Features) -> NDArray[np.float64]:
    """``(views, B)``."""
    return of_views_near(method, seen, gallery, near=False)[0]


def _is_local(method: Method) -> bool:
    return method.extractor.spec.kind == "local"

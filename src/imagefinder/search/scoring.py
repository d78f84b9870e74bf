"""What each method says of every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import NearMatcher, Store
from imagefinder.core.features import Features
from imagefinder.core.method import Method
from imagefinder.search import background as chance
from imagefinder.search.background import Background
from imagefinder.search.question import Question, views

CLEARLY_MORE = 1.25
"""So many times as many matches as the query itself its mirror image must have to be looked at instead."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What one method says of all images.

    Attributes:
        method: The method.
        views: The query as it was compared: itself, and perhaps its mirror image.
        rows: Image id -> row of the arrays.
        values: ``(B,)``, what the matcher returned; of several views the highest.
        likely_views: ``(B,)`` int64, the view in which a geometry is looked for.
        standard: ``(B,)``, standardised; zeros where nothing is known about chance.
        near: ``(B,)``, how much a close look promises, where the matcher says so and that was asked for; of
            several views the highest.
        eligible: How many images could have been among them, where they are the candidates of a shortlist;
            ``None`` where they are all that the method knows.
        features: Of all rows, where these are few enough to be kept.
    """

    method: Method
    views: Sequence[Question]
    rows: Mapping[str, int]
    values: NDArray[np.float64]
    likely_views: NDArray[np.int64]
    standard: NDArray[np.float64]
    near: NDArray[np.float64] | None = None
    eligible: int | None = None
    features: Features | None = None

    def features_of(self, image_id: str) -> Features | None:
        """What was compared of one image, a batch of one; ``None`` if it was not kept."""
        return self.features.image(self.rows[image_id]) if self.features is not None else None

    def view_of(self, image_id: str) -> Question:
        """The view of the query in which a geometry is looked for in an image, which the method must know."""
        return self.views[int(self.likely_views[self.rows[image_id]])]

    def standard_of(self, image_id: str) -> float:
        """The standardised score of one image; minus infinity if the method does not know it."""
        row = self.rows.get(image_id)
        return -np.inf if row is None else float(self.standard[row])


def score(
    store: Store,
    method: Method,
    question: Question,
    background: Background | None,
    *,
    mirror: bool,
    near: bool = False,
) -> Scores:
    """Compare with every image of the store; with its mirror image, too, where that is wanted and can be had.

    Args:
        store: Holds the gallery.
        method: Of which it has features.
        question: The query.
        background: What chance does in this store, if that is known.
        mirror: Ask with the mirror image, too, where the method can.
        near: Say what a close look promises, too, where the matcher can.
    """
    asked = views(method, question, mirror=mirror)
    known = background.methods.get(method.name) if background else None
    ids: list[str] = []
    values, nears, hubs = [np.empty((len(asked), 0))], [np.empty((len(asked), 0))], [np.empty(0)]
    for block in store.scan(method.name) if question.indexed else ():
        ids += block.ids
        said, promised = of_views_near(method, asked, block.features, near=near)
        values.append(said)
        nears.append(said[:, :0] if promised is None else promised)
        if known and known.centre:
            hubs.append(chance.hubness(method, known.centre, block.features))
    of_views = np.concatenate(values, axis=1)
    scores = of_views.max(axis=0)
    standard = np.zeros(len(scores))
    if known:
        standard = chance.standardised(scores, np.concatenate(hubs) if known.centre else None, known)
    rows = dict(zip(ids, range(len(ids)), strict=True))
    promise = np.concatenate(nears, axis=1).max(axis=0)
    return Scores(
        method,
        asked,
        rows,
        scores,
        likely_views(of_views, scores),
        standard,
        near=promise if len(promise) == len(ids) else None,
    )


def of_views_near(
    method: Method, seen: Sequence[Question], gallery: Features, *, near: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Scores of all views with some images, ``(views, B)``; and what a close look promises, if that is told."""
    matcher = method.matcher
    if near and isinstance(matcher, NearMatcher):
        said = [matcher.score_near(view.features, gallery) for view in seen]
        return np.array([scores for scores, _ in said]), np.array([promise for _, promise in said])
    return np.array([matcher.score(view.features, gallery) for view in seen]), None


def likely_views(of_views: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """In which view a geometry is looked for: the query itself, unless a mirror image has clearly more.

    By chance both have about as many.

    Args:
        of_views: ``(views, B)``.
        scores: ``(B,)``, the highest of each image.
    """
    likely: NDArray[np.int64] = np.where(scores > CLEARLY_MORE * of_views[0], of_views.argmax(axis=0), 0)
    return likely


def restricted(scores: Scores, allowed: Set[str]) -> Scores:
    """The same of some images only."""
    kept = [image_id for image_id in scores.rows if image_id in allowed]
    places = np.array([scores.rows[image_id] for image_id in kept], dtype=np.int64)
    return replace(
        scores,
        rows=dict(zip(kept, range(len(kept)), strict=True)),
        values=scores.values[places],
        likely_views=scores.likely_views[places],
        near=None if scores.near is None else scores.near[places],
        standard=scores.standard[places],
        features=None,
    )


def searched(scored: Sequence[Scores]) -> int:
    """How many images were compared by any of the methods, or could have been proposed for that."""
    eligible = [scores.eligible for scores in scored if scores.eligible is not None]
    if eligible:
        return max(eligible)
    return len({image_id for scores in scored for image_id in scores.rows})


def counts(scores: Scores, scored: Sequence[Scores]) -> bool:
    """Whether a method's score speaks for itself.

    Matches of keypoints are counted to find candidates; what they are worth, geometry says. Where all methods have
    keypoints their scores still order what no geometry speaks for.
    """
    return scores.method.verifier is None or all(other.method.verifier for other in scored)

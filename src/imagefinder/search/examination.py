"""A close look at the best candidates of all methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from imagefinder.core.contracts import Store
from imagefinder.core.method import Examiner
from imagefinder.core.results import Evidence
from imagefinder.search import ranking
from imagefinder.search.background import CLOSER
from imagefinder.search.evidence import Scrutiny
from imagefinder.search.question import Asked
from imagefinder.search.scoring import Scores

NEAR_ONE_OF = 150
"""Of so many scored images at least one is looked at for its near matches: in a large collection chance gives
hundreds of images more of them than a small part of a picture has."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen of one candidate.

    Attributes:
        keypoints: Method -> the geometry of its keypoints; methods that found none are left out.
        closer: The geometry that a closer look found.
        same: Whether it is the query itself, byte by byte or pixel by pixel.
    """

    keypoints: Mapping[str, Evidence]
    closer: Evidence | None = None
    same: bool = False


def shortlist(scored: Sequence[Scores], asked: Asked) -> list[str]:
    """The best of each method, without the query itself; by near matches, too, where these are told.

    In a large collection chance gives many images more matches than a small part of a picture has in all. Near
    ones it gives far more rarely.
    """
    chosen: dict[str, None] = {}
    for scores in scored:
        many = ranking.SHORTLIST if scores.method.verifier else ranking.SHORTLIST_WITHOUT_KEYPOINTS
        values = scores.values if scores.method.verifier else scores.standard
        ids = list(scores.rows)
        chosen.update((image_id, None) for image_id, _ in ranking.best(ids, values, many))
        if scores.near is not None:
            best = ranking.best(ids, scores.near, max(many, len(ids) // NEAR_ONE_OF))
            chosen.update((image_id, None) for image_id, promise in best if promise)
    chosen.pop(asked.id, None)
    return list(chosen)


def examine(
    store: Store,
    examiner: Examiner,
    scored: Sequence[Scores],
    asked: Asked,
    candidates: Sequence[str],
    *,
    mirror: bool,
    threads: int,
) -> dict[str, Found]:
    """What speaks for each candidate; those that nothing speaks for yet get a closer look, the best first.

    Args:
        store: Holds them.
        examiner: Looks at pixels.
        scored: What each method says of all images.
        asked: The query.
        candidates: Ids; those that are gone meanwhile have nothing that speaks for them.
        mirror: Look at the mirror image of the query, too.
        threads: Candidates looked at at once.
    """
    scrutiny = Scrutiny(store, examiner, asked, mirror=mirror)
    local = [scores for scores in scored if scores.method.verifier]

    def keypoints(image_id: str) -> Found:
        seen = {
            scores.method.name: scrutiny.keypoints(
                scores.method, [scores.view_of(image_id)], image_id, scores.features_of(image_id)
            )
            for scores in local
            if image_id in scores.rows
        }
        known = {name: evidence for name, evidence in seen.items() if evidence}
        return Found(known, same=scrutiny.is_same(image_id))

    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(candidates, pool.map(keypoints, candidates), strict=True))
        # Networks propose best what has too few keypoints of its own.
        lead = min(scored, key=lambda scores: scores.method.verifier is not None)
        unexplained = [image_id for image_id in candidates if not found[image_id].keypoints]
        unexplained.sort(key=lambda image_id: (-lead.standard_of(image_id), image_id))
        closer = unexplained[:CLOSER]
        for image_id, evidence in zip(closer, pool.map(scrutiny.closer_look, closer), strict=True):
            found[image_id] = Found({}, evidence, same=found[image_id].same)
    return found

"""Stacks in a search: versions of one picture count as one image, and are one hit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from imagefinder.core.contracts import Store
from imagefinder.core.results import Hit
from imagefinder.search.retrieval import Gallery, Scores, align, searched


def count_searched(gallery: Gallery, scores: Sequence[Scores]) -> int:
    """Number of images that were searched, which E-values refer to; those of a stack count as one.

    If some images lack features in fast mode, all images are counted, which makes E-values larger, never smaller.
    """
    images = searched(scores)
    if not gallery.stacks:
        return images
    store = gallery.store
    is_fast = any(one.eligible is not None for one in scores)
    if gallery.allowed is None and images == store.count():
        return store.count(stacks=True)
    if is_fast:
        return images if gallery.allowed is None else min(images, gallery.allowed.stacks)
    ids = align(scores)[0]
    return distinct(ids, store.stacks(ids))


def distinct(ids: Sequence[str], stacks: Mapping[str, str]) -> int:
    """Number of images among these, those of a stack counted as one.

    Args:
        ids: Ids of the images, without repetitions.
        stacks: Id -> stack; empty or missing without one.
    """
    alone = sum(not stacks.get(image_id) for image_id in ids)
    return alone + len({stack for image_id in ids if (stack := stacks.get(image_id))})


def best_of_stacks(store: Store, rank: Callable[[int], Sequence[str]], k: int, query_id: str) -> list[str]:
    """The ids of the ``k`` best images, at most one of each stack, and none of the stack of the query.

    Args:
        store: The store of the images.
        rank: Returns the ids of a number of images, best first; fewer only if there are no more.
        k: Number of images, at least 1.
        query_id: Id of a stored query image; empty for any other query.
    """
    own = store.stacks([query_id]).get(query_id, "") if query_id else ""
    wanted = k
    while True:
        ranked = rank(wanted)
        stacks, seen, kept = store.stacks(ranked), {own}, list[str]()
        for image_id in ranked:
            stack = stacks.get(image_id, "")
            if not stack or stack not in seen:
                kept.append(image_id)
                seen.add(stack)
        if len(kept) >= k or len(ranked) < wanted:
            return kept[:k]
        wanted *= 2


def with_stacks(store: Store, hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """The hits, each with the ids of the other images of its stack."""
    stacks = store.stacks([hit.id for hit in hits])
    members = store.stacked(list(stacks.values())) if stacks else {}
    return tuple(
        replace(hit, stack=tuple(one for one in members.get(stacks.get(hit.id, ""), ()) if one != hit.id))
        for hit in hits
    )

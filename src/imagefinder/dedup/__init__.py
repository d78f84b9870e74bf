"""The duplicates of a collection: pairs proposed, verified, named and joined to groups.

The cost grows with the number of images and not with that of all pairs: each image is verified against the few
that ``candidate_pairs`` proposes, and at most once more against the best of its group.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagefinder.core.contracts import Store
from imagefinder.core.method import Method
from imagefinder.core.results import DuplicatePair, DuplicateReport
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.dedup.groups import copies, group, overlapping
from imagefinder.dedup.identical import Item, Progress, identical, items
from imagefinder.dedup.pairs import DuplicateVerifier, propose
from imagefinder.runtime import Runtime

__all__ = ["find"]


def find(
    store: Store,
    methods: Sequence[Method],
    runtime: Runtime,
    *,
    mirror: bool = True,
    progress: Progress | None = None,
) -> DuplicateReport:
    """The duplicates of a store.

    Args:
        store: Holds the images; those changed meanwhile may be missed.
        methods: Those of the store. Global ones and those with keypoints propose pairs; the latter verify them.
        runtime: Holds what verifies pairs.
        mirror: Find mirrored copies too.
        progress: Called now and then.
    """
    watch = Stopwatch()
    report = progress or (lambda *_: None)
    every = items(store)
    same = list(identical(store, every, [method.name for method in methods], report))
    spare = {item.id for one in same for item in one[1:]}
    left = [item for item in every if item.id not in spare]
    watch.lap("read")
    taking_part = [method for method in methods if method.extractor.spec.kind == "global" or method.verifier]
    proposed = propose(store, taking_part, left, report)
    watch.lap("propose")
    verifier = DuplicateVerifier(store, [method for method in methods if method.verifier], runtime, mirror=mirror)
    found = list(verifier.verify(left, proposed, report))
    watch.lap("verify")
    edited, others = copies(verifier, left, found)
    groups = [
        *(group("identical", one, _same(one)) for one in same),
        *edited,
        *overlapping(left, edited, others),
    ]
    watch.lap("group")
    return DuplicateReport(
        groups=tuple(groups),
        images=len(every),
        candidates=len(proposed),
        verified=verifier.verified,
        methods=tuple(method.name for method in taking_part),
        timings=watch.total(),
    )


def _same(alike: Sequence[Item]) -> list[DuplicatePair]:
    return [DuplicatePair(item.id, alike[0].id, "identical") for item in alike[1:]]

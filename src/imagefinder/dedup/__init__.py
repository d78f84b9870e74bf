"""Duplicate detection: candidate pairs are proposed, verified, classified and joined into groups.

The cost is linear in the number of images: each image is verified only against the few that ``candidate_pairs``
proposes, and at most once more against the best image of its group.
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
from imagefinder.search.copies import Originals

__all__ = ["find"]


def find(
    store: Store,
    methods: Sequence[Method],
    runtime: Runtime,
    originals: Originals,
    *,
    mirror: bool = True,
    progress: Progress | None = None,
) -> DuplicateReport:
    """Find the duplicates in a store.

    Args:
        store: The store of the images; images changed meanwhile may be missed.
        methods: The methods of the store. Global methods and methods with keypoints propose pairs; the latter
            verify.
        runtime: Provides thumbnail method and photometric check.
        originals: Reads images in full resolution.
        mirror: Also find mirrored copies.
        progress: Called with (stage, done, total).
    """
    watch = Stopwatch()
    report = progress or (lambda *_: None)
    every = items(store)
    same = list(identical(store, every, [method.name for method in methods], report))
    redundant = {item.id for one in same for item in one[1:]}
    left = [item for item in every if item.id not in redundant]
    watch.lap("read")
    proposing = [method for method in methods if method.extractor.spec.kind == "global" or method.verifier]
    proposed = propose(store, proposing, left, report)
    watch.lap("propose")
    verifying = [method for method in methods if method.verifier]
    verifier = DuplicateVerifier(store, verifying, runtime, originals, mirror=mirror)
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
        methods=tuple(method.name for method in proposing),
        timings=watch.total(),
    )


def _same(alike: Sequence[Item]) -> list[DuplicatePair]:
    return [DuplicatePair(item.id, alike[0].id, "identical") for item in alike[1:]]

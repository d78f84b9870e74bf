"""Finds the duplicates of a store: proposes candidate pairs, verifies them, and joins them into groups.

The cost is linear in the number of images: each image is verified only against the few that ``candidate_pairs``
proposes, and at most once more against the best image of its group.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import get_args

from imagefinder.core.contracts import Store
from imagefinder.core.method import Method
from imagefinder.core.results import DuplicateKind, DuplicateReport
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.dedup.groups import copies, group, overlapping, with_notes
from imagefinder.dedup.identical import Progress, find_identical, items
from imagefinder.dedup.originals import Originals
from imagefinder.dedup.pairs import DuplicateVerifier, propose
from imagefinder.dedup.proposals import Proposer, recheck
from imagefinder.runtime import Runtime
from imagefinder.search.copies import ReadOriginal

__all__ = ["KINDS", "find"]

KINDS: tuple[DuplicateKind, ...] = get_args(DuplicateKind)
"""All kinds of groups."""


def find(  # wide: the parts of a collection, and the options of its method
    store: Store,
    methods: Sequence[Method],
    runtime: Runtime,
    read_original: ReadOriginal,
    *,
    kinds: Collection[DuplicateKind] = KINDS,
    mirror: bool = True,
    progress: Progress | None = None,
) -> DuplicateReport:
    """Find the duplicates in a store.

    Args:
        store: The store of the images; images changed meanwhile may be missed.
        methods: The methods of the store. Global methods and methods with keypoints propose pairs; the latter
            verify.
        runtime: Provides decoder, thumbnail method and photometric check.
        read_original: Reads the pixels of images in full resolution.
        kinds: Kinds of groups to report. Identical images are found without comparing any others.
        mirror: Also find mirrored copies.
        progress: Called with (stage, done, total).
    """
    watch = Stopwatch()
    report = progress or (lambda *_: None)
    originals, threads = Originals(runtime.decoder, runtime.settings), runtime.settings.threads
    every = items(store)
    same = find_identical(store, every, originals, threads, report)
    watch.lap("read")
    groups = [group("identical", one, ()) for one in same.groups]
    proposing = [method for method in methods if method.extractor.spec.kind == "global" or method.verifier]
    candidates = verified = 0
    if set(kinds) - {"identical"}:
        redundant = {item.id for one in same.groups for item in one[1:]}
        left = [item for item in every if item.id not in redundant]
        numbers = {item.id: number for number, item in enumerate(left)}
        alike = {(numbers[worse], numbers[better]) for worse, better in same.alike}
        proposed = sorted(alike.union(propose(store, proposing, left, report)))
        watch.lap("propose")
        verifying = [method for method in methods if method.verifier]
        verifier = DuplicateVerifier(store, verifying, runtime, read_original, mirror=mirror)
        found = list(verifier.verify(left, proposed, report))
        watch.lap("verify")
        edited, others = copies(verifier, left, found)
        groups += (with_notes(one, same.alike) for one in [*edited, *overlapping(left, edited, others)])
        candidates, verified = len(proposed), verifier.verified
        watch.lap("group")
    stacks = store.stacks([image_id for one in groups for image_id in one.ids])
    proposer = Proposer({item.id: item for item in every}, originals, stacks)
    decided = list(proposer.decide([one for one in groups if one.kind in kinds], threads, report))
    states = proposer.states(decided)
    watch.lap("check")
    return DuplicateReport(
        groups=tuple(recheck(one, states, store.get) for one in decided),  # the run may have taken hours
        images=len(every),
        candidates=candidates,
        verified=verified,
        methods=tuple(method.name for method in proposing),
        timings=watch.total(),
        states=states,
    )

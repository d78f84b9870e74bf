"""Pairs of images that may show the same, proposed and verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.method import Method
from imagefinder.core.results import Evidence, Relation
from imagefinder.dedup.candidate_pairs import candidate_pairs
from imagefinder.dedup.identical import Item, Progress
from imagefinder.runtime import Runtime
from imagefinder.search.candidates import Candidate, Candidates
from imagefinder.search.encoding import NO_PIXELS, EncodedQuery, QueryImage, augment
from imagefinder.search.verification import PairVerifier, has_positions, stored_features
from imagefinder.verification.relation import looks_alike, relation_of_pair

FEW = 100
"""An image with fewer keypoints may show too little for a geometry, so it is also laid on the other as it is."""

ASPECT = 0.05
"""Frames whose ratios of width to height differ by more than this part are not laid on each other as they are."""

_THUMBNAILS = 256
"""Candidates kept in memory, at most 200 kB each."""

_EVERY = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that have something in common.

    Attributes:
        worse: Number of the image that is the query of the evidence.
        better: Number of the other, which is smaller.
        relation: Of the first to the second.
        evidence: What supports it.
    """

    worse: int
    better: int
    relation: Relation
    evidence: Evidence


def propose(
    store: Store, methods: Sequence[Method], every: Sequence[Item], progress: Progress
) -> list[tuple[int, int]]:
    """Pairs (worse, better) of numbers of images, sorted."""
    rows = {item.id: number for number, item in enumerate(every)}
    pairs: set[tuple[int, int]] = set()
    for number, method in enumerate(methods):
        before, total = number * len(rows), len(methods) * len(rows)

        def report(done: int, before: int = before, total: int = total) -> None:
            progress("propose", before + done, total)

        found = candidate_pairs(store, method, rows, progress=report)
        pairs.update((worse, better) for better, worse in found.tolist())
    return sorted(pairs)


class DuplicateVerifier:
    """Verifies pairs of stored images.

    Attributes:
        verified: Number of pairs so far.
    """

    def __init__(self, store: Store, methods: Sequence[Method], runtime: Runtime, *, mirror: bool) -> None:
        """Nothing is read yet.

        Args:
            store: Holds the images.
            methods: Those with keypoints.
            runtime: Holds what verifies.
            mirror: Find mirrored copies too.
        """
        self.verified = 0
        self._store = store
        self._methods = methods
        self._runtime = runtime
        self._mirror = mirror
        self._fingerprints = {name: info.fingerprint for name, info in store.info().methods.items()}
        self._candidates = Candidates(store, kept=_THUMBNAILS)

    def verify(
        self, every: Sequence[Item], proposed: Sequence[tuple[int, int]], progress: Progress
    ) -> Iterator[Pair]:
        """Those of the proposed pairs that have something in common."""
        done = 0
        for worse, some in groupby(proposed, key=lambda pair: pair[0]):
            query = self.query(every[worse])
            for _, better in some:
                pair = self.compare(query, worse, every[better], better)
                if pair:
                    yield pair
                done += 1
                if done % _EVERY == 0 or done == len(proposed):
                    progress("verify", done, len(proposed))

    def query(self, item: Item) -> _Query:
        """An image as a query."""
        candidate = self._candidates.get(item.id)
        pixels = candidate.pixels if candidate else NO_PIXELS
        image = QueryImage(pixels, item.size, item.size, id=item.id, sha256=item.sha256)
        encoded = {}
        for method in self._methods:
            features = stored_features(self._store, item.id, method.name)
            if features is not None and has_positions(features):
                query = EncodedQuery(image, features, self._fingerprints[method.name], indexed=True)
                encoded[method.name] = augment(method, query, mirror=self._mirror)
        runtime = self._runtime
        verifier = PairVerifier(runtime.thumbnail_method, runtime.photometric_check, image, mirror=self._mirror)
        return _Query(item, encoded, verifier)

    def compare(self, query: _Query, worse: int, other: Item, better: int) -> Pair | None:
        """How an image is related to another; ``None`` if nothing supports it."""
        self.verified += 1
        candidate = self._candidates.get(other.id)
        if candidate is None:
            return None
        evidence, fewest = None, FEW if self._methods else 0
        for method in self._methods:
            ours = query.encoded.get(method.name)
            theirs = stored_features(self._store, other.id, method.name)
            if ours is None or theirs is None or not has_positions(theirs):
                fewest = 0
                continue
            fewest = min(fewest, _count(ours[0].features), _count(theirs))
            for one in ours:
                # The mirror image only if needed: it takes as long again.
                if not looks_alike(evidence):
                    finding = query.verifier.keypoints(method, [one], candidate, theirs)
                    evidence = _better(evidence, finding.evidence if finding else None)
        if fewest < FEW and not looks_alike(evidence):
            evidence = self._frames(query, candidate) or evidence
        relation = relation_of_pair(evidence)
        return Pair(worse, better, relation, evidence) if relation and evidence else None

    def _frames(self, query: _Query, other: Candidate) -> Evidence | None:
        """One frame on the other, if that shows that they are copies."""
        size = query.item.size
        if min(*size, *other.size) < 1:
            return None
        ratios = [width / height for width, height in (size, other.size)]
        if abs(ratios[0] - ratios[1]) > ASPECT * max(ratios):
            return None
        compared = (query.verifier.frame(other, mirrored=way) for way in (False, True)[: 1 + self._mirror])
        return max(filter(looks_alike, compared), key=lambda evidence: evidence.agreement or 0, default=None)


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """An image with what verifying needs of it: itself and perhaps its mirror image, by method."""

    item: Item
    encoded: Mapping[str, Sequence[EncodedQuery]]
    verifier: PairVerifier


def _count(features: Features) -> int:
    return len(features.keypoints) if isinstance(features, LocalFeatures) else 0


def _better(a: Evidence | None, b: Evidence | None) -> Evidence | None:
    """The one that shows a copy or, failing that, has more inliers."""
    return max(filter(None, (a, b)), key=lambda evidence: (looks_alike(evidence), evidence.inliers), default=None)

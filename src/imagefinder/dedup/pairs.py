"""Proposes and verifies pairs of duplicates."""

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
from imagefinder.search.copies import ReadOriginal, Settled, Side, candidate_side, query_side, settle
from imagefinder.search.encoding import NO_PIXELS, EncodedQuery, QueryImage, augment
from imagefinder.search.thumbnail_source import ThumbnailSource
from imagefinder.search.verification import PairVerifier, has_positions, stored_features
from imagefinder.verification.relation import COPIES, STRONG, looks_alike, relation_of_pair

FEW = 100
"""With fewer keypoints there may be no geometry, so the whole images are also compared."""

_THUMBNAILS = 256
"""Maximum number of candidates in memory, at most 200 kB each."""

_EVERY = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """A verified pair of images, which are numbered best first.

    Attributes:
        worse: Number of the worse image, the query of the evidence.
        better: Number of the better image, which is smaller.
        relation: How the worse image relates to the better one.
        evidence: Geometric evidence.
        note: What limits the relation; usually empty.
    """

    worse: int
    better: int
    relation: Relation
    evidence: Evidence
    note: str = ""


def propose(
    store: Store, methods: Sequence[Method], every: Sequence[Item], progress: Progress
) -> list[tuple[int, int]]:
    """The candidate pairs of all methods: numbers of images (worse, better), sorted."""
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
        verified: Number of pairs verified so far.
    """

    def __init__(
        self,
        store: Store,
        methods: Sequence[Method],
        runtime: Runtime,
        read_original: ReadOriginal,
        *,
        mirror: bool,
    ) -> None:
        """Create a verifier; nothing is read yet.

        Args:
            store: The store of the images.
            methods: The methods with keypoints.
            runtime: Provides thumbnail method and photometric check.
            read_original: Reads images in full resolution.
            mirror: Also find mirrored copies.
        """
        self.verified = 0
        self._store = store
        self._methods = methods
        self._runtime = runtime
        self._read_original = read_original
        self._mirror = mirror
        self._fingerprints = {name: info.fingerprint for name, info in store.info().methods.items()}
        self._candidates = Candidates(store, kept=_THUMBNAILS)

    def verify(
        self, every: Sequence[Item], proposed: Sequence[tuple[int, int]], progress: Progress
    ) -> Iterator[Pair]:
        """Verify candidate pairs; yields those with a relation."""
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
        """Prepare an image as a query."""
        candidate = self._candidates.get(item.id)
        pixels = candidate.pixels if candidate else NO_PIXELS
        image = QueryImage(pixels, item.size, item.size, id=item.id, sha256=item.sha256)
        encoded = {}
        for method in self._methods:
            features = stored_features(self._store, item.id, method.name)
            if features is not None and has_positions(features):
                query = EncodedQuery(image, features, self._fingerprints[method.name], indexed=True)
                encoded[method.name] = augment(method, query, mirror=self._mirror)
        thumbnails = ThumbnailSource(self._runtime.thumbnail_method, self._store)
        verifier = PairVerifier(
            thumbnails, self._runtime.photometric_check, image, mirror=self._mirror, both_orders=True
        )
        return _Query(item, encoded, verifier, query_side(image, self._read_original))

    def compare(self, query: _Query, worse: int, other: Item, better: int) -> Pair | None:
        """Compare an image with another; ``None`` if the evidence is too weak for a relation."""
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
                # The mirror image, which takes as much time, is compared only if necessary.
                if not looks_alike(evidence):
                    finding = query.verifier.keypoints(method, [one], [(candidate, theirs)])[0]
                    evidence = _better(evidence, finding.evidence if finding else None)
        found = self._settled(query, candidate, evidence, fewest)
        if found is None or found.relation is None or found.evidence is None:
            return None
        return Pair(worse, better, found.relation, found.evidence, found.note)

    def _settled(
        self, query: _Query, candidate: Candidate, evidence: Evidence | None, fewest: int
    ) -> Settled | None:
        """The relation after the copy check; ``fewest``: number of keypoints of the image with fewer."""
        sides = query.side, candidate_side(candidate, self._read_original)
        found = settle(relation_of_pair(evidence), evidence, *sides) if evidence else None
        is_weak = evidence.inliers < STRONG if evidence else fewest < FEW
        if is_weak and (found is None or found.relation not in COPIES):
            whole = query.verifier.aligned(candidate)
            if whole:
                aligned = settle(relation_of_pair(whole), whole, *sides)
                found = aligned if found is None or aligned.relation in COPIES else found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """An image prepared as a query: by method, its features and possibly those of its mirror image."""

    item: Item
    encoded: Mapping[str, Sequence[EncodedQuery]]
    verifier: PairVerifier
    side: Side


def _count(features: Features) -> int:
    return len(features.keypoints) if isinstance(features, LocalFeatures) else 0


def _better(a: Evidence | None, b: Evidence | None) -> Evidence | None:
    """The evidence that shows a copy or, if neither does, the one with more inliers."""
    return max(filter(None, (a, b)), key=lambda evidence: (looks_alike(evidence), evidence.inliers), default=None)

"""Proposes and verifies pairs of duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby

from imagefinder.core.contracts import Store
from imagefinder.core.elongated import is_elongated
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
from imagefinder.search.verification import PairVerifier, has_positions, same_shape
from imagefinder.verification.relation import COPIES, STRONG, looks_alike, relation_of_pair
from imagefinder.verification.small_images import SmallImage, SmallImages

FEW = 100
"""With fewer keypoints there may be no geometry, so the whole images are also compared."""

_PORTION = 256
"""Number of pairs whose images are read together: features and thumbnails, about 0.3 MB each."""


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
        self._small = SmallImages()
        self._fingerprints = {name: info.fingerprint for name, info in store.info().methods.items()}

    def verify(
        self, every: Sequence[Item], proposed: Sequence[tuple[int, int]], progress: Progress
    ) -> Iterator[Pair]:
        """Verify candidate pairs, sorted; yields those with a relation."""
        with ThreadPoolExecutor(self._runtime.settings.threads) as pool:
            before: list[tuple[int, Future[list[Pair]]]] = []
            for portion in chain(_portions(proposed), [[]]):
                # A portion is read while the one before it is compared.
                tasks = self._submitted(pool, every, portion)
                for size, task in before:
                    yield from task.result()
                    self.verified += size
                if before:
                    progress("verify", self.verified, len(proposed))
                before = tasks

    def _submitted(
        self, pool: ThreadPoolExecutor, every: Sequence[Item], portion: Sequence[tuple[int, int]]
    ) -> list[tuple[int, Future[list[Pair]]]]:
        """The comparisons of a portion, one for each worse image, with their number of pairs."""
        images = self._read([every[number] for number in sorted({end for pair in portion for end in pair})])
        tasks = []
        for worse, some in groupby(portion, key=lambda pair: pair[0]):
            others = [(better, every[better]) for _, better in some]
            tasks.append((len(others), pool.submit(self._compare, every[worse], worse, others, images)))
        return tasks

    def compare(self, item: Item, worse: int, other: Item, better: int) -> Pair | None:
        """Compare an image with a better one; ``None`` if the evidence is too weak for a relation."""
        self.verified += 1
        return next(iter(self._compare(item, worse, [(better, other)], self._read([item, other]))), None)

    def _read(self, items: Sequence[Item]) -> _Images:
        """Read images, with all their features in one statement for each method."""
        ids = [item.id for item in items]
        candidates = Candidates(self._store)
        candidates.prefetch(ids)
        features: dict[str, dict[str, Features]] = {}
        for method in self._methods:
            block = self._store.select(method.name, ids)
            features[method.name] = {
                image_id: block.features.image(number) for number, image_id in enumerate(block.ids)
            }
        return _Images(candidates, features)

    def _query(self, item: Item, images: _Images) -> _Query:
        """Prepare an image as a query."""
        candidate = images.candidates.get(item.id)
        pixels = candidate.pixels if candidate else NO_PIXELS
        image = QueryImage(pixels, item.size, item.size, id=item.id, sha256=item.sha256)
        encoded = {}
        for method in self._methods:
            features = images.features[method.name].get(item.id)
            if features is not None and has_positions(features):
                query = EncodedQuery(image, features, self._fingerprints[method.name], indexed=True)
                encoded[method.name] = augment(method, query, mirror=self._mirror)
        verifier = PairVerifier(
            ThumbnailSource(self._runtime.thumbnail_method, self._store),
            self._runtime.photometric_check,
            image,
            mirror=self._mirror,
            both_orders=True,
        )
        side = query_side(image, self._read_original)
        return _Query(encoded, verifier, side, lambda: self._small.get(item.id, lambda: pixels))

    def _compare(self, item: Item, worse: int, others: Sequence[tuple[int, Item]], images: _Images) -> list[Pair]:
        """Compare an image with better ones, given with their numbers: the pairs with a relation."""
        query = self._query(item, images)
        read = [(better, images.candidates.get(other.id)) for better, other in others]
        compared = [_Compared(better, candidate) for better, candidate in read if candidate is not None]
        for one in compared:
            one.fewest = FEW if self._methods else 0
        for method in self._methods:
            self._compare_by(method, query, compared, images.features[method.name])
        settled = ((one, self._settled(query, one)) for one in compared)
        return [
            Pair(worse, one.better, found.relation, found.evidence, found.note)
            for one, found in settled
            if found is not None and found.relation is not None and found.evidence is not None
        ]

    def _compare_by(
        self, method: Method, query: _Query, compared: Sequence[_Compared], features: Mapping[str, Features]
    ) -> None:
        """Add the evidence of one method."""
        ours = query.encoded.get(method.name)
        usable = []
        for one in compared:
            theirs = features.get(one.candidate.id)
            if ours is None or theirs is None or not has_positions(theirs):
                one.fewest = 0
                continue
            one.fewest = min(one.fewest, _count(ours[0].features), _count(theirs))
            usable.append((one, theirs))
        for view in ours or ():
            # The mirror image, which takes as much time, is compared only if necessary.
            left = [(one, theirs) for one, theirs in usable if not looks_alike(one.evidence)]
            given = [(one.candidate, theirs) for one, theirs in left]
            findings = query.verifier.keypoints(method, [view], given) if given else []
            for (one, _), finding in zip(left, findings, strict=True):
                one.evidence = _better(one.evidence, finding.evidence if finding else None)

    def _settled(self, query: _Query, compared: _Compared) -> Settled | None:
        """The relation after the copy check."""
        evidence, candidate = compared.evidence, compared.candidate
        is_weak = evidence.inliers < STRONG if evidence else compared.fewest < FEW
        found = self._checked(query, candidate, evidence) if evidence else None
        if is_weak and (found is None or found.relation not in COPIES):
            whole = self._aligned(query, candidate)
            if whole:
                aligned = self._checked(query, candidate, whole)
                found = aligned if found is None or aligned.relation in COPIES else found
        return found

    def _aligned(self, query: _Query, candidate: Candidate) -> Evidence | None:
        """Evidence from comparing the whole images, unless small versions of them already differ."""
        size = query.side.size
        if not same_shape(size, candidate.size):
            return None
        ways = (False, True)[: 1 + self._mirror]
        if not (is_elongated(*size) or is_elongated(*candidate.size)):  # these have more detail along one side
            small, other = query.small, self._small.get(candidate.id, lambda: candidate.pixels)
            if small is None or other is None:
                return None
            ways = tuple(way for way in ways if small[way].may_agree(other))
        return query.verifier.aligned(candidate, ways) if ways else None

    def _checked(self, query: _Query, candidate: Candidate, evidence: Evidence) -> Settled:
        side = candidate_side(candidate, self._read_original)
        return settle(relation_of_pair(evidence), evidence, query.side, side)


@dataclass(frozen=True, slots=True, eq=False)
class _Images:
    """Images read together: records and thumbnails, and features by method and id, each a batch of one."""

    candidates: Candidates
    features: Mapping[str, Mapping[str, Features]]


@dataclass(frozen=True, eq=False)
class _Query:
    """An image prepared as a query.

    Attributes:
        encoded: By method, its features and possibly those of its mirror image.
        verifier: Compares it with others.
        side: The image as one side of a pair.
        make_small: Makes its small version; ``None`` if it has no pixels.
    """

    encoded: Mapping[str, Sequence[EncodedQuery]]
    verifier: PairVerifier
    side: Side
    make_small: Callable[[], SmallImage | None]

    @cached_property
    def small(self) -> tuple[SmallImage, SmallImage] | None:
        """The small image and its mirror image; ``None`` if it has no pixels."""
        small = self.make_small()
        return None if small is None else (small, small.mirrored())


@dataclass(slots=True, eq=False)
class _Compared:
    """A better image and what is known about the pair so far.

    Attributes:
        better: Number of the image.
        candidate: The image.
        evidence: The best evidence; ``None`` if there is none.
        fewest: Number of keypoints of the image of the pair that has fewer.
    """

    better: int
    candidate: Candidate
    evidence: Evidence | None = None
    fewest: int = 0


def _portions(proposed: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Sorted pairs in portions of about ``_PORTION``; those of one worse image stay together."""
    portion: list[tuple[int, int]] = []
    for _, some in groupby(proposed, key=lambda pair: pair[0]):
        portion += some
        if len(portion) >= _PORTION:
            yield portion
            portion = []
    if portion:
        yield portion


def _count(features: Features) -> int:
    return len(features.keypoints) if isinstance(features, LocalFeatures) else 0


def _better(a: Evidence | None, b: Evidence | None) -> Evidence | None:
    """The evidence that shows a copy or, if neither does, the one with more inliers."""
    return max(filter(None, (a, b)), key=lambda evidence: (looks_alike(evidence), evidence.inliers), default=None)

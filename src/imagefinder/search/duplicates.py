"""The duplicates of a collection: pairs proposed, verified, named and joined to groups.

The cost grows with the number of pictures and not with that of all pairs: each picture is verified against the few
partners that ``search.partners`` proposes, and at most once more against the best of its group.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeAlias

import numpy as np

from imagefinder.core.contracts import Photometer, Store
from imagefinder.core.errors import MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, GlobalFeatures, LocalFeatures, RgbImage
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import (
    LOOKS_ALIKE,
    DuplicateGroup,
    DuplicateKind,
    DuplicatePair,
    DuplicateReport,
    Evidence,
    Outline,
    Relation,
    Size,
)
from imagefinder.search.engine import Stopwatch
from imagefinder.search.evidence import has_places, look, read_thumbnail
from imagefinder.search.partners import partners
from imagefinder.search.question import Asked, Question, views

CLEARLY = 0.7
"""What takes the place of ``LOOKS_ALIKE`` where fewer than ``STRONG`` inliers speak for the geometry, or none: two
pairs of trousers, laid on a sheet alike, reach 0.56 with five."""

STRONG = 25
"""Inliers that say by themselves that two pictures have something in common. Where patterns repeat chance reaches
5 to 10, seldom 17 (docs/concepts/verification.md)."""

FEW = 100
"""A picture with fewer keypoints may show too little for a geometry, so it is also laid on the other as it is."""

ASPECT = 0.05
"""Frames whose ratios of width to height differ by more than this part are not laid on each other as they are."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the stage (``read``, ``propose``, ``verify``), how much of it is done, and how much there is."""

_PAGE = 1000
_THUMBNAILS = 256
"""Decoded ones held in memory, at most 200 kB each."""

_EVERY = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of a picture without looking at its pixels.

    Attributes:
        id: Of the image.
        size: Width and height.
        size_bytes: Of the encoded picture.
        added_at: Seconds since 1970.
        sha256: Of the encoded picture; may be empty.
    """

    id: str
    size: Size
    size_bytes: int
    added_at: float
    sha256: str


def best_first(picture: Picture) -> tuple[int, int, int, float, str]:
    """The order of what is proposed to be kept: most pixels, most bytes, shortest id, added first.

    More bytes for the same pixels mean weaker compression, and copies made by accident have longer names. Nothing
    is known of what was written or pasted upon a picture, nor whether its pixels were gained by enlarging: look
    before you delete.
    """
    width, height = picture.size
    return -width * height, -picture.size_bytes, len(picture.id), picture.added_at, picture.id


def find(
    store: Store,
    methods: Sequence[Method],
    photometer: Photometer,
    *,
    watch: Stopwatch,
    mirror: bool = True,
    progress: Progress | None = None,
) -> DuplicateReport:
    """The duplicates of a store.

    Args:
        store: Holds the images; those changed meanwhile may be missed.
        methods: Those of the store. Global ones and those with keypoints propose pairs; the latter verify them.
        photometer: Says whether two pictures look alike where they overlap.
        watch: Gets the stages.
        mirror: Find mirrored copies, too.
        progress: Called now and then.
    """
    tell = progress or (lambda *_: None)
    pictures = sorted(_pictures(store), key=best_first)
    same = list(_identical(store, pictures, [method.name for method in methods], tell))
    gone = {picture.id for group in same for picture in group[1:]}
    left = [picture for picture in pictures if picture.id not in gone]
    watch.lap("read")
    asking = [method for method in methods if method.extractor.spec.kind == "global" or method.verifier]
    proposed = _propose(store, asking, left, tell)
    watch.lap("propose")
    eye = _Eye(store, [method for method in methods if method.verifier], photometer, mirror=mirror)
    found = list(_verify(eye, left, proposed, tell))
    watch.lap("verify")
    copies, others = _copies(eye, left, found)
    groups = [
        *(_group("identical", group, _same(group)) for group in same),
        *copies,
        *_overlapping(left, copies, others),
    ]
    watch.lap("group")
    return DuplicateReport(
        groups=tuple(groups),
        images=len(pictures),
        candidates=len(proposed),
        verified=eye.looked,
        methods=tuple(method.name for method in asking),
        timings=watch.total(),
    )


# -- identical ones ------------------------------------------------------------------------------------------


def _pictures(store: Store) -> Iterator[Picture]:
    after = ""
    while page := store.images(after=after, limit=_PAGE):
        yield from map(_picture, page)
        after = page[-1].id


def _picture(record: ImageRecord) -> Picture:
    return Picture(record.id, (record.width, record.height), record.size_bytes, record.added_at, record.sha256)


def _identical(
    store: Store, pictures: Sequence[Picture], methods: Sequence[str], tell: Progress
) -> Iterator[list[Picture]]:
    """Groups of the same bytes or, as far as thumbnail and features tell, the same pixels; each best first."""
    by_look: dict[tuple[Size, bytes], list[Picture]] = defaultdict(list)
    for number, picture in enumerate(pictures, 1):
        by_look[picture.size, _look_of(store, picture)].append(picture)
        if number % _EVERY == 0 or number == len(pictures):
            tell("read", number, len(pictures))
    for alike in by_look.values():
        classes: list[list[Picture]] = []
        for picture in alike:
            for group in classes:
                if _is_same(store, methods, group[0], picture):
                    group.append(picture)
                    break
            else:
                classes.append([picture])
        yield from (group for group in classes if len(group) > 1)


def _look_of(store: Store, picture: Picture) -> bytes:
    """What identical pictures have in common: a digest of the thumbnail or, without one, that of the bytes."""
    try:
        thumbnail = store.thumbnail(picture.id)
    except UnknownImageError:
        thumbnail = b""
    return hashlib.sha256(thumbnail).digest() if thumbnail else (picture.sha256 or picture.id).encode()


def _is_same(store: Store, methods: Sequence[str], a: Picture, b: Picture) -> bool:
    if a.sha256 and a.sha256 == b.sha256:
        return True
    # Thumbnails alone are the same for pictures that differ in a detail.
    compared = [(_features(store, a.id, name), _features(store, b.id, name)) for name in methods]
    return any(x is not None for x, _ in compared) and all(_equal(x, y) for x, y in compared)


def _equal(a: Features | None, b: Features | None) -> bool:
    if isinstance(a, LocalFeatures) and isinstance(b, LocalFeatures):
        return np.array_equal(a.descriptors, b.descriptors) and np.array_equal(a.keypoints, b.keypoints)
    if isinstance(a, GlobalFeatures) and isinstance(b, GlobalFeatures):
        # In another batch a network may round otherwise.
        return bool(np.abs(a.vectors - b.vectors).max() <= 1e-4 * np.abs(a.vectors).max())
    return a is None and b is None


def _features(store: Store, image_id: str, method: str) -> Features | None:
    try:
        return store.features(image_id, method)
    except (UnknownImageError, MethodNotIndexedError):
        return None


def _same(group: Sequence[Picture]) -> list[DuplicatePair]:
    return [DuplicatePair(picture.id, group[0].id, "identical") for picture in group[1:]]


# -- pairs: numbers of pictures, the better one second -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two pictures that have something in common.

    Attributes:
        worse: Number of the picture that is the query of the evidence.
        better: Number of the other, which is smaller.
        relation: Of the first to the second.
        evidence: What was found.
    """

    worse: int
    better: int
    relation: Relation
    evidence: Evidence


def _propose(
    store: Store, methods: Sequence[Method], pictures: Sequence[Picture], tell: Progress
) -> list[tuple[int, int]]:
    """Pairs (worse, better), sorted."""
    rows = {picture.id: number for number, picture in enumerate(pictures)}
    pairs: set[tuple[int, int]] = set()
    for number, method in enumerate(methods):
        before, total = number * len(rows), len(methods) * len(rows)

        def told(done: int, before: int = before, total: int = total) -> None:
            tell("propose", before + done, total)

        found = partners(store, method, rows, progress=told)
        pairs.update((worse, better) for better, worse in found.tolist())
    return sorted(pairs)


def _verify(
    eye: _Eye, pictures: Sequence[Picture], proposed: Sequence[tuple[int, int]], tell: Progress
) -> Iterator[_Pair]:
    done = 0
    for worse, some in groupby(proposed, key=lambda pair: pair[0]):
        question = eye.question(pictures[worse])
        for _, better in some:
            found = eye.compare(question, pictures[better])
            if found:
                yield _Pair(worse, better, *found)
            done += 1
            if done % _EVERY == 0 or done == len(proposed):
                tell("verify", done, len(proposed))


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A picture with what verifying needs of it: its views, by method."""

    picture: Picture
    views: Mapping[str, Sequence[Question]]


class _Eye:
    """Looks at pairs of pictures.

    Attributes:
        looked: At so many pairs.
    """

    def __init__(self, store: Store, methods: Sequence[Method], photometer: Photometer, *, mirror: bool) -> None:
        self.looked = 0
        self._store = store
        self._methods = methods
        self._photometer = photometer
        self._mirror = mirror
        self._fingerprints = {name: info.fingerprint for name, info in store.info().methods.items()}
        self._thumbnails: dict[str, RgbImage | None] = {}

    def question(self, picture: Picture) -> _Asked:
        """The picture as a query."""
        found = {}
        for method in self._methods:
            features = _features(self._store, picture.id, method.name)
            if features is not None and has_places(features):
                asked = _question(picture, features, self._fingerprints[method.name])
                found[method.name] = views(method, asked, mirror=self._mirror and method.mirror is not None)
        return _Asked(picture, found)

    def compare(self, asked: _Asked, other: Picture) -> tuple[Relation, Evidence] | None:
        """How one is related to the other; ``None`` if nothing speaks for it."""
        self.looked += 1
        found, fewest = None, FEW if self._methods else 0
        for method in self._methods:
            asking, candidate = asked.views.get(method.name), _features(self._store, other.id, method.name)
            if asking is None or candidate is None or not has_places(candidate):
                fewest = 0
                continue
            fewest = min(fewest, _count(asking[0].features), _count(candidate))
            for view in asking:
                # The mirror image only if need be: it takes as long again.
                if not _agrees(found):
                    seen = look(method, [view], candidate, other.size).evidence
                    found = _better(found, seen and self._with_agreement(seen, asked.picture, other))
        if fewest < FEW and not _agrees(found):
            found = self._laid_on(asked.picture, other) or found
        relation = found and relation_of(found)
        return (relation, found) if relation and found else None

    def _laid_on(self, picture: Picture, other: Picture) -> Evidence | None:
        """One frame on the other, if that shows that they are copies."""
        if min(*picture.size, *other.size) < 1:
            return None
        ratios = [width / height for width, height in (picture.size, other.size)]
        if abs(ratios[0] - ratios[1]) > ASPECT * max(ratios):
            return None
        laid = (_frame(picture.size, other.size, mirrored=way) for way in (False, True)[: 1 + self._mirror])
        compared = (self._with_agreement(evidence, picture, other) for evidence in laid)
        return max(filter(_agrees, compared), key=lambda evidence: evidence.agreement or 0, default=None)

    def _with_agreement(self, evidence: Evidence, picture: Picture, other: Picture) -> Evidence:
        ours, theirs = self._thumbnail(picture.id), self._thumbnail(other.id)
        if ours is None or theirs is None:
            return evidence
        agreement = self._photometer.agreement(ours, picture.size, theirs, other.size, evidence)
        return replace(evidence, agreement=agreement)

    def _thumbnail(self, image_id: str) -> RgbImage | None:
        if image_id not in self._thumbnails:
            if len(self._thumbnails) >= _THUMBNAILS:
                del self._thumbnails[next(iter(self._thumbnails))]
            self._thumbnails[image_id] = read_thumbnail(self._store, image_id)
        return self._thumbnails[image_id]


def _question(picture: Picture, features: Features, fingerprint: Fingerprint) -> Question:
    nothing = np.zeros((1, 1, 3), dtype=np.uint8)  # pixels are compared by thumbnails, here
    asked = Asked(nothing, picture.size, picture.size, id=picture.id)
    return Question(asked, features, fingerprint, indexed=True)


def _count(features: Features) -> int:
    return len(features.keypoints) if isinstance(features, LocalFeatures) else 0


def _better(a: Evidence | None, b: Evidence | None) -> Evidence | None:
    """The one that shows a copy or, failing that, has more inliers."""
    return max(filter(None, (a, b)), key=lambda evidence: (_agrees(evidence), evidence.inliers), default=None)


def _agrees(evidence: Evidence | None) -> bool:
    if evidence is None or evidence.agreement is None:
        return False
    return evidence.agreement >= (LOOKS_ALIKE if evidence.inliers >= STRONG else CLEARLY)


def relation_of(evidence: Evidence) -> Relation | None:
    """What the evidence makes of two pictures; ``None`` if it is too weak to say anything."""
    if _agrees(evidence):
        return evidence.placement
    return "same scene" if evidence.inliers >= STRONG else None


def _frame(size: Size, other: Size, *, mirrored: bool) -> Evidence:
    """That one picture, or its mirror image, fills the frame of the other."""
    x, y = other[0] / size[0], other[1] / size[1]
    right = (size[0] - 0.5) * x - 0.5
    across = (-x, 0.0, right) if mirrored else (x, 0.0, (x - 1) / 2)
    return Evidence(
        inliers=0,
        matches=0,
        model="similarity" if abs(x - y) <= 1e-6 * x else "affine",
        transform=(across, (0.0, y, (y - 1) / 2), (0.0, 0.0, 1.0)),
        mirrored=mirrored,
        query_outline=_corners(size, mirrored=mirrored),
        candidate_outline=_corners(other, mirrored=mirrored),
        query_overlap=1.0,
        candidate_overlap=1.0,
        found_by="frame",
    )


def _corners(size: Size, *, mirrored: bool) -> Outline:
    left, right, bottom = -0.5, size[0] - 0.5, size[1] - 0.5
    if mirrored:
        left, right = right, left
    return (left, -0.5), (right, -0.5), (right, bottom), (left, bottom)


# -- pairs to groups -----------------------------------------------------------------------------------------


def _copies(
    eye: _Eye, pictures: Sequence[Picture], found: Sequence[_Pair]
) -> tuple[list[DuplicateGroup], list[_Pair]]:
    """Groups of edited copies, and the pairs that belong to none.

    Copies of copies are joined, and then each is compared with the best of them: what is proposed to go has been
    seen beside what stays. One that does not agree with it starts a group of its own with others of its kind.
    """
    known = {(pair.worse, pair.better): pair for pair in found}
    groups, place = [], {}
    for component in _joined(key for key, pair in known.items() if pair.relation == "edited copy"):
        left, tried = component, set()
        while left:
            best, members = left[0], left[:1]
            rest: list[int] = []
            for number in left[1:]:
                if (number, best) not in known and number not in tried:
                    tried.add(number)  # once, so that the cost stays that of the pictures
                    seen = eye.compare(eye.question(pictures[number]), pictures[best])
                    if seen:
                        known[number, best] = _Pair(number, best, *seen)
                pair = known.get((number, best))
                (members if pair and pair.relation == "edited copy" else rest).append(number)
            if len(members) > 1:
                place.update(dict.fromkeys(members, best))
                groups.append(members)
            left = rest
    inside: dict[int, list[_Pair]] = defaultdict(list)
    others = []
    for pair in known.values():
        worse, better = place.get(pair.worse, pair.worse), place.get(pair.better, pair.better)
        if worse == better:
            inside[better].append(pair)
        else:
            others.append(pair)
    return [
        _group("edited copies", [pictures[number] for number in members], _told(pictures, inside[members[0]]))
        for members in sorted(groups)
    ], others


def _overlapping(
    pictures: Sequence[Picture], copies: Sequence[DuplicateGroup], pairs: Sequence[_Pair]
) -> Iterator[DuplicateGroup]:
    """What the other pairs join; between two groups of copies one pair counts, that of the best pictures."""
    leader = {image_id: group.ids[0] for group in copies for image_id in group.ids}
    numbers = {picture.id: number for number, picture in enumerate(pictures)}

    def led(number: int) -> int:
        image_id = pictures[number].id
        return numbers[leader.get(image_id, image_id)]

    kept: dict[tuple[int, int], _Pair] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.worse + pair.better, pair.worse)):
        a, b = led(pair.worse), led(pair.better)
        kept.setdefault((max(a, b), min(a, b)), pair)
    components = _joined(kept)
    place = {number: index for index, component in enumerate(components) for number in component}
    joined: list[list[_Pair]] = [[] for _ in components]
    for (_, number), pair in kept.items():
        joined[place[number]].append(pair)
    for inside in joined:
        ends = sorted({end for pair in inside for end in (pair.worse, pair.better)})
        yield _group("overlapping", [pictures[number] for number in ends], _told(pictures, inside))


def _joined(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """What pairs connect, each sorted, in order of the first."""
    above: dict[int, int] = {}

    def top(number: int) -> int:
        above.setdefault(number, number)
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    for a, b in pairs:
        first, second = sorted((top(a), top(b)))
        above[second] = first
    groups: dict[int, list[int]] = defaultdict(list)
    for number in sorted(above):
        groups[top(number)].append(number)
    return list(groups.values())


def _told(pictures: Sequence[Picture], pairs: Iterable[_Pair]) -> list[DuplicatePair]:
    return [
        DuplicatePair(
            pictures[pair.worse].id,
            pictures[pair.better].id,
            pair.relation,
            pair.evidence,
            pair.evidence.agreement,
        )
        for pair in sorted(pairs, key=lambda pair: (pair.better, pair.worse))
    ]


def _group(kind: DuplicateKind, pictures: Sequence[Picture], pairs: Sequence[DuplicatePair]) -> DuplicateGroup:
    return DuplicateGroup(kind, tuple(picture.id for picture in pictures), tuple(pairs))

"""Joins pairs into groups of duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from imagefinder.core.results import DuplicateGroup, DuplicateKind, DuplicatePair
from imagefinder.dedup.identical import Item
from imagefinder.dedup.pairs import DuplicateVerifier, Pair


def copies(
    verifier: DuplicateVerifier, every: Sequence[Item], found: Sequence[Pair]
) -> tuple[list[DuplicateGroup], list[Pair]]:
    """Groups of edited copies, and the pairs outside all groups.

    Copies of copies are joined, and each is then compared with the best of them, so that every image suggested for
    removal has been compared with the one to keep. Images that do not match the best one form further groups.
    """
    compared = {(pair.worse, pair.better): pair for pair in found}
    groups, place = [], {}
    for component in _joined(key for key, pair in compared.items() if pair.relation == "edited copy"):
        left, tried = component, set()
        while left:
            best, members = left[0], left[:1]
            rest: list[int] = []
            for number in left[1:]:
                if (number, best) not in compared and number not in tried:
                    tried.add(number)  # once, so that the cost stays proportional to the number of images
                    seen = verifier.compare(every[number], number, every[best], best)
                    if seen:
                        compared[number, best] = seen
                pair = compared.get((number, best))
                (members if pair and pair.relation == "edited copy" else rest).append(number)
            if len(members) > 1:
                place.update(dict.fromkeys(members, best))
                groups.append(members)
            left = rest
    inside: dict[int, list[Pair]] = defaultdict(list)
    others = []
    for pair in compared.values():
        worse, better = place.get(pair.worse, pair.worse), place.get(pair.better, pair.better)
        if worse == better:
            inside[better].append(pair)
        else:
            others.append(pair)
    return [
        group("edited copies", [every[number] for number in members], _pairs(every, inside[members[0]]))
        for members in sorted(groups)
    ], others


def overlapping(
    every: Sequence[Item], copied: Sequence[DuplicateGroup], pairs: Sequence[Pair]
) -> Iterator[DuplicateGroup]:
    """Groups of overlapping images, joined by the remaining pairs.

    Between two groups of copies, only the pair of the best images counts.
    """
    leader = {image_id: one.ids[0] for one in copied for image_id in one.ids}
    numbers = {item.id: number for number, item in enumerate(every)}

    def leader_of(number: int) -> int:
        image_id = every[number].id
        return numbers[leader.get(image_id, image_id)]

    kept: dict[tuple[int, int], Pair] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.worse + pair.better, pair.worse)):
        a, b = leader_of(pair.worse), leader_of(pair.better)
        kept.setdefault((max(a, b), min(a, b)), pair)
    components = _joined(kept)
    place = {number: index for index, component in enumerate(components) for number in component}
    joined: list[list[Pair]] = [[] for _ in components]
    for (_, number), pair in kept.items():
        joined[place[number]].append(pair)
    for inside in joined:
        ends = sorted({end for pair in inside for end in (pair.worse, pair.better)})
        yield group("overlapping", [every[number] for number in ends], _pairs(every, inside))


def group(kind: DuplicateKind, members: Sequence[Item], pairs: Sequence[DuplicatePair]) -> DuplicateGroup:
    """Create a group from its images, best first."""
    return DuplicateGroup(kind, tuple(item.id for item in members), tuple(pairs))


def with_notes(one: DuplicateGroup, notes: Mapping[tuple[str, str], str]) -> DuplicateGroup:
    """A group with notes on some of its pairs: (worse, better) ids -> note."""
    if not any((pair.a, pair.b) in notes for pair in one.pairs):
        return one
    return replace(
        one, pairs=tuple(replace(pair, note=notes.get((pair.a, pair.b), pair.note)) for pair in one.pairs)
    )


def _joined(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected components of pairs, each sorted, in order of their smallest member."""
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


def _pairs(every: Sequence[Item], pairs: Iterable[Pair]) -> list[DuplicatePair]:
    return [
        DuplicatePair(
            every[pair.worse].id,
            every[pair.better].id,
            pair.relation,
            pair.evidence,
            pair.evidence.agreement,
            pair.note,
        )
        for pair in sorted(pairs, key=lambda pair: (pair.better, pair.worse))
    ]

"""Proposes which files of a group of duplicates are spare, and says why others are not.

A spare file can be deleted without losing a picture: it was compared with the file that stays, both are on disk
with the bytes that were compared, and they are two files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from imagefinder.core.errors import UnknownImageError
from imagefinder.core.features import FullDepth
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import DuplicateGroup, DuplicatePair
from imagefinder.dedup.identical import Item, Progress
from imagefinder.dedup.originals import GONE, Originals, locate

_EVERY = 16


class Proposer:
    """Decides which files of some groups are spare."""

    def __init__(self, items: Mapping[str, Item], originals: Originals, stacks: Mapping[str, str]) -> None:
        """Create a proposer; nothing is read yet.

        Args:
            items: Image id -> image.
            originals: Reads and decodes the files.
            stacks: Image id -> stack, for images that may be versions of one picture.
        """
        self._items = items
        self._originals = originals
        self._stacks = stacks

    def decide(
        self, groups: Sequence[DuplicateGroup], threads: int, progress: Progress
    ) -> Iterator[DuplicateGroup]:
        """The groups with their spare files, and with the reasons for all others.

        Args:
            groups: Groups of any kind, whose first image is the best.
            threads: Number of files read at once.
            progress: Called with (``check``, done, total).
        """
        wanted = [
            (self._items[image_id], group.kind != "identical")
            for group in groups
            if group.kind != "overlapping"
            for image_id in group.ids
        ]
        with ThreadPoolExecutor(threads) as pool:
            for number, _ in enumerate(pool.map(self._read, wanted), 1):
                if number % _EVERY == 0 or number == len(wanted):
                    progress("check", number, len(wanted))
        yield from map(self._decided, groups)

    def states(self, groups: Sequence[DuplicateGroup]) -> dict[str, str]:
        """Image id -> state of its file, for the images to keep and the spare ones."""
        ids = (image_id for group in groups if group.spare for image_id in (group.ids[0], *group.spare))
        return {image_id: self._items[image_id].original.state for image_id in ids}

    def _read(self, wanted: tuple[Item, bool]) -> None:
        item, is_decoded = wanted
        if is_decoded:
            self._originals.examine(item.sha256, item.original)
        else:
            self._originals.check(item.sha256, item.original)

    def _decided(self, group: DuplicateGroup) -> DuplicateGroup:
        members = [self._items[image_id] for image_id in group.ids]
        if group.kind == "overlapping":
            gone = {item.id: GONE for item in members if item.original.reason == GONE}
            return replace(group, reasons=gone)
        unusable = {item.id: self._originals.check(item.sha256, item.original) for item in members}
        if group.kind == "identical":  # any of them may stay; best one that stays in any case
            members.sort(key=lambda item: (bool(unusable[item.id]), not self._companion(item, unusable)))
        best, *others = members
        reasons = {best.id: unusable[best.id]} if unusable[best.id] else {}
        spare: list[Item] = []
        for item in others:
            reason = self._same_file(item, [best, *spare]) or unusable[item.id]
            if not reason and unusable[best.id]:
                reason = "there is no usable file that could stay instead of it"
            reason = reason or self._reason(item, None if group.kind == "identical" else best)
            if reason:
                reasons[item.id] = reason
            else:
                spare.append(item)
        return replace(
            group,
            ids=tuple(item.id for item in members),
            pairs=tuple(_identical_to(members)) if group.kind == "identical" else group.pairs,
            spare=tuple(item.id for item in spare),
            reasons=reasons,
        )

    def _same_file(self, item: Item, others: Sequence[Item]) -> str:
        for other in others:
            if item.original.is_same_file(other.original):
                return f"it is the same file as {other.id}"
        return ""

    def _companion(self, item: Item, unusable: Mapping[str, str]) -> str:
        return "" if unusable[item.id] else self._originals.companion(item.original)

    def _reason(self, item: Item, best: Item | None) -> str:
        """Why a usable file is not spare; empty if it is.

        Args:
            item: The image.
            best: The image that stays, of which an edited copy was compared; ``None`` for identical images.
        """
        if item.original.links > 1:
            return "it has further names (hard links), so that deleting this one frees nothing"
        if reason := self._originals.companion(item.original):
            return reason
        if best is None:
            return ""
        if (stack := self._stacks.get(item.id)) and stack == self._stacks.get(best.id):
            return (
                f"it is another version of {best.id} in the same stack: an edited copy, raw and JPEG, or a burst"
            )
        depths = (self._originals.examine(one.sha256, one.original).depth for one in (item, best))
        return _not_compared(*depths)


def recheck(group: DuplicateGroup, states: Mapping[str, str], get: Callable[[str], ImageRecord]) -> DuplicateGroup:
    """A group of an earlier report without the proposals that no longer hold.

    Args:
        group: The group.
        states: ``DuplicateReport.states``.
        get: Returns the record of an image; raises ``UnknownImageError``.
    """
    if not group.spare:
        return group
    best = group.ids[0]
    changed = {image_id: _change(image_id, states, get) for image_id in (best, *group.spare)}
    reasons = {image_id: reason for image_id, reason in changed.items() if reason}
    if changed[best]:
        reasons = dict.fromkeys(group.spare, f"{best}, which was to stay, is not there as before") | reasons
    spare = tuple(image_id for image_id in group.spare if image_id not in reasons)
    return replace(group, spare=spare, reasons={**group.reasons, **reasons})


def _change(image_id: str, states: Mapping[str, str], get: Callable[[str], ImageRecord]) -> str:
    try:
        original = locate(get(image_id))
    except UnknownImageError:
        return "it is no longer in the collection"
    if original.reason or original.state == states.get(image_id):
        return original.reason
    return "its file has changed since the comparison; find duplicates again"


def _identical_to(members: Sequence[Item]) -> Iterator[DuplicatePair]:
    return (DuplicatePair(item.id, members[0].id, "identical") for item in members[1:])


def _not_compared(depth: FullDepth | None, best: FullDepth | None) -> str:
    """The properties that a comparison of first frames as 8-bit RGB ignores; empty if there are none."""
    if depth is None:
        return "its format can contain more than was compared"
    if depth.frames > 1:
        return f"it has {depth.frames} frames or pages, of which the first was compared"
    if depth.transparent:
        return "it has transparent parts, and transparency was not compared"
    if depth.bits > 8:
        return f"it has {depth.bits} bits per channel, of which 8 were compared"
    if depth.profile and (best is None or best.profile != depth.profile):
        return "it has a colour profile that the image to keep does not have"
    return "" if depth.plain else "its colours were compared as 8-bit RGB only"

"""Makes a store equal to another one of any kind, which goes on changing: images, failures and removals.

Images are compared by their digests, so an image that is the same in both is not read. What is written is compared
again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.paging import iter_image_pages
from imagefinder.core.previews import KeptKind
from imagefinder.core.records import Entry, ThumbnailFeatures

PAGE = 250
"""Number of images that are compared at once."""

_BATCH_BYTES = 64 << 20
"""Features that are read and written at once, bytes, estimated from the average of the collection."""

_PAGES_AT_ONCE = 2
"""One is read while another is written."""

_TRIES = 3
_PASSES = 5
_ROUNDS = 10
_MOST_PROBLEMS = 20
_MODULUS = 1 << 128

Step = Callable[[str, int, int], None]
"""Called with (stage, done, total); the stages are ``copy`` and ``verify``."""


class Stopped(Exception):  # noqa: N818 - a requested stop is not an error
    """The copy was stopped."""


class _Named(Protocol):
    @property
    def id(self) -> str: ...


_Row = TypeVar("_Row", bound=_Named)


class Transfer:
    """Makes the target equal to the source.

    Attributes:
        copied: Number of images that were written.
        unchanged: Number of images that the target had already, with the same digests.
        removed: Number of images removed from the target.
        problems: Why both are not equal, one sentence each; at most 20.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        thumbnails: tuple[Fingerprint, FeatureSpec],
        progress: Step,
        stop: threading.Event,
    ) -> None:
        """Set the stores, the features of thumbnails to copy, and an event that stops the copy."""
        self._source = source
        self._target = target
        self._thumbnails = thumbnails
        self._progress = progress
        self._stop = stop
        self._cursors: dict[str, str] = {}
        self._lock = threading.Lock()
        self._checksum: int | None = None
        self.copied = self.unchanged = self.removed = 0
        self.problems: list[str] = []

    def images(self) -> bool:
        """Copy images until the source is at rest; returns whether the images of both are equal.

        Raises:
            Stopped: the event was set; a later call continues.
        """
        self._follow()
        self._pass("copy")
        self._follow()
        return self._settle()

    def checksum(self) -> int:
        """The checksum of the target (``checksum_of``)."""
        return checksum_of(self._target) if self._checksum is None else self._checksum

    def failures_and_removals(self) -> tuple[int, int]:
        """Make the recorded failures and removals equal, and compare again; returns their numbers."""
        source, target = self._source, self._target
        failures = _Rows(
            (source.failures, target.failures),
            write=lambda rows: target.record_failures(rows, copied=True),
            forget=target.forget_failures,
        )
        removals = _Rows((source.removals, target.removals), target.record_removals, target.forget_removals)
        for name, rows in (("failures", failures), ("removals", removals)):
            rows.equalise()
            if rows.equalise():
                self._problem(f"the recorded {name} differ from those of the original")
        return failures.count, removals.count

    def _settle(self) -> bool:
        """Compare until the source is at rest; returns whether both are equal."""
        for _ in range(_PASSES):
            self.problems.clear()
            self._pass("verify")
            if self._follow() and self._source.count() == self._target.count():
                return not self.problems
        self._problem("the original kept changing: resume the copy when nothing is added to it")
        return False

    def _pass(self, stage: str) -> None:
        """Make all images of the target equal to those of the source, in the order of their ids."""
        self._register()
        total = done = 0
        after, images = "", self._source.count()
        pages = iter_image_pages(self._source.images, page_size=PAGE)
        with ThreadPoolExecutor(_PAGES_AT_ONCE, "copy") as threads:
            running = deque[tuple[int, Future[int]]]()
            for page in chain(pages, [None]):
                if page is not None:
                    ids = [record.id for record in page]
                    running.append((len(ids), threads.submit(self._page, after, ids, counted=stage == "copy")))
                    after = ids[-1]
                while running and (page is None or len(running) >= _PAGES_AT_ONCE):
                    number, future = running.popleft()
                    total, done = total + future.result(), done + number
                    self._progress(stage, done, max(images, done))
        self._drop_others(after, [])
        self._checksum = total % _MODULUS

    def _page(self, after: str, ids: Sequence[str], *, counted: bool) -> int:
        """Make the images of one page equal; returns the sum of their digests."""
        if self._stop.is_set():
            raise Stopped
        self._drop_others(after, ids)
        return _sum(self._equalise(ids, counted=counted))

    def _register(self) -> None:
        wanted, present = self._source.info().methods, self._target.info().methods
        for name, there in present.items():
            if name not in wanted or (wanted[name].fingerprint, wanted[name].spec) != (
                there.fingerprint,
                there.spec,
            ):
                self._target.unregister(name)
        for method in wanted.values():
            self._target.register(method.fingerprint, method.spec)

    def _drop_others(self, after: str, ids: Sequence[str]) -> None:
        """Remove the images of the target after ``after``, up to the last of ``ids``, that the source lacks."""
        known = set(ids)
        for page in _range(self._target.images, after, ids[-1] if ids else None):
            others = [record.id for record in page if record.id not in known]
            present = self._source.status(others) if others else {}
            self._delete([image_id for image_id in others if image_id not in present])

    def _delete(self, ids: Sequence[str]) -> None:
        if ids:
            removed = self._target.delete(ids)
            with self._lock:
                self.removed += removed

    def _equalise(self, ids: Sequence[str], *, counted: bool = False) -> dict[str, str]:
        """Copy the images that differ, and compare again; returns the digests of those that are equal."""
        for attempt in range(_TRIES):
            wanted, present = self._source.digests(ids), self._target.digests(ids)
            self._delete([image_id for image_id in present if image_id not in wanted])
            differing = [image_id for image_id in wanted if present.get(image_id) != wanted[image_id]]
            if counted and attempt == 0:
                with self._lock:
                    self.unchanged += len(wanted) - len(differing)
            if not differing:
                return wanted
            if attempt < _TRIES - 1:
                for batch in self._batches(differing):
                    entries = self._read(batch, wanted)
                    self._target.put(entries, copied=True)
                    with self._lock:
                        self.copied += len(entries)
        for image_id in differing:
            self._problem(f"the copy of image {image_id!r} differs from the original")
        return {image_id: digest for image_id, digest in wanted.items() if image_id not in differing}

    def _batches(self, ids: Sequence[str]) -> Iterator[Sequence[str]]:
        """Parts of the ids whose features have a bounded size."""
        methods = self._source.info().methods.values()
        average = sum(method.bytes / method.images for method in methods if method.images)
        size = max(1, min(PAGE, int(_BATCH_BYTES / max(average, 1))))
        for start in range(0, len(ids), size):
            yield from self._parts(ids[start : start + size])

    def _parts(self, ids: Sequence[str]) -> Iterator[Sequence[str]]:
        """Parts of a batch of which not too much is kept: originals may be large."""
        kept = {image_id: sum(sizes.values()) for image_id, sizes in self._source.kept_sizes(ids).items()}
        part: list[str] = []
        size = 0
        for image_id in ids:
            if part and size + kept.get(image_id, 0) > _BATCH_BYTES:
                yield self._running(part)
                part, size = [], 0
            part.append(image_id)
            size += kept.get(image_id, 0)
        yield self._running(part)

    def _running(self, ids: Sequence[str]) -> Sequence[str]:
        if self._stop.is_set():
            raise Stopped
        return ids

    def _read(self, ids: Sequence[str], digests: dict[str, str]) -> list[Entry]:
        """The images as they were when these digests were read; what has changed since is left out."""
        records, thumbnails = self._source.records(ids), self._source.thumbnails(ids)
        features: dict[str, dict[str, Features]] = {image_id: {} for image_id in ids}
        for method in self._source.info().methods:
            block = self._source.select(method, ids)
            for number, image_id in enumerate(block.ids):
                features[image_id][method] = block.features.image(number)
        made = self._thumbnail_features(ids)
        kinds: tuple[KeptKind, ...] = ("original", "preview")
        kept = {kind: self._source.kept(ids, kind) for kind in kinds}
        same = [image_id for image_id, digest in self._source.digests(ids).items() if digest == digests[image_id]]
        return [
            Entry(
                records[one],
                features[one],
                thumbnails[one],
                made.get(one),
                {kind: found[one] for kind, found in kept.items() if one in found},
            )
            for one in same
            if one in records and one in thumbnails
        ]

    def _thumbnail_features(self, ids: Sequence[str]) -> dict[str, ThumbnailFeatures]:
        made_by, spec = self._thumbnails
        found = self._source.thumbnail_features(ids, made_by, spec)
        return {image_id: ThumbnailFeatures(made_by, features) for image_id, features in found.items()}

    def _follow(self) -> bool:
        """Copy what was added to the source since the last call, until nothing is; false if that has no end.

        Then the target lacks nothing, so equal counts mean that it has no image too many.
        """
        for _ in range(_ROUNDS):
            methods, before = self._source.info().methods, self._cursors
            found = {name: self._source.changes(name, before.get(name)) for name in methods}
            self._cursors = {name: one.cursor for name, one in found.items()}
            if found.keys() != before.keys() or any(one.complete for one in found.values()):
                return False
            if not any(one.any for one in found.values()):
                return True
            self._checksum = None
            for name, one in found.items():
                for keys in _chunks(one.new, one.sizes):
                    self._equalise(self._source.load(name, keys)[1].ids)
        return False

    def _problem(self, text: str) -> None:
        with self._lock:
            if len(self.problems) < _MOST_PROBLEMS:
                self.problems.append(text)


def checksum_of(store: Store) -> int:
    """A checksum of all images of a store, in any order: the sum of their digests."""
    pages = iter_image_pages(store.images, page_size=PAGE)
    return sum(_sum(store.digests([record.id for record in page])) for page in pages) % _MODULUS


def _sum(digests: Mapping[str, str]) -> int:
    return sum(int(digest, 16) for digest in digests.values())


def _chunks(keys: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Parts of ascending keys, each of at most ``PAGE`` keys and about ``_BATCH_BYTES``."""
    start = size = 0
    for end, nbytes in enumerate(sizes.tolist(), 1):
        size += nbytes
        if end - start == PAGE or size >= _BATCH_BYTES or end == len(keys):
            yield keys[start:end]
            start, size = end, 0


def _range(read: Callable[..., Sequence[_Row]], after: str, end: str | None) -> Iterator[Sequence[_Row]]:
    """Pages of rows with ids greater than ``after`` and, unless it is ``None``, at most ``end``."""
    while page := read(after=after, limit=PAGE):
        after = page[-1].id
        if end is not None and after > end:
            yield [row for row in page if row.id <= end]
            return
        yield page


@dataclass(slots=True)
class _Rows(Generic[_Row]):
    """Recorded failures or removals of both stores.

    Attributes:
        reads: Listings of source and target, ordered by id; a page has all rows of its last id.
        write: Stores rows in the target.
        forget: Deletes the rows of some ids from the target.
        count: Number of rows of the source.
    """

    reads: tuple[Callable[..., Sequence[_Row]], Callable[..., Sequence[_Row]]]
    write: Callable[[Sequence[_Row]], None]
    forget: Callable[[Sequence[str]], object]
    count: int = 0

    def equalise(self) -> int:
        """Make the rows of the target equal, page by page; returns the number of ids whose rows differed."""
        read, read_target = self.reads
        after, differed, more, self.count = "", 0, True, 0
        while more:
            page = read(after=after, limit=PAGE)
            more = bool(page)
            end = page[-1].id if page else None
            present = _by_id(row for some in _range(read_target, after, end) for row in some)
            wanted = _by_id(page)
            differing = [one for one in wanted | present if wanted.get(one) != present.get(one)]
            if differing:
                self.forget(differing)
                self.write([row for one in differing for row in wanted.get(one, [])])
            self.count, differed = self.count + len(page), differed + len(differing)
            after = end or after
        return differed


def _by_id(rows: Iterable[_Row]) -> dict[str, list[_Row]]:
    found: dict[str, list[_Row]] = {}
    for row in rows:
        found.setdefault(row.id, []).append(row)
    return found

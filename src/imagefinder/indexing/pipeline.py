"""From sources to images in a store: discovering, reading, extracting and storing, side by side."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from imagefinder.core.contracts import Store
from imagefinder.core.errors import UnknownImageError
from imagefinder.core.method import Method
from imagefinder.core.records import Failure, ImageRecord, ImageStatus
from imagefinder.core.settings import Settings
from imagefinder.indexing.failure_log import FailureLog
from imagefinder.indexing.plan import Task, comes_from_elsewhere, failed, id_taken, plan
from imagefinder.indexing.prefetch import Prefetcher
from imagefinder.indexing.progress import AddReport, Progress, Tally
from imagefinder.indexing.pruning import Pruner
from imagefinder.indexing.reader import Decode, Reader
from imagefinder.indexing.source_item import Discovered, SourceEnd, SourceItem
from imagefinder.indexing.writer import Writer

_LOOKUP_ITEMS = 256  # items looked up in the store at once
_PREFETCH_ITEMS = 100_000  # a few dozen megabytes, and the total of most collections within seconds
_WAKE_UP = 0.2  # seconds until a wait checks whether to stop


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Brings a store up to date with its sources.

    What the store has already, by its stamp or its bytes, is not extracted again; a method it lacks is added; a
    changed image replaces the old one and keeps its metadata unless the source brings some. An image that fails
    is recorded with its reason and tried again by the next run; it never ends this one. Images become durable
    batch by batch, in the order of the items. What is stored does not depend on the number of threads.

    Attributes:
        store: Where images go.
        methods: What to extract, at least one.
        settings: ``batch_size``, ``threads``, ``fetch_*`` and ``max_image_*`` are used.
        decode: Bytes to pixels.
        check_address: Refuses addresses that must not be downloaded from; see ``Fetcher``.
    """

    store: Store
    methods: Sequence[Method]
    settings: Settings
    decode: Decode
    check_address: Callable[[str], None] | None = None

    def run(
        self,
        items: Iterator[Discovered],
        *,
        prune_sources: Sequence[str] = (),
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> AddReport:
        """Add, replace or leave alone each item.

        Args:
            items: What ``discover`` yields.
            prune_sources: URIs of sources (``discover.source_uris``) whose images are deleted where the source no
                longer has them. Nothing is deleted of a source that could not be read completely, or that holds
                no image at all any more (an unmounted disk); the report says so.
            progress: Called in this thread, at most ten times a second and at the end.
            stop: When set, the images at hand are finished and the run ends. Ctrl-C does the same.

        Raises:
            ValueError: there are no methods.
            ModelMissingError: the weights of a method are not here; nothing was read.
            FingerprintMismatchError: the store's features were made differently; nothing was read.
            StoreError: the store cannot be written.
        """
        if not self.methods:
            raise ValueError("no methods to extract features with")
        for fingerprint, method in [(method.extractor.fingerprint(), method) for method in self.methods]:
            self.store.register(fingerprint, method.extractor.spec)
        return _Run(self, items, progress, stop or threading.Event()).run(prune_sources)


class _Run:
    """One run: moves items from stage to stage, in one thread."""

    def __init__(
        self,
        parts: Pipeline,
        items: Iterator[Discovered],
        progress: Callable[[Progress], None] | None,
        stop: threading.Event,
    ) -> None:
        self._store = parts.store
        methods = {method.name: method for method in parts.methods}
        self._methods = list(methods)
        self._batch_size = parts.settings.batch_size
        self._stop = stop
        self._tally = Tally(progress)
        self._failures = FailureLog(parts.store)
        self._pruner = Pruner(parts.store)
        self._writer = Writer(parts.store, list(methods.values()))
        self._reader = Reader(parts.settings, parts.decode, parts.check_address)
        self._prefetcher = Prefetcher(items, _PREFETCH_ITEMS)
        self._looked_up: deque[tuple[SourceItem, ImageStatus | None]] = deque()
        self._under_way: set[str] = set()  # ids, from discovered to stored
        self._blocked = False  # the next item waits for one under way that has its id

    def run(self, prune_sources: Sequence[str]) -> AddReport:
        try:
            try:
                interrupted = not self._work_through()
            except KeyboardInterrupt:
                interrupted = True
            self._write_batch()
            self._failures.flush()
            if not interrupted:
                self._failures.clear_sources(self._pruner.complete_sources)
                for source in prune_sources:
                    removed, note = self._pruner.prune(source)
                    self._tally.removed += removed
                    self._tally.notes += [note] if note else []
            elif prune_sources:
                self._tally.notes.append("nothing was removed: the run was interrupted")
        finally:
            self._prefetcher.close()
            self._reader.close()
        self._tally.report_progress(self._prefetcher.total, now=True)
        return self._tally.report(self._methods, interrupted=interrupted)

    def _work_through(self) -> bool:
        """Whether everything was dealt with before ``stop`` was set."""
        while not self._stop.is_set():
            while self._reader.has_room and (task := self._next_task()):
                self._reader.start(task)
            self._reader.decode_ahead()
            if self._reader.is_decoding:
                self._take()
            elif self._blocked:
                self._write_batch()
            elif self._prefetcher.wait(_WAKE_UP):
                if not len(self._writer):
                    self._prefetcher.check()
                    return True
                self._write_batch()
            if len(self._writer) >= self._batch_size or self._writer.nbytes >= self._reader.batch_bytes:
                self._write_batch()
            self._failures.flush(at_least=_LOOKUP_ITEMS)
            self._tally.report_progress(self._prefetcher.total)
        return False

    # -- planning ------------------------------------------------------------------------------------------

    def _next_task(self) -> Task | None:
        """The next item that has to be read; the others are dealt with on the way."""
        while not self._stop.is_set():
            while self._looked_up:
                item, known = self._looked_up.popleft()
                owner = self._owner(item) if comes_from_elsewhere(item, known) else None
                planned = plan(item, known, owner, self._methods)
                if isinstance(planned, Task):
                    return planned
                if planned is None:
                    self._unchanged(item)
                else:
                    self._give_up(item, planned)
            if not self._look_up():
                break
            self._tally.report_progress(self._prefetcher.total)
        return None

    def _look_up(self) -> bool:
        """Take some items and look them up in the store; whether there were any now."""
        self._blocked = False
        items = self._prefetcher.take(_LOOKUP_ITEMS, self._begin)
        known = self._store.status([item.id for item in items if isinstance(item, SourceItem)])
        for item in items:
            if isinstance(item, SourceEnd):
                self._pruner.ended(item)
                self._tally.skipped += item.skipped
                continue
            self._pruner.saw(item)
            if isinstance(item, Failure):
                self._fail(item)
            else:
                self._looked_up.append((item, known.get(item.id)))
        return bool(items)

    def _begin(self, item: Discovered) -> bool:
        """Whether an item may enter: not before another one of its id has been dealt with."""
        if isinstance(item, SourceItem):
            self._blocked = item.id in self._under_way
            if not self._blocked:
                self._under_way.add(item.id)
        return not self._blocked

    def _owner(self, item: SourceItem) -> ImageRecord | None:
        """The image that has the item's id, if it came from another source."""
        try:
            record = self._store.get(item.id)
        except UnknownImageError:  # deleted a moment ago
            return None
        return None if record.source and record.source == item.source else record

    # -- storing -------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Deal with the oldest image, if it is ready within a moment."""
        taken = self._reader.take(_WAKE_UP)
        if taken is None:
            return
        task, picture = taken
        if isinstance(picture, BaseException):
            self._give_up(task.item, failed(task.item, picture))
        elif picture.decoded:
            self._writer.add(task, picture)
        elif task.is_known(picture.sha256):
            self._writer.settle(task)
            self._unchanged(task.item)
        else:
            assert task.owner is not None  # noqa: S101 - other bytes are decoded unless the id is taken
            self._give_up(task.item, id_taken(task.item, task.owner))

    def _write_batch(self) -> None:
        nbytes = self._writer.nbytes
        written = self._writer.write()
        self._reader.release(nbytes)
        for task, error in written:
            if error is not None:
                self._give_up(task.item, failed(task.item, error))
                continue
            if task.known is None:
                self._tally.added += 1
            else:
                self._tally.replaced += 1
            self._done(task.item)
        self._failures.flush()

    # -- outcomes ------------------------------------------------------------------------------------------

    def _unchanged(self, item: SourceItem) -> None:
        self._tally.unchanged += 1
        self._done(item)

    def _done(self, item: SourceItem) -> None:
        self._tally.current = item.id
        self._under_way.discard(item.id)
        self._failures.clear(item.id)

    def _give_up(self, item: SourceItem, failure: Failure) -> None:
        self._under_way.discard(item.id)
        self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self._tally.current = failure.id
        self._tally.failures.append(failure)
        self._failures.add(failure)

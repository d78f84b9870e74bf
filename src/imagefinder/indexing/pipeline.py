"""The indexing pipeline: discover, read, extract and store images concurrently."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from imagefinder.core.contracts import Store
from imagefinder.core.errors import SettingsError, UnknownImageError
from imagefinder.core.metadata import shortened_id
from imagefinder.core.method import Method
from imagefinder.core.records import Failure, ImageRecord, ImageStatus
from imagefinder.core.settings import Settings
from imagefinder.indexing.failure_log import FailureLog
from imagefinder.indexing.file_metadata import FileMetadataReader, SidecarFinder
from imagefinder.indexing.known_images import KnownImages
from imagefinder.indexing.plan import Task, failed, has_other_uri, id_taken, plan
from imagefinder.indexing.prefetch import Prefetcher
from imagefinder.indexing.progress import AddReport, Counters, Progress
from imagefinder.indexing.pruning import Pruner
from imagefinder.indexing.reader import DecodeFunction, Reader
from imagefinder.indexing.source_item import Discovered, SourceEnd, SourceItem
from imagefinder.indexing.stacks import count_stacked
from imagefinder.indexing.thumbnails import ThumbnailIndexer
from imagefinder.indexing.writer import Writer

_LOOKUP_ITEMS = 256  # items looked up in the store at once
_PREFETCH_ITEMS = 100_000  # a few dozen megabytes; shows the total of most sources within seconds
_WAKE_UP = 0.2  # seconds between checks for a stop request


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Updates a store from its sources.

    Unchanged images, by stamp or bytes, are skipped; features of missing methods are added; a changed image
    replaces the old one and keeps its metadata unless the source provides some. The features of known bytes are
    used again; if a file was moved or renamed, its image changes the id. Images that were removed from the
    collection stay removed. A failure is recorded with its
    reason and retried by the next run; it never ends the run. Images become durable batch by batch, in the order
    of the items. The result does not depend on the number of threads.

    Attributes:
        store: The store to update.
        methods: Methods to extract, at least one.
        settings: ``batch_size``, ``threads``, ``fetch_*`` and ``max_image_*`` are used.
        decode: Decodes an image.
        check_address: Called with every IP address before connecting to it; raises ``FetchError`` to reject it.
        verify_content: Read every image, also those whose stamp shows no change; then, as in a run that stores
            images, features of thumbnails that are missing are computed.
        include_removed: Also add images that were removed from the collection.
        force_prune: Also prune images of folders that have vanished as a whole, and of empty sources.
        thumbnails: Computes the features of thumbnails; ``None``: they are not stored.
        metadata: Reads file metadata.
        failures: The failures that several runs over portions of the same sources share. Such a run leaves what
            concerns whole sources to ``finish``. ``None``: the run is about all of its sources.
    """

    store: Store
    methods: Sequence[Method]
    settings: Settings
    decode: DecodeFunction
    metadata: FileMetadataReader
    check_address: Callable[[str], None] | None = None
    verify_content: bool = False
    include_removed: bool = False
    force_prune: bool = False
    thumbnails: ThumbnailIndexer | None = None
    failures: FailureLog | None = None

    def run(
        self,
        items: Iterator[Discovered],
        *,
        prune_sources: Sequence[str] = (),
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> AddReport:
        """Add or replace all images that are new or have changed.

        Args:
            items: The iterator of ``discover``.
            prune_sources: URIs of sources (``discover.source_uris``) whose images are deleted if the source no
                longer contains them. Nothing is deleted if the source could not be read completely or, unless
                forced, contains no images at all or lacks a whole folder (an unmounted disk); the report then has
                a note.
            progress: Called in this thread at most ten times a second, and at the end.
            stop: When set, the run stores the images it has read and ends. Ctrl-C does the same.

        Raises:
            ValueError: there are no methods.
            ModelMissingError: the weights of a method are not installed; nothing was read.
            FingerprintMismatchError: stored features were made differently; nothing was read.
            StoreError: the store cannot be written.
            SettingsError: images cannot be downloaded or decoded with these settings; those before are stored.
        """
        if not self.methods:
            raise ValueError("no methods to extract features with")
        for fingerprint, method in [(method.extractor.fingerprint(), method) for method in self.methods]:
            self.store.register(fingerprint, method.extractor.spec)
        return _Run(self, items, progress, stop or threading.Event()).run(prune_sources)

    def finish(
        self,
        items: Iterator[Discovered],
        *,
        prune_sources: Sequence[str] = (),
        stop: threading.Event | None = None,
    ) -> tuple[int, list[str]]:
        """Do what concerns whole sources, after their portions were added; nothing is read.

        Args:
            items: The items of the sources, discovered again.
            prune_sources: As for ``run``.
            stop: When set, nothing more is done.

        Returns:
            Number of removed images, and notes for the user.

        Raises:
            StoreError: the store cannot be written.
        """
        pruner, removed, notes = Pruner(self.store), 0, list[str]()
        for item in items:
            if stop is not None and stop.is_set():
                return 0, []
            if isinstance(item, SourceEnd):
                pruner.add_end(item)
                continue
            pruner.add_item(item)
            pruner.add_item(replace(item, id=shortened_id(item.id)))  # as recorded failures name it
        FailureLog(self.store).clear_sources(pruner.complete_sources, keep=pruner.is_seen)
        for source in prune_sources:
            count, note = pruner.prune(source, force=self.force_prune)
            removed += count
            notes += [note] if note else []
        if self.thumbnails:
            self.thumbnails.complete(stop or threading.Event())
        return removed, notes


class _Run:
    """One run; a single thread moves the items from stage to stage."""

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
        self._counters = Counters(progress)
        self._is_portion = parts.failures is not None
        self._failures = parts.failures or FailureLog(parts.store)
        self._pruner = Pruner(parts.store)
        known = KnownImages(parts.store, self._methods)
        self._thumbnails = parts.thumbnails
        self._writer = Writer(parts.store, list(methods.values()), known, parts.thumbnails)
        self._verify_content = parts.verify_content
        self._include_removed = parts.include_removed
        self._force_prune = parts.force_prune
        self._reader = Reader(
            parts.settings,
            parts.decode,
            known,
            parts.metadata,
            parts.check_address,
            include_removed=parts.include_removed,
        )
        self._sidecars = SidecarFinder(parts.metadata.guard)
        self._prefetcher = Prefetcher(items, _PREFETCH_ITEMS)
        self._looked_up: deque[tuple[SourceItem, ImageStatus | None]] = deque()
        self._in_progress: set[str] = set()  # ids, from discovery to storing
        self._blocked = False  # whether the next item waits for an item in progress with the same id

    def run(self, prune_sources: Sequence[str]) -> AddReport:
        try:
            try:
                interrupted = not self._process_all()
            except KeyboardInterrupt:
                interrupted = True
            except SettingsError:  # before it, images were read
                self._write_batch()
                self._failures.flush()
                raise
            self._write_batch()
            self._writer.merge_bursts()
            self._failures.flush()
            if not self._is_portion:
                self._counters.stacked = count_stacked(self._store)
            if not interrupted and not self._is_portion:
                self._failures.clear_sources(self._pruner.complete_sources)
                for source in prune_sources:
                    removed, note = self._pruner.prune(source, force=self._force_prune)
                    self._counters.removed += removed
                    self._counters.notes += [note] if note else []
                # A run that finds nothing new ends at once.
                if self._thumbnails and (self._counters.added or self._counters.replaced or self._verify_content):
                    self._thumbnails.complete(self._stop, self._report_thumbnails)
            elif prune_sources:
                self._counters.notes.append("nothing was removed: the run was interrupted")
        finally:
            self._prefetcher.close()
            self._reader.close()
        self._counters.report_progress(self._prefetcher.total, now=True)
        return self._counters.report(self._methods, interrupted=interrupted)

    def _report_thumbnails(self, done: int, total: int) -> None:
        share = done / total
        self._counters.report_progress(self._prefetcher.total, now=not done, stage="thumbnails", share=share)

    def _process_all(self) -> bool:
        """Process all items; false if ``stop`` was set first."""
        while not self._stop.is_set():
            while self._reader.has_capacity and (task := self._next_task()):
                self._reader.start(task)
            self._reader.start_decoding()
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
            self._counters.report_progress(self._prefetcher.total)
        return False

    # -- planning ------------------------------------------------------------------------------------------

    def _next_task(self) -> Task | None:
        """The next item that has to be read; items that need no reading are completed on the way."""
        while not self._stop.is_set():
            while self._looked_up:
                item, stored = self._looked_up.popleft()
                owner = self._owner(item) if has_other_uri(item, stored) else None
                planned = plan(
                    item,
                    stored,
                    owner,
                    self._methods,
                    sidecars=self._sidecars.find(item.uri),
                    verify_content=self._verify_content,
                )
                if isinstance(planned, Task):
                    return planned
                if planned is None:
                    self._unchanged(item)
                else:
                    self._reject(item, planned)
            if not self._look_up():
                break
            self._counters.report_progress(self._prefetcher.total)
        return None

    def _look_up(self) -> bool:
        """Look up the next items in the store; false if none are available yet."""
        self._blocked = False
        items = self._prefetcher.take(_LOOKUP_ITEMS, self._admit)
        ids = [item.id for item in items if isinstance(item, SourceItem)]
        stored, removed = self._store.status(ids), self._removed(ids)
        for item in items:
            if isinstance(item, SourceEnd):
                self._pruner.add_end(item)
                self._counters.skipped += item.skipped
                continue
            self._pruner.add_item(item)
            if isinstance(item, Failure):
                self._fail(item)
            elif (item.id, item.uri) in removed:
                self._exclude(item)
            else:
                self._looked_up.append((item, stored.get(item.id)))
        return bool(items)

    def _removed(self, ids: Sequence[str]) -> set[tuple[str, str]]:
        """Id and URI of the images among these that were removed from the collection."""
        if self._include_removed or not ids:
            return set()
        return {(removal.id, removal.uri) for removal in self._store.removals(ids=ids)}

    def _admit(self, item: Discovered) -> bool:
        """Admit an item unless another item with the same id is in progress."""
        if isinstance(item, SourceItem):
            self._blocked = item.id in self._in_progress
            if not self._blocked:
                self._in_progress.add(item.id)
        return not self._blocked

    def _owner(self, item: SourceItem) -> ImageRecord | None:
        """The stored image with the item's id, if it came from another source."""
        try:
            record = self._store.get(item.id)
        except UnknownImageError:  # deleted a moment ago
            return None
        return None if record.source and record.source == item.source else record

    # -- storing -------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Process the oldest image, if it becomes ready in time."""
        taken = self._reader.take(_WAKE_UP)
        if taken is None:
            return
        task, image = taken
        if isinstance(image, SettingsError):  # concerns every image
            raise image
        if not isinstance(image, BaseException) and image.removal:
            moved = replace(image.removal, id=task.item.id, uri=task.item.uri, source=task.item.source)
            self._store.move_removal(
                image.removal, moved
            )  # so that it hides no other copy, and is found by its id
        if isinstance(image, BaseException):
            self._reject(task.item, failed(task.item, image))
        elif image.decoded or image.known:
            if image.decoded and task.item.page == 1:
                self._counters.left_out += image.decoded.pages > task.item.pages
            self._writer.add(task, image)
        elif image.removal:
            self._exclude(task.item)
        elif task.is_stored(image.sha256):
            self._counters.refreshed += task.is_refresh
            self._writer.update(task, image)
            self._unchanged(task.item)
        else:
            assert task.owner is not None  # noqa: S101 - changed bytes are decoded unless the id is taken
            self._reject(task.item, id_taken(task.item, task.owner))

    def _write_batch(self) -> None:
        nbytes = self._writer.nbytes
        written = self._writer.write()
        self._reader.release(nbytes)
        for task, moved, error in written:
            if error is not None:
                self._reject(task.item, failed(task.item, error))
                continue
            if task.stored is None and moved:
                self._counters.moved += 1
            elif task.stored is None:
                self._counters.added += 1
            else:
                self._counters.replaced += 1
            self._done(task.item)
        self._failures.flush()

    # -- outcomes ------------------------------------------------------------------------------------------

    def _unchanged(self, item: SourceItem) -> None:
        self._counters.unchanged += 1
        self._done(item)

    def _exclude(self, item: SourceItem) -> None:
        self._counters.excluded += 1
        self._done(item)

    def _done(self, item: SourceItem) -> None:
        self._counters.current = item.id
        self._in_progress.discard(item.id)
        self._failures.clear(shortened_id(item.id))

    def _reject(self, item: SourceItem, failure: Failure) -> None:
        self._in_progress.discard(item.id)
        self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        failure = replace(failure, id=shortened_id(failure.id))
        self._counters.current = failure.id
        known = self._failures.add(failure)
        (self._counters.known_failures if known else self._counters.failures).append(failure)

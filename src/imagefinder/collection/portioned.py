"""Adding images in portions, which several processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event

from imagefinder.collection import Collection
from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.core.settings import Settings
from imagefinder.indexing import discover, pages
from imagefinder.indexing.failure_log import FailureLog
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.plan import plan
from imagefinder.indexing.portion import Lacking, Portion, is_portable, portions
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.indexing.source_item import Discovered, SourceEnd, SourceItem
from imagefinder.indexing.stacks import count_stacked


@dataclass(frozen=True, slots=True)
class PortionedAdd:
    """One ``Collection.add``, of which any process can do a part.

    The process that plans it divides the sources into portions; each portion is added once; one process finishes.

    Attributes:
        sources: Paths or URLs.
        methods: As for ``Collection.add``; also the others.
        prune: Remove images that are no longer in the sources.
        force_prune: Remove them also if a whole folder has vanished.
        verify_content: Read every image.
        include_removed: Also add images that were removed.
        guard: Limits the files and addresses that this process may read.
        source: Replaces the URI of the list among the sources, so that a list is the same one in every process.
    """

    sources: Sequence[str]
    methods: Sequence[str] | None = None
    prune: bool = False
    force_prune: bool = False
    verify_content: bool = False
    include_removed: bool = False
    guard: Guard = TRUSTED
    source: str = ""

    def method_names(self, collection: Collection) -> list[str]:
        """Names of the methods that all processes use, checked against those of the collection.

        Raises:
            ImagefinderError: a method is unknown, or lacks its weights, or stored features were made differently.
        """
        methods = collection._pipeline(self.methods, self.guard).methods
        for method in methods:
            collection.store.register(method.extractor.fingerprint(), method.extractor.spec)
        return [method.name for method in methods]

    def plan(self, settings: Settings) -> Iterator[Portion | Failure | SourceEnd]:
        """Divide the sources into portions; nothing is read but lists and the names of files.

        Raises:
            SourceError: a source does not exist, cannot be read, or only one process can read it.
        """
        for found in portions(self._discover(settings)):
            if isinstance(found, SourceItem) or (
                isinstance(found, Portion) and not all(map(is_portable, found.items))
            ):
                raise SourceError(
                    "an archive cannot be divided among workers", hint="unpack it, or add it without workers"
                )
            yield found

    def add(
        self,
        collection: Collection,
        portion: Portion,
        failures: FailureLog,
        *,
        progress: Callable[[Progress], None] | None = None,
        stop: Event | None = None,
    ) -> AddReport:
        """Read, decode, extract and store the images of a portion; repeating it has no effect.

        Args:
            collection: The collection.
            portion: The portion.
            failures: The failures of the collection, read once for all portions that this thread adds.
            progress: Called several times a second.
            stop: Set it to stop after the images in progress.
        """
        pipeline = replace(
            collection._pipeline(self.methods, self.guard),
            verify_content=self.verify_content,
            include_removed=self.include_removed,
            failures=failures,
        )
        return pipeline.run(self._items(collection, portion), progress=progress, stop=stop)

    def lacking(self, collection: Collection, portion: Portion) -> Lacking:
        """The images of a portion that the collection lacks now; none is read."""
        items = [item for item in self._items(collection, portion) if isinstance(item, SourceItem)]
        stored = collection.store.status([item.id for item in items])
        methods = self.methods or ()
        new = frozenset(item.id for item in items if item.id not in stored)
        changed = (item.id for item in items if item.id in stored and plan(item, stored[item.id], None, methods))
        return Lacking(new, frozenset(changed))

    def _items(self, collection: Collection, portion: Portion) -> Iterator[Discovered]:
        limits = pages.PageLimits(collection.settings.max_pages, collection.settings.animation_frames)
        return pages.with_pages(iter(portion.items), limits, self.guard)

    def failures(self, collection: Collection) -> FailureLog:
        """The recorded failures of a collection, for one thread that adds portions."""
        return FailureLog(collection.store)

    def give_up(self, collection: Collection, portion: Portion, code: str, message: str) -> list[Failure]:
        """Record that no image of a portion can be added, with a code and a message; returns the failures."""
        failures = [Failure(item.id, item.uri, code, message, source=item.source) for item in portion.items]
        collection.store.record_failures(failures)
        return failures

    def finish(
        self,
        collection: Collection,
        report: AddReport,
        *,
        progress: Callable[[Progress], None] | None = None,
        stop: Event | None = None,
    ) -> AddReport:
        """Do what concerns whole sources, after all portions: prune, and calibrate the collection.

        Args:
            collection: The collection.
            report: The reports of all portions together.
            progress: Called several times a second.
            stop: Set it to stop early; the result is then interrupted.

        Returns:
            The report of the whole run.
        """
        pipeline = replace(collection._pipeline(self.methods, self.guard), force_prune=self.force_prune)
        if not (report.added or report.replaced or self.verify_content):  # a run without changes ends at once
            pipeline = replace(pipeline, thumbnails=None)
        limits = pages.PageLimits(collection.settings.max_pages, collection.settings.animation_frames)
        items = pages.with_pages(self._discover(collection.settings), limits, self.guard)
        sources: Sequence[str] = ()
        if self.prune or self.force_prune:
            sources = [self.source] if self.source else discover.source_uris(self.sources)
        removed, notes = pipeline.finish(items, prune_sources=sources, stop=stop)
        stopped = stop is not None and stop.is_set()
        report = replace(
            report,
            removed=removed,
            notes=(*report.notes, *notes),
            interrupted=stopped,
            stacked=count_stacked(collection.store),
        )
        return collection._calibrated(report, progress, stop)

    def _discover(self, settings: Settings) -> Iterator[Discovered]:
        found = discover.discover(self.sources, guard=self.guard, zip_encoding=settings.zip_encoding)
        return (replace(item, source=self.source) if self.source else item for item in found)

"""A collection: the one object most users of the library need."""

from __future__ import annotations

import hashlib
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from imagefinder.collection.searching import Count, SearchableCollection
from imagefinder.core.contracts import Store
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import CheckReport, Entry, ImageRecord
from imagefinder.core.results import DuplicateReport
from imagefinder.core.settings import Settings
from imagefinder.dedup import report as reports
from imagefinder.images.resize import thumbnail
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.indexing.source_item import SourceItem
from imagefinder.runtime import Runtime

if TYPE_CHECKING:
    from imagefinder.indexing.npy_layout import ExportReport
    from imagefinder.indexing.pipeline import Pipeline


class Collection(SearchableCollection):
    """Images with their features, and the searches one can do in them.

    ``imagefinder.open`` makes one. It may be used from several threads; close it when done, or use it as a
    context manager. Searching is inherited from ``SearchableCollection``, reading from ``CollectionReader``.

    Attributes:
        settings: Limits and sizes it works with.
        store: Where images and features are kept.
        runtime: What it shares with the other collections of the process.
    """

    def __init__(self, store: Store, runtime: Runtime, settings: Settings | None = None) -> None:
        """Join a store with the runtime; ``settings`` are those of the runtime by default."""
        super().__init__(store, runtime, settings)
        runtime.attach(self)
        weakref.finalize(self, store.close)  # of a collection that is dropped without being closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close files and, with the last collection of the process, decoders; repeating it does nothing."""
        self.runtime.detach(self)
        self.store.close()

    # -- changing ------------------------------------------------------------------------------------------

    def add(
        self,
        *sources: str | os.PathLike[str],
        methods: Sequence[str] | None = None,
        prune: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Event | None = None,
        guard: Guard = TRUSTED,
    ) -> AddReport:
        """Index images; those that are there already, unchanged, are skipped quickly.

        Args:
            sources: Files, folders (recursive), archives (zip, tar), ``.csv`` or ``.jsonl`` lists with ``url``
                and ``id``, or URLs.
            methods: Names of the methods to extract features for; by default those the collection has, or,
                for an empty one, every method that is ready on this machine.
            prune: Remove images that came through one of the sources and are no longer in it.
            progress: Called several times a second.
            stop: Set it to end the run after the images in progress; the next run continues.
            guard: What the sources may reach, where they were named by a stranger.

        Returns:
            What was done, with every image that failed and why. A bad image never ends the run.

        Raises:
            SourceError: a source does not exist or cannot be read.
            UnknownMethodError: no such method.
            ModelMissingError: the weights of a method that was asked for are not here.
            FingerprintMismatchError: the collection's features were made differently.
        """
        from imagefinder.indexing import discover  # noqa: PLC0415 - searching does not need it

        return self._pipeline(methods, guard).run(
            discover.discover(sources, guard=guard),
            prune_sources=discover.source_uris(sources) if prune else (),
            progress=progress,
            stop=stop,
        )

    def add_items(
        self,
        items: Iterable[SourceItem],
        methods: Sequence[str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> AddReport:
        """Index images that were found already; see ``add``."""
        return self._pipeline(methods, TRUSTED).run(iter(items), progress=progress)

    def _pipeline(self, methods: Sequence[str] | None, guard: Guard) -> Pipeline:
        from imagefinder.indexing.pipeline import Pipeline  # noqa: PLC0415 - searching does not need it

        chosen = self._methods.to_index(methods)
        return Pipeline(self.store, chosen, self.settings, self.runtime.decoder.decode, guard.check_address)

    def put(
        self, image_id: str, data: bytes, *, metadata: Mapping[str, Any] | None = None, uri: str = ""
    ) -> ImageRecord:
        """Index one image under an id of your choice, or replace the one of that id.

        It is durable on return, with the features of every method the collection has (for an empty
        collection: of every method that is ready).

        Args:
            image_id: The id; any text that is not empty.
            data: The encoded image.
            metadata: Your own JSON object to keep with it.
            uri: Where it came from, if you want that kept.

        Raises:
            ImageError: the image cannot be used; nothing was changed.
            InputError: an unusable id or metadata.
            FingerprintMismatchError: the collection's features were made differently.
        """
        methods = self._methods.to_index()
        decoded = self.decode(data)
        record = ImageRecord(
            id=image_id,
            uri=uri,
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            width=decoded.width,
            height=decoded.height,
            format=decoded.format,
            metadata=metadata or {},
        )
        features = {}
        for method in methods:
            self.store.register(method.extractor.fingerprint(), method.extractor.spec)
            features[method.name] = method.extractor.extract([decoded.rgb])
        self.store.put([Entry(record, features, thumbnail(decoded.rgb))])
        return self.store.get(image_id)

    def remove(self, ids: str | Sequence[str]) -> int:
        """Remove images; returns how many of the ids were there."""
        return self.store.delete([ids] if isinstance(ids, str) else list(ids))

    # -- keeping -------------------------------------------------------------------------------------------

    def check(self, *, repair: bool = False, progress: Count = lambda _done, _total: None) -> CheckReport:
        """Check everything the collection holds: tables, checksums, thumbnails, counts, derived data.

        Others may search and add meanwhile, except while damaged tables are repaired.

        Args:
            repair: Repair what can be repaired. Damaged features and records are dropped: ``add`` computes them
                again. What can be read of damaged tables is saved into a new database; the old one stays beside
                it.
            progress: Called with (done, total).

        Raises:
            CollectionBusyError: tables must be repaired, and another program has the collection open.
            StoreError: the files cannot be read, or written.
        """
        begin = time.monotonic()
        damages = self.store.check(
            repair=repair,
            sound_thumbnail=self._images.is_thumbnail,
            sound_derived=self._derived.is_readable,
            progress=progress,
        )
        info = self.store.info() if repair or not any(damage.kind == "database" for damage in damages) else None
        if info:
            damages += self._derived.index_damages(repair=repair)
        return CheckReport(
            info.location if info else str(self.settings.collection),
            info.images if info else 0,
            tuple(damages),
            time.monotonic() - begin,
        )

    def backup(self, destination: str | os.PathLike[str], *, progress: Count = lambda _done, _total: None) -> Path:
        """Copy the collection as it is at one moment, while others may search and add.

        The copy is a collection like any other: to restore it, open it, or put it in the place of the lost one.
        Derived data (``index/``) is not copied; it is computed again.

        Args:
            destination: A folder that does not exist yet, or is empty. It appears complete and checked, or not at
                all.
            progress: Called with (done, total).

        Returns:
            The folder.

        Raises:
            SourceError: something is there already.
            CollectionCorruptError: this collection is damaged, and the copy would be.
            StoreError: the copy cannot be written; a collection in memory.
        """
        folder = Path(destination).expanduser().absolute()
        self.store.backup(folder, progress)
        return folder

    def keep_duplicates(self, report: DuplicateReport, *, state: Mapping[str, Any], computed_at: str) -> None:
        """Keep a report of duplicates with the collection, in place of the last one.

        Args:
            report: What ``duplicates`` returned.
            state: Of the collection when the report was begun; JSON.
            computed_at: ISO 8601, UTC.
        """
        self.store.put_derived(reports.NAME, reports.to_bytes(report, state=state, computed_at=computed_at))

    def kept_duplicates(self) -> reports.KeptReport | None:
        """The last report that was kept; ``None`` if there is none that can be read."""
        data = self.store.derived(reports.NAME)
        return None if data is None else reports.from_bytes(data)

    # -- other layouts -------------------------------------------------------------------------------------

    def export_features(self, folder: Path, *, progress: Count | None = None) -> ExportReport:
        """Write all images with their features as ``.npy`` files; see ``indexing.npy_layout``.

        Raises:
            SourceError: the folder is not empty or cannot be written.
        """
        from imagefinder.indexing.npy_layout import write_npy_layout  # noqa: PLC0415 - searching does not need it

        return write_npy_layout(self.store, folder, progress=progress)

    def import_features(
        self,
        folder: Path,
        *,
        fingerprints: Mapping[str, Fingerprint] | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: Event | None = None,
    ) -> AddReport:
        """Read features from ``.npy`` files; see ``indexing.npy_layout``.

        Args:
            folder: What ``export_features`` wrote, or the original program did.
            fingerprints: Method -> fingerprint of its features, if the caller asserts that they are compatible.
            progress: Called after every batch.
            stop: Set it to end after the batch in progress.

        Raises:
            SourceError: this is not such a layout.
            FingerprintMismatchError: the collection's features were made differently.
        """
        from imagefinder.indexing.npy_layout import import_npy_layout  # noqa: PLC0415 - as above

        return import_npy_layout(self.store, folder, fingerprints=fingerprints, progress=progress, stop=stop)

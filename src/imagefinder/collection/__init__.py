"""Collections of images: the main object of the library."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from imagefinder.collection.indexed import Count
from imagefinder.collection.maintenance import MaintainedCollection
from imagefinder.core import filters, tags
from imagefinder.core.contracts import Store
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.metadata import check_metadata, check_new_id
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.core.scratch import Scratch
from imagefinder.core.settings import Settings
from imagefinder.images.resize import thumbnail
from imagefinder.indexing.file_metadata import FileMetadataReader
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.indexing.source_item import SourceItem
from imagefinder.indexing.thumbnails import ThumbnailIndexer
from imagefinder.runtime import Runtime

if TYPE_CHECKING:
    from imagefinder.indexing.npy_layout import ExportReport
    from imagefinder.indexing.pipeline import Pipeline


class Collection(MaintainedCollection):
    """A collection of images with their features.

    ``imagefinder.open`` opens one. It is thread-safe; close it after use, or use it as a context manager.
    Searching is inherited from ``SearchableCollection``, reading from ``CollectionReader``, checks, backups and
    copies from ``MaintainedCollection``.

    Attributes:
        settings: The settings.
        store: Stores the images and their features.
        runtime: The parts shared with other collections of the process.
    """

    def __init__(
        self, store: Store, runtime: Runtime, settings: Settings | None = None, scratch: Scratch | None = None
    ) -> None:
        """Create a collection; ``settings`` default to those of the runtime, ``scratch`` is for ANN indexes."""
        super().__init__(store, runtime, settings, scratch)
        runtime.attach(self)
        weakref.finalize(self, store.close)  # for a collection that is dropped without being closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files and, with the last collection of the process, decoders; idempotent."""
        self._calibrating.close()
        self.runtime.detach(self)
        self.store.close()

    # -- changing ------------------------------------------------------------------------------------------

    def add(  # wide: independent choices of one run, which callers give by keyword
        self,
        *sources: str | os.PathLike[str],
        methods: Sequence[str] | None = None,
        prune: bool = False,
        force_prune: bool = False,
        verify_content: bool = False,
        include_removed: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Event | None = None,
        guard: Guard = TRUSTED,
    ) -> AddReport:
        """Add images, then calibrate; unchanged images that are already in the collection are skipped quickly.

        A file whose bytes are known, for example because it was renamed, keeps its features.

        Args:
            sources: Files, folders (recursive), archives (zip, tar), ``.csv`` or ``.jsonl`` lists with ``url``
                and ``id``, or URLs.
            methods: Names of the methods to extract features for; default: those the collection has or, if it is
                empty, every method that is ready on this machine.
            prune: Remove images that were added from one of the sources and are no longer in it. Nothing of a
                source is removed if a whole folder of it has vanished; the report then has a note.
            force_prune: Remove them even then.
            verify_content: Read every image, also those whose size, times and inode show no change.
            include_removed: Also add images that were removed from the collection.
            progress: Called several times a second.
            stop: Set it to stop the run after the images in progress; the next run continues.
            guard: Restricts what the sources may reach, for sources named by untrusted users.

        Returns:
            What was done, with every image that failed and the reason. Failed images do not stop the run.

        Raises:
            SourceError: a source does not exist or cannot be read.
            UnknownMethodError: no method has this name.
            ModelMissingError: the weights of a requested method are not on this machine.
            FingerprintMismatchError: the collection's features were made with other parameters or weights.
        """
        from imagefinder.indexing import discover, pages  # noqa: PLC0415 - searching does not need it

        found = discover.discover(sources, guard=guard, zip_encoding=self.settings.zip_encoding)
        limits = pages.PageLimits(self.settings.max_pages, self.settings.animation_frames)
        pipeline = replace(self._pipeline(methods, guard), force_prune=force_prune)
        report = replace(pipeline, verify_content=verify_content, include_removed=include_removed).run(
            pages.with_pages(found, limits, guard),
            prune_sources=discover.source_uris(sources) if prune or force_prune else (),
            progress=progress,
            stop=stop,
        )
        return self._calibrated(report, progress, stop)

    def add_items(
        self,
        items: Iterable[SourceItem],
        methods: Sequence[str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> AddReport:
        """Add images from items that were discovered before; otherwise like ``add``."""
        report = self._pipeline(methods, TRUSTED).run(iter(items), progress=progress)
        return self._calibrated(report, progress, None)

    def _pipeline(self, methods: Sequence[str] | None, guard: Guard) -> Pipeline:
        from imagefinder.indexing.pipeline import Pipeline  # noqa: PLC0415 - searching does not need it

        chosen = self._methods.to_index(methods)
        decode = partial(self.runtime.decoder.decode, colours=self._methods.colours())
        return Pipeline(
            self.store,
            chosen,
            self.settings,
            decode,
            FileMetadataReader(self.runtime.decoder.read_metadata, guard),
            guard.check_address,
            thumbnails=ThumbnailIndexer(self.store, self.runtime),
        )

    def put(
        self, image_id: str, data: bytes, *, metadata: Mapping[str, Any] | None = None, uri: str = ""
    ) -> ImageRecord:
        """Add one image under an id of your choice, or replace the image with that id.

        The image is durable on return, with the features of every method of the collection (if the collection is
        empty: of every method that is ready). Unless the URI is that of a file, the collection keeps a preview,
        and with the setting ``keep_originals`` the data.

        Args:
            image_id: The id; any text of 1 to 1,024 bytes in UTF-8.
            data: The encoded image.
            metadata: User-defined JSON object.
            uri: URI that the image came from; optional.

        Raises:
            ImageError: the image cannot be used; nothing was changed.
            InputError: the id or the metadata are not valid.
            FingerprintMismatchError: the collection's features were made with other parameters or weights.
        """
        check_new_id(image_id)
        check_metadata(metadata or {})
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
            file_metadata=FileMetadataReader(self.runtime.decoder.read_metadata).of(image_id, uri, data),
        )
        features = {}
        for method in methods:
            self.store.register(method.extractor.fingerprint(), method.extractor.spec)
            features[method.name] = method.extractor.extract([decoded.rgb])
        in_srgb = self._methods.colours() == "srgb"
        kept = self.previews.kept(data, uri, decoded.rgb if in_srgb else None)
        entry = Entry(record, features, thumbnail(decoded.rgb), kept=kept)
        self.store.put(ThumbnailIndexer(self.store, self.runtime).with_features([entry]))
        return self.store.get(image_id)

    def remove(self, ids: str | Sequence[str], *, remember: bool = True) -> int:
        """Remove images and return the number removed; unknown ids are ignored. No file is deleted.

        Args:
            ids: Ids of the images.
            remember: Record the removals (``removals``), so that ``add`` does not add the images again.
        """
        names = [ids] if isinstance(ids, str) else list(ids)
        return self.store.delete([self.resolve(name) for name in names], remember=remember)

    def tag(self, ids: Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> int:
        """Add tags to images and remove tags from them; returns how many images changed.

        Tags are in the list ``tags`` of the metadata. Unknown ids are ignored; keywords in files do not change.

        Args:
            ids: Ids of the images.
            add: Tags to add.
            remove: Tags to remove.

        Raises:
            InputError: a tag is empty or too long.
            MetadataError: the metadata of an image would be too large; nothing was changed.
        """
        new, old = tags.checked(add), tags.checked(remove)

        def edit(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
            edited = tags.edited(metadata, add=new, remove=old)
            if edited != metadata:
                check_metadata(edited)
            return edited

        return self.store.edit_metadata([self.resolve(name) for name in ids], edit)

    def forget_removals(self, ids: Sequence[str]) -> int:
        """Take removals back, so that the next ``add`` adds these images again; returns how many there were."""
        names = [name for name in ids if not name.isascii()]
        stored = [removal.id for removal in self.store.removals()] if names else []
        others = [one for one in stored if any(filters.is_same_text(one, name) for name in names)]
        return self.store.forget_removals([*ids, *others])

    # -- other layouts -------------------------------------------------------------------------------------

    def export_features(self, folder: Path, *, progress: Count | None = None) -> ExportReport:
        """Export all images and features as ``.npy`` files, in the layout of ``indexing.npy_layout``.

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
        """Import features from ``.npy`` files, in the layout of ``indexing.npy_layout``.

        Args:
            folder: A folder written by ``export_features`` or by the original program.
            fingerprints: Method name -> fingerprint of its features; asserts that they are compatible.
            progress: Called after every batch.
            stop: Set it to stop after the batch in progress.

        Raises:
            SourceError: the folder does not have this layout.
            FingerprintMismatchError: the collection's features were made with other parameters or weights.
        """
        from imagefinder.indexing.npy_layout import import_npy_layout  # noqa: PLC0415 - searching does not need it

        return import_npy_layout(self.store, folder, fingerprints=fingerprints, progress=progress, stop=stop)

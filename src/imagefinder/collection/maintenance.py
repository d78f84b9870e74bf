"""Keeping a collection: checks, backups, copies, and the sweep of an object store."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from imagefinder.collection.backups import back_up
from imagefinder.collection.indexed import Count
from imagefinder.collection.searching import SearchableCollection
from imagefinder.collection.sweeping import sweep
from imagefinder.core.location import shown
from imagefinder.core.records import CheckReport, SweepReport
from imagefinder.core.store_parts import SupportsMonitoring

if TYPE_CHECKING:
    from imagefinder.collection.copying import CopyReport
    from imagefinder.stores.transfer import Step


class MaintainedCollection(SearchableCollection):
    """Methods of ``Collection`` that keep its data."""

    def probe(self, seconds: float) -> None:
        """Check that the engines behind the collection answer; a collection in a folder has none.

        Raises:
            StoreError: one of them is away, refuses access, or did not answer within ``seconds``.
        """
        if isinstance(self.store, SupportsMonitoring):
            self.store.probe(seconds)

    def measures(self) -> Mapping[str, float]:
        """Numbers for monitoring (``SupportsMonitoring.measures``); empty for a collection in a folder."""
        return self.store.measures() if isinstance(self.store, SupportsMonitoring) else {}

    def check(self, *, repair: bool = False, progress: Count = lambda _done, _total: None) -> CheckReport:
        """Check the integrity of the collection: tables, checksums, thumbnails, counts and derived data.

        Searching and adding remain possible, except while damaged tables are repaired.

        Args:
            repair: Repair the damage where possible. Damaged records and features are dropped, and ``add``
                recreates them. Readable rows of damaged tables are salvaged into a new database; the old one is
                kept.
            progress: Called with (done, total).

        Raises:
            CollectionBusyError: tables must be repaired while another process has the collection open.
            StoreError: the files cannot be read or written.
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
        location, images = (info.location, info.images) if info else (shown(self.settings.collection), 0)
        return CheckReport(location, images, tuple(damages), time.monotonic() - begin)

    def backup(self, destination: str | os.PathLike[str], *, progress: Count = lambda _done, _total: None) -> Path:
        """Copy a consistent snapshot of the collection, while others may search and add; returns the folder.

        The copy is a collection: to restore it, open it, or move it to the place of the original. Derived data
        (``index/``) are not copied; they are recomputed.

        Args:
            destination: A folder that is empty or does not exist. It appears complete and verified, or not at all.
            progress: Called with (done, total).

        Raises:
            SourceError: the destination is not empty.
            CollectionCorruptError: this collection is damaged.
            StoreError: the copy cannot be written, or this kind of store has no backups.
        """
        return back_up(self.store, destination, progress)

    def copy_to(
        self,
        target: MaintainedCollection,
        *,
        resume: bool = False,
        progress: Step | None = None,
        stop: Event | None = None,
    ) -> CopyReport:
        """Copy this collection to another one of any kind, and compare both; others may search and add here.

        Args:
            target: An empty collection or, with ``resume``, an unchanged copy; others raise ``SourceError``.
            resume: Continue an interrupted copy, or bring a finished one up to date.
            progress: Called with (``"copy"`` or ``"verify"``, done, total) images.
            stop: Set it to stop after the images in progress.
        """
        from imagefinder.collection.copying import copy  # noqa: PLC0415 - searching does not need it

        return copy(self.store, target.store, self.runtime, resume=resume, progress=progress, stop=stop)

    def sweep(
        self, *, days: float = 1.0, delete: bool = True, progress: Count = lambda _done, _total: None
    ) -> SweepReport | None:
        """Mark the objects in the object store that no image uses, and delete those marked ``days`` ago.

        Returns:
            ``None`` if another process is sweeping.

        Raises:
            StoreError: the features are not in an object store.
        """
        return sweep(self.store, days=days, delete=delete, progress=progress)

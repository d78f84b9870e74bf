"""The derived data of a collection: calibration, ANN indexes, and the stored duplicate report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event
from typing import Any, TypeAlias

from imagefinder.collection.calibrating import Calibrating
from imagefinder.collection.derived import Derived
from imagefinder.collection.reading import CollectionReader
from imagefinder.core.contracts import Store
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.records import AnnIndexState, CalibrationInfo, IndexReport
from imagefinder.core.results import DuplicateReport
from imagefinder.core.scratch import Scratch
from imagefinder.core.settings import Settings
from imagefinder.dedup import report as reports
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.runtime import Runtime
from imagefinder.search.null_model import NullModel

Count: TypeAlias = Callable[[int, int], None]  # called with (done, total)


class IndexedCollection(CollectionReader):
    """The methods of a ``Collection`` that keep its derived data."""

    def __init__(
        self, store: Store, runtime: Runtime, settings: Settings | None = None, scratch: Scratch | None = None
    ) -> None:
        super().__init__(store, runtime, settings)
        self._derived = Derived(store, runtime, self._methods, scratch)
        self._calibrating = Calibrating(
            store, runtime, self._derived.own_index if runtime.has_ann_indexes else None
        )

    def calibrate(self, progress: Count | None = None, stop: Event | None = None, *, wait: bool = True) -> bool:
        """Calibrate the collection unless its calibration is current; ``add`` and searches do so by themselves.

        Args:
            progress: Called with (done, total).
            stop: Set it to stop early; nothing is stored then.
            wait: If another process is calibrating the collection, wait for it.

        Returns:
            Whether there is a new null model.
        """
        return self._calibrating.fit(progress, stop, wait=wait)

    def calibration(self) -> CalibrationInfo:
        """The state of the calibration."""
        return self._calibrating.info()

    def start_calibration(self) -> None:
        """Calibrate in the background if that is due; returns immediately. Searches do so by themselves."""
        self._calibrating.start()

    def _null_model(self) -> NullModel:
        return self._calibrating.for_search()

    def _calibrated(
        self, report: AddReport, progress: Callable[[Progress], None] | None, stop: Event | None
    ) -> AddReport:
        """The report of a run, after calibrating the collection if that is due."""
        if report.interrupted or not self._calibrating.is_due():
            return report
        start, notes = time.monotonic(), report.notes
        skipped = report.unchanged + report.moved + report.excluded
        total = report.added + report.replaced + skipped + report.failed

        def step(done: int, steps: int) -> None:
            if progress is not None:
                seconds, share = report.seconds + time.monotonic() - start, done / max(steps, 1)
                counts = total, report.added, report.replaced, skipped, report.failed
                progress(Progress(*counts, seconds=seconds, current="", stage="calibrate", share=share))

        try:
            self.calibrate(step, stop, wait=False)
        except ImagefinderError as error:  # the images are stored, and can be searched
            notes = (*notes, f"the collection could not be calibrated: {error.message}")
            return replace(report, seconds=report.seconds + time.monotonic() - start, notes=notes)
        if self._calibrating.is_due():
            stopped = stop is not None and stop.is_set()
            reason = "calibrating was interrupted" if stopped else "another process is calibrating the collection"
            notes = (*notes, f"{reason}; if need be, the next add or search does it")
        return replace(report, seconds=report.seconds + time.monotonic() - start, notes=notes)

    def rebuild_index(
        self, progress: Callable[[str, int, int], None] | None = None, *, rebuild: bool = True
    ) -> IndexReport:
        """Build the ANN indexes of all methods, which propose the candidates of ``fast`` searches.

        Searches continue with the previous indexes meanwhile.

        Args:
            progress: Called with (method name, indexed images, total images).
            rebuild: Rebuild all indexes; if false, index only new images, and rebuild only outgrown indexes.

        Raises:
            CollectionCorruptError: stored features are damaged.
        """
        return self._derived.build_indexes(progress, rebuild=rebuild)

    def verify_index(self) -> IndexReport:
        """Verify the ANN indexes: the checksums of their files, and some images against the store."""
        return self._derived.verify_indexes()

    def index_states(self) -> list[AnnIndexState]:
        """The states of the ANN indexes that have been built: how many images they have, and how many wait."""
        return self._derived.states()

    def is_large(self) -> bool:
        """Whether mode ``auto`` uses ANN indexes once they are ready."""
        return self._derived.is_large()

    def keep_duplicates(self, report: DuplicateReport, *, state: Mapping[str, Any], computed_at: str) -> None:
        """Store a duplicate report with the collection, in place of the previous one.

        Args:
            report: The report that ``duplicates`` returned.
            state: State of the collection before the report was computed; a JSON object.
            computed_at: Time of the computation; ISO 8601, UTC.
        """
        self.store.put_derived(reports.NAME, reports.to_bytes(report, state=state, computed_at=computed_at))

    def kept_duplicates(self) -> reports.KeptReport | None:
        """The stored duplicate report; ``None`` if there is no readable one."""
        stored = self.store.derived(reports.NAME)
        return None if stored is None else reports.from_bytes(stored.data)

"""Progress and result of an indexing run, as data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from imagefinder.core.records import Failure

_REPORT_INTERVAL = 0.1  # seconds

Stage: TypeAlias = Literal["add", "thumbnails", "calibrate"]
"""``add``: images are added; ``thumbnails``: the keypoints of thumbnails that images of earlier versions lack are
computed; ``calibrate``: the collection is calibrated."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of an indexing run.

    Attributes:
        total: Number of images in the sources; ``None`` until all sources have been discovered.
        added: Number of new images stored so far (durable).
        replaced: Number of changed images, and images with additional features, stored so far (durable).
        unchanged: Number of images that were up to date, had only moved, or were removed earlier.
        failed: Number of images that could not be indexed.
        seconds: Elapsed time, seconds.
        current: Id of the most recent image.
        stage: The current stage.
        share: Completed fraction of a stage that follows adding, from 0 to 1.
    """

    total: int | None
    added: int
    replaced: int
    unchanged: int
    failed: int
    seconds: float
    current: str
    stage: Stage = "add"
    share: float = 0.0

    @property
    def done(self) -> int:
        """Number of images processed."""
        return self.added + self.replaced + self.unchanged + self.failed


@dataclass(frozen=True, slots=True)
class AddReport:
    """The result of an indexing run.

    Attributes:
        methods: Names of the methods whose features were extracted.
        added: Number of new images.
        replaced: Number of changed images, and of images with additional features.
        unchanged: Number of images that were up to date.
        removed: Number of images removed because their source no longer contains them.
        failures: Images that could not be indexed, and why; those of ``failed_before`` last.
        seconds: Duration, seconds.
        interrupted: Whether the run was stopped early; the next run continues.
        skipped: Number of non-image files skipped in folders and archives, by file extension.
        failed_before: Number of failures that an earlier run reported, too: of the same image, source and error
            code.
        notes: Further messages for the user, for example why nothing was pruned.
        moved: Number of images whose file was moved or renamed; they keep their features and metadata.
        excluded: Number of images skipped because they were removed from the collection earlier.
        refreshed: Number of unchanged images whose file metadata were read again.
        stacked: Number of images of the collection that count as one with another image of their stack.
        failed: Number of failures.
    """

    methods: tuple[str, ...]
    added: int
    replaced: int
    unchanged: int
    removed: int
    failures: tuple[Failure, ...]
    seconds: float
    interrupted: bool
    skipped: int = 0
    notes: tuple[str, ...] = ()
    moved: int = 0
    excluded: int = 0
    failed_before: int = 0
    refreshed: int = 0
    stacked: int = 0
    failed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "failed", len(self.failures))


@dataclass(slots=True)
class Counters:
    """Counts the results of a run and reports them periodically.

    Attributes:
        progress: Called at most ten times a second and at the end.
        failures: Images that could not be indexed.
        known_failures: Those that failed for the same reason in an earlier run.
        left_out: Number of files with pages or frames that are not added.
    """

    progress: Callable[[Progress], None] | None = None
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    moved: int = 0
    excluded: int = 0
    removed: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    known_failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    current: str = ""
    left_out: int = 0
    refreshed: int = 0
    stacked: int = 0
    _started: float = field(init=False, default_factory=time.monotonic)
    _reported: float = field(init=False)

    def __post_init__(self) -> None:
        self._reported = self._started

    def report_progress(
        self, total: int | None, *, now: bool = False, stage: Stage = "add", share: float = 0.0
    ) -> None:
        """Call ``progress`` unless the last call was very recent.

        Args:
            total: ``Progress.total``.
            now: Call it in any case.
            stage: ``Progress.stage``.
            share: ``Progress.share``.
        """
        time_now = time.monotonic()
        if self.progress is None or (time_now - self._reported < _REPORT_INTERVAL and not now):
            return
        self._reported = time_now
        self.progress(
            Progress(
                total=total,
                added=self.added,
                replaced=self.replaced,
                unchanged=self.unchanged + self.moved + self.excluded,
                failed=len(self.failures) + len(self.known_failures),
                seconds=time_now - self._started,
                current=self.current,
                stage=stage,
                share=share,
            )
        )

    def report(self, methods: Sequence[str], *, interrupted: bool) -> AddReport:
        """The result of the run so far."""
        notes = [*self.notes]
        if self.left_out:
            notes.append(
                f"files with pages or frames that were not added: {self.left_out}; from archives, lists and "
                "URLs, and of animations, only the first is added (settings: max_pages, animation_frames)"
            )
        return AddReport(
            methods=tuple(methods),
            added=self.added,
            replaced=self.replaced,
            unchanged=self.unchanged,
            removed=self.removed,
            failures=(*self.failures, *self.known_failures),
            seconds=time.monotonic() - self._started,
            interrupted=interrupted,
            skipped=self.skipped,
            notes=tuple(notes),
            moved=self.moved,
            excluded=self.excluded,
            failed_before=len(self.known_failures),
            refreshed=self.refreshed,
            stacked=self.stacked,
        )

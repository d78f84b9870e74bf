"""Progress and outcome of indexing, as data; how they are shown is decided elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from imagefinder.core.records import Failure

_REPORT_INTERVAL = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of an indexing run.

    Attributes:
        total: Images found in the sources; ``None`` until all sources have been read through.
        added: New images put so far (durable).
        replaced: Changed images, and images given further methods, put so far (durable).
        unchanged: Images that were there already.
        failed: Images that could not be indexed.
        seconds: Since the start.
        current: Id of the image dealt with last.
    """

    total: int | None
    added: int
    replaced: int
    unchanged: int
    failed: int
    seconds: float
    current: str

    @property
    def done(self) -> int:
        """Images dealt with."""
        return self.added + self.replaced + self.unchanged + self.failed


@dataclass(frozen=True, slots=True)
class AddReport:
    """What an indexing run did.

    Attributes:
        methods: Names of the methods whose features were extracted.
        added: New images.
        replaced: Changed images, and images given further methods.
        unchanged: Images that were there already.
        removed: Images removed because their source no longer has them.
        failures: What could not be indexed in this run, and why.
        seconds: Time it took.
        interrupted: Whether it was stopped before the end; the next run continues.
        skipped: Files in folders and archives passed over because they are no pictures by their name.
        notes: What else the person who started it should know, for example why nothing was pruned.
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
    failed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "failed", len(self.failures))


@dataclass(slots=True)
class Tally:
    """Counts the outcomes of a run and reports them now and then.

    Attributes:
        progress: Called at most ten times a second and at the end.
    """

    progress: Callable[[Progress], None] | None = None
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    current: str = ""
    _started: float = field(init=False, default_factory=time.monotonic)
    _reported: float = field(init=False)

    def __post_init__(self) -> None:
        self._reported = self._started

    def report_progress(self, total: int | None, *, now: bool = False) -> None:
        """Call ``progress`` if the last call is long enough ago, or ``now``; ``total`` as in ``Progress``."""
        time_now = time.monotonic()
        if self.progress is None or (time_now - self._reported < _REPORT_INTERVAL and not now):
            return
        self._reported = time_now
        self.progress(
            Progress(
                total=total,
                added=self.added,
                replaced=self.replaced,
                unchanged=self.unchanged,
                failed=len(self.failures),
                seconds=time_now - self._started,
                current=self.current,
            )
        )

    def report(self, methods: Sequence[str], *, interrupted: bool) -> AddReport:
        """The outcome of the run so far."""
        return AddReport(
            methods=tuple(methods),
            added=self.added,
            replaced=self.replaced,
            unchanged=self.unchanged,
            removed=self.removed,
            failures=tuple(self.failures),
            seconds=time.monotonic() - self._started,
            interrupted=interrupted,
            skipped=self.skipped,
            notes=tuple(self.notes),
        )

"""Progress and outcome of indexing, as data; whoever shows them decides how."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagefinder.core.records import Failure


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
        interrupted: Whether it was asked to stop before the end; the next run continues.
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

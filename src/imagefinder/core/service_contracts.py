"""The contracts of what servers and workers keep: the names of collections, API keys and jobs.

``imagefinder.testing.services`` provides a test suite for each. All implementations must be safe to call from
several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from imagefinder.core.job_records import TakenJob, TakenPortion
from imagefinder.core.jobs import Job, JobFailure, JobKind, JobProblem, JobProgress, JobState
from imagefinder.core.keys import Access, Key


class Catalogue(Protocol):
    """The collections of a server by name, without the default one.

    A name matches ``COLLECTION_NAME``. ``open_collection`` of ``wiring`` opens and creates the collections, given
    their locations.
    """

    def names(self) -> list[str]:
        """The names of all collections, sorted."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a collection with this name."""
        ...

    def location(self, name: str) -> str:
        """The location of the collection with this name: a path or a URL; of a new one, where to create it."""
        ...

    def check_deletable(self, name: str) -> None:
        """Check that a collection may be deleted over the network.

        Raises:
            CollectionProtectedError: it may not.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete a collection, which no part of this process has open any more, and everything in it.

        Other processes never see a part of it.

        Raises:
            StoreError: it cannot be deleted.
        """
        ...

    def remove_leftovers(self) -> None:
        """Remove what interrupted deletions left behind."""
        ...


class Keys(Protocol):
    """The API keys of servers. Other processes may change them at any time."""

    def entries(self) -> tuple[Key, ...]:
        """All keys, sorted by name.

        Raises:
            StoreError: they cannot be read.
        """
        ...

    def find(self, secret: bytes) -> Key | None:
        """The key with this secret, or ``None``; the comparison takes constant time.

        A key that was just created is found. A revoked key may be found for another second.

        Raises:
            StoreError: the keys cannot be read.
        """
        ...

    def exists(self, sha256: str) -> bool:
        """Whether the key with this hash exists, that is, was not revoked more than a second ago.

        Raises:
            StoreError: the keys cannot be read.
        """
        ...

    def create(self, name: str, access: Access, collections: Sequence[str] | None = None) -> str:
        """Create a key and return its secret, which is not stored.

        Args:
            name: Name of the key's owner.
            access: ``read`` or ``write``.
            collections: Names of the collections that the key may use, which need not exist; default: all.

        Raises:
            InputError: a name is invalid or already in use, or there are too many keys or collections.
            StoreError: the keys cannot be read or written.
        """
        ...

    def revoke(self, name: str) -> None:
        """Revoke a key.

        Raises:
            InputError: there is no key with this name.
            StoreError: the keys cannot be read or written.
        """
        ...

    def close(self) -> None:
        """Close files and connections; the next access opens them again."""
        ...


class Jobs(Protocol):
    """The jobs of servers: a queue, from which processes take jobs, one at a time per collection.

    A job that was added, and a state that was stored, survive a crash of every process. A job whose process has
    died is queued again, and fails after ``MAX_TRIES`` such deaths without progress.
    """

    def open(self) -> None:
        """Continue the stored jobs; if another process has locked them, as soon as it releases them."""
        ...

    def interrupt(self) -> None:
        """Interrupt the jobs that this process runs; ``take`` returns no more."""
        ...

    def close(self) -> None:
        """Release the jobs, after ``interrupt``: those that still run are queued again, their ends not stored."""
        ...

    def add(
        self,
        kind: JobKind,
        collection: str,
        spec: Mapping[str, Any],
        upload: bytes | None = None,
        *,
        client: str = "",
    ) -> Job:
        """Queue a job; it is durable on return.

        Args:
            kind: Kind of the job.
            collection: Name of the collection.
            spec: Parameters of the job, as JSON data.
            upload: Image or list that belongs to the job; deleted when it ends.
            client: Who starts the job; one client may use half of the queue.

        Raises:
            QueueFullError: the queue is full, or the share of this client is used up.
            NotReadyError: the jobs cannot be used now.
            StoreError: the job cannot be stored.
        """
        ...

    def get(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            UnknownJobError: there is none.
            NotReadyError, StoreError: the jobs cannot be read now.
        """
        ...

    def list(
        self,
        *,
        limit: int = 100,
        before: str | None = None,
        state: JobState | None = None,
        visible: Callable[[str], bool] = lambda _collection: True,
    ) -> list[Job]:
        """Jobs, newest first.

        Args:
            limit: Largest number of jobs.
            before: Only jobs older than the job with this id.
            state: Only jobs in this state.
            visible: Only jobs of collections for which this returns true.

        Raises:
            NotReadyError, StoreError: the jobs cannot be read now.
        """
        ...

    def find(self, kind: JobKind, collection: str) -> Job | None:
        """The oldest queued or running job of this kind, or ``None``; errors as for ``list``."""
        ...

    def count(self, state: JobState) -> int:
        """Number of jobs in a state."""
        ...

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: a queued one ends immediately, a running one as soon as possible.

        Returns:
            The job in its new state; an ended job is unchanged.

        Raises:
            UnknownJobError: there is none.
            StoreError: the job cannot be stored.
        """
        ...

    def watch(self, job_id: str, watcher: Callable[[Job | None], None]) -> Callable[[], None]:
        """Call ``watcher``, which must not block, with the job now and after each change.

        It is called with ``None`` when the server shuts down.

        Returns:
            A function that ends this.

        Raises:
            UnknownJobError: there is none.
        """
        ...

    def stop_watchers(self) -> None:
        """Call all watchers for the last time, because the server is shutting down."""
        ...

    def take(self) -> TakenJob | None:
        """Wait for the next job and take it; ``None`` after ``interrupt``.

        Raises:
            StoreError: it cannot be stored that the job runs.
        """
        ...

    def upload(self, job_id: str) -> bytes:
        """The upload of a job that has not ended.

        Raises:
            StoreError: the upload does not exist or cannot be read.
        """
        ...

    def publish(self, taken: TakenJob, progress: JobProgress) -> None:
        """Report the progress of a job to its watchers."""
        ...

    def change(self, taken: TakenJob, *, tries: int, **changes: Any) -> None:
        """Store and publish a new state of a job; a job that this process no longer runs is unchanged.

        Args:
            taken: The job.
            tries: Number of starts since its last progress.
            changes: New values of attributes of ``Job``.

        Raises:
            StoreError: the job cannot be stored.
        """
        ...


@runtime_checkable
class PortionedJobs(Jobs, Protocol):
    """Jobs whose work several processes share: ``take`` also returns portions of them (``TakenPortion``)."""

    def plan(
        self,
        taken: TakenJob,
        portions: Iterable[tuple[int, bytes]],
        report: Mapping[str, Any],
        failures: Sequence[JobFailure],
    ) -> None:
        """Store the portions of a job, which this process gives up: any process may take them.

        Args:
            taken: The job.
            portions: Numbers of images, and data.
            report: Counts of the whole job so far, and ``methods``, which all processes use. ``portions`` may
                change it until it ends.
            failures: Failures so far; ``portions`` may add to them.

        Raises:
            StoreError: they cannot be stored; the job is unchanged.
        """
        ...

    def complete(
        self,
        taken: TakenPortion,
        counts: Mapping[str, int],
        failures: Sequence[JobFailure],
        problem: JobProblem | None = None,
    ) -> None:
        """Store that a portion was added; one that was given to another process is unchanged.

        Args:
            taken: The portion.
            counts: Numbers of ``AddReport``.
            failures: The first failures.
            problem: Why the whole job fails; ``None`` if it does not.

        Raises:
            StoreError: it cannot be stored; another process will repeat it.
        """
        ...

    def release(self, taken: TakenPortion, *, died: bool = False) -> None:
        """Give back a portion that was not completed.

        Args:
            taken: The portion.
            died: Whether a process died with it, so that this start counts (``TakenPortion.starts``).

        Raises:
            StoreError: it cannot be stored; another process takes it when the lease is over.
        """
        ...

    def rewrite(self, taken: TakenPortion, portions: Sequence[bytes]) -> None:
        """Replace the data of a portion; this process keeps it if there is one, and any may take them if several.

        A portion that was given to another process is unchanged.

        Raises:
            StoreError: they cannot be stored.
        """
        ...

    def report(self, taken: TakenJob) -> dict[str, Any]:
        """The counts of all portions of a job together, and its ``methods``."""
        ...

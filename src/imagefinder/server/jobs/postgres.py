"""Jobs in PostgreSQL, for any number of servers and workers."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from imagefinder.core.errors import CollectionClosedError, NotReadyError, StoreError, UnknownJobError
from imagefinder.core.job_records import (
    MAX_ENDED_DAYS,
    MAX_ENDED_JOBS,
    JobRecord,
    TakenJob,
    TakenPortion,
)
from imagefinder.core.jobs import MAX_FAILURES, Job, JobFailure, JobKind, JobProblem, JobProgress, JobState
from imagefinder.core.times import now
from imagefinder.indexing.portion import VERSION as PORTION_VERSION
from imagefinder.server.jobs import rows
from imagefinder.server.jobs.claims import Claimant, claim
from imagefinder.server.jobs.followed import FollowedJobs
from imagefinder.server.jobs.queue import queue_full, share_used
from imagefinder.stores.distributed.pool import Connection, Database

log = logging.getLogger(__name__)

VERSION = 1
"""Version of the parameters of jobs. Workers take only jobs of versions that they know."""

_POLL_SECONDS = 0.5
_PUBLISH_SECONDS = 1.0
_PAGE_PORTIONS = 200


class PostgresJobs:
    """The jobs of all servers and workers that share a database."""

    def __init__(
        self,
        database: Database,
        *,
        max_queued: int,
        roots: Sequence[str] = (),
        collection: str | None = None,
        lease_seconds: float = 30.0,
    ) -> None:
        """Nothing is read yet; closing the jobs does not close the database.

        Args:
            database: The database.
            max_queued: Largest number of queued jobs.
            roots: Real paths of the folders that this process can read; it takes only work in them.
            collection: Take only jobs of this collection; ``None``: of all.
            lease_seconds: Time after which the work of a silent worker is given to another one.
        """
        self._database = database
        self._max_queued = max_queued
        self._claimant = Claimant(tuple(roots), collection, lease_seconds, VERSION, get_args(JobKind))
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._wake = threading.Condition()
        self._taken: dict[uuid.UUID, TakenJob] = {}
        self._heartbeat: threading.Thread | None = None
        self._followed = FollowedJobs(partial(_jobs, database))

    def open(self) -> None:
        """Nothing to do: jobs are taken by ``take``."""

    def interrupt(self) -> None:
        """Interrupt the jobs that this process runs; ``take`` returns no more."""
        self._closed.set()
        self._followed.stop()
        with self._lock:
            for taken in self._taken.values():
                taken.stop.set()
        with self._wake:
            self._wake.notify_all()

    def close(self) -> None:
        """Give the work that this process still does to others."""
        with self._lock:
            tokens = list(self._taken)
            self._taken.clear()
        if not tokens:
            return
        try:
            self._database.write(lambda connection: rows.release(connection, tokens))
        except StoreError as error:  # others take it when the lease is over
            log.warning("the work of this process could not be released: %s", error.message)

    # -- requests of clients ---------------------------------------------------------------------------------

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

        Raises:
            QueueFullError, NotReadyError: it cannot be queued now.
            StoreError: it cannot be stored.
        """
        if self._closed.is_set():
            raise NotReadyError("the server is shutting down", retry_after=5)
        job = Job(f"{time.time_ns() // 1000:014x}{secrets.token_hex(5)}", kind, collection, "queued", now())

        folder = spec.get("folder")

        def insert(connection: Connection) -> None:
            queued, own = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE client = %s) FROM jobs"
                " WHERE state = 'queued' AND id <> %s",
                [client, job.id],
            ).fetchone() or (0, 0)
            if client and own >= max(self._max_queued // 2, 1):
                raise share_used(own)
            if queued >= self._max_queued:
                raise queue_full(queued)
            connection.execute(
                "INSERT INTO jobs (id, kind, collection, state, version, client, folder, job, spec, tries, cancel)"
                " VALUES (%s, %s, %s, 'queued', %s, %s, %s, %s, %s, 0, false) ON CONFLICT DO NOTHING",
                [
                    job.id,
                    kind,
                    collection,
                    VERSION,
                    client,
                    folder,
                    rows.text(job),
                    json.dumps(dict(spec)),
                ],
            )
            if upload is not None:
                connection.execute(
                    "INSERT INTO job_uploads VALUES (%s, %s) ON CONFLICT DO NOTHING", [job.id, upload]
                )

        self._database.write(insert)
        with self._wake:
            self._wake.notify()
        return job

    def get(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            UnknownJobError: there is none.
        """
        found = _jobs(self._database, "WHERE id = %s", [_id(job_id)])
        if not found:
            raise UnknownJobError(job_id, days=MAX_ENDED_DAYS)
        return found[0]

    def list(
        self,
        *,
        limit: int = 100,
        before: str | None = None,
        state: JobState | None = None,
        visible: Callable[[str], bool] = lambda _collection: True,
    ) -> list[Job]:
        """Jobs, newest first."""
        found: list[Job] = []
        last = before
        while len(found) < limit:
            condition = "WHERE (%s::text IS NULL OR id < %s) AND (%s::text IS NULL OR state = %s)"
            page = _jobs(
                self._database,
                f"{condition} ORDER BY id DESC LIMIT %s",
                [last and _id(last), last and _id(last), state, state, max(limit, 100)],
            )
            found += [job for job in page if visible(job.collection)]
            if len(page) < max(limit, 100):
                break
            last = page[-1].id
        return found[:limit]

    def find(self, kind: JobKind, collection: str) -> Job | None:
        """The oldest queued or running job of this kind, or ``None``."""
        condition = "WHERE kind = %s AND collection = %s AND state IN ('queued', 'running') ORDER BY id LIMIT 1"
        return next(iter(_jobs(self._database, condition, [kind, collection])), None)

    def count(self, state: JobState) -> int:
        """Number of jobs of all servers in a state."""
        query = "SELECT count(*) FROM jobs WHERE state = %s"
        row = self._database.read(lambda connection: connection.execute(query, [state]).fetchone())
        return int(row[0]) if row else 0

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: a queued one ends immediately, a running one within seconds.

        Raises:
            UnknownJobError: there is none.
            StoreError: the job cannot be stored.
        """

        def work(connection: Connection) -> Job | None:
            record = rows.locked(connection, "id = %s", [_id(job_id)])
            if record is None:
                return None
            if record.job.ended:
                return record.job
            if record.job.state == "queued":
                record = replace(record, job=replace(record.job, state="cancelled", finished_at=now()))
            rows.write(connection, replace(record, cancel=True))
            return record.job

        job = self._database.write(work)
        if job is None:
            raise UnknownJobError(job_id, days=MAX_ENDED_DAYS)
        return job

    def watch(self, job_id: str, watcher: Callable[[Job | None], None]) -> Callable[[], None]:
        """Call ``watcher`` with the job now and after each change, and with ``None`` at shutdown.

        Raises:
            UnknownJobError: there is none.
        """
        return self._followed.add(self.get(job_id), watcher)

    def stop_watchers(self) -> None:
        """Call all watchers for the last time, because the server is shutting down."""
        self._followed.stop()

    # -- running ---------------------------------------------------------------------------------------------

    def take(self) -> TakenJob | None:
        """Wait for a portion or the next job, and take it; ``None`` after ``interrupt``.

        While the database is not available, it is tried again.
        """
        while not self._closed.is_set():
            token = uuid.uuid4()
            try:
                taken = self._database.write(partial(claim, claimant=self._claimant, token=token))
            except StoreError as error:
                log.warning("no work can be taken: %s", error.message)
                self._closed.wait(_POLL_SECONDS)
                continue
            if taken is None:
                with self._wake:
                    self._wake.wait(_POLL_SECONDS)
                continue
            with self._lock:
                self._taken[token] = taken
                if self._closed.is_set():
                    taken.stop.set()
                if self._heartbeat is None:
                    self._heartbeat = threading.Thread(target=self._beat, name="imagefinder-leases", daemon=True)
                    self._heartbeat.start()
            return taken
        return None

    def upload(self, job_id: str) -> bytes:
        """The upload of a job that has not ended.

        Raises:
            StoreError: the upload does not exist or cannot be read.
        """
        query = "SELECT data FROM job_uploads WHERE job = %s"
        row = self._database.read(lambda connection: connection.execute(query, [job_id]).fetchone())
        if row is None:
            raise StoreError(f"the job {job_id} has no upload")
        return bytes(row[0])

    def publish(self, taken: TakenJob, progress: JobProgress) -> None:
        """Store the progress of a job once a second."""
        if isinstance(taken, TakenPortion) or time.monotonic() < taken.publish_at:
            return
        taken.publish_at = time.monotonic() + _PUBLISH_SECONDS
        self._update(taken, taken.record.tries, {"progress": progress})

    def change(self, taken: TakenJob, *, tries: int, **changes: Any) -> None:
        """Store a new state of a job; a job that was given to another worker is unchanged.

        Raises:
            StoreError: the job cannot be stored.
        """
        ends = changes.get("state", "running") != "running"
        try:
            self._update(taken, tries, changes)
        finally:
            if ends:
                self._given_up(taken)
        if ends:
            self._prune()

    # -- portions --------------------------------------------------------------------------------------------

    def plan(
        self,
        taken: TakenJob,
        portions: Iterable[tuple[int, bytes]],
        report: Mapping[str, Any],
        failures: Sequence[JobFailure],
    ) -> None:
        """Store the portions of a job, which this process gives up: any worker may take them.

        Args:
            taken: The job.
            portions: Numbers of images, and data.
            report: Counts of the whole job so far, and ``methods``, which all workers use. ``portions`` may change
                it until it ends.
            failures: Failures so far; ``portions`` may add to them.

        Raises:
            StoreError: they cannot be stored; the job is unchanged.
        """
        job_id, total, number = taken.job.id, 0, 0
        page: list[tuple[str, int, int, bytes]] = []
        self._database.write(
            lambda connection: connection.execute("DELETE FROM portions WHERE job = %s", [job_id])
        )
        for images, data in portions:
            page.append((job_id, number, PORTION_VERSION, data))
            number, total = number + 1, total + images
            if len(page) == _PAGE_PORTIONS:
                self._store(page)
                page = []
        self._store(page)

        def begin(connection: Connection) -> None:
            record = rows.locked(connection, "id = %s AND worker = %s", [job_id, taken.token])
            if record is None or record.job.ended:
                return
            failed = report["failed"]
            progress = JobProgress("add", failed, total + failed, 0, 0, failed)
            job = replace(record.job, progress=progress, failures=tuple(failures[:MAX_FAILURES]))
            rows.write(connection, replace(record, job=job, tries=0))
            spec = {**record.spec, "methods": report["methods"]}
            connection.execute(
                "UPDATE jobs SET portioned = true, worker = NULL, lease = NULL, spec = %s, report = %s"
                " WHERE id = %s",
                [json.dumps(spec), json.dumps(dict(report)), job_id],
            )

        self._database.write(begin)
        self._given_up(taken)

    def complete(
        self,
        taken: TakenPortion,
        counts: Mapping[str, int],
        failures: Sequence[JobFailure],
        problem: JobProblem | None = None,
    ) -> None:
        """Store that a portion was added; one that was given to another worker is unchanged.

        Args:
            taken: The portion.
            counts: Numbers of ``AddReport``.
            failures: The first failures.
            problem: Why the whole job fails; ``None`` if it does not.

        Raises:
            StoreError: it cannot be stored; another worker will repeat it.
        """

        def work(connection: Connection) -> None:
            record = rows.locked(connection, "id = %s", [taken.job.id])  # the job first, as ``cancel`` does
            done = connection.execute(
                "DELETE FROM portions WHERE job = %s AND number = %s AND worker = %s",
                [taken.job.id, taken.number, taken.token],
            ).rowcount
            if record is None or record.job.ended or not done:
                return
            record = rows.add_counts(connection, record, counts, failures)
            if problem is not None:
                job = replace(record.job, state="failed", finished_at=now(), problem=problem)
                rows.write(connection, replace(record, job=job))

        try:
            self._database.write(work)
        finally:
            self._given_up(taken)

    def release(self, taken: TakenPortion, *, died: bool = False) -> None:
        """Give a portion that this process stopped to others.

        Args:
            taken: The portion.
            died: Whether a process died with it, so that this start counts.

        Raises:
            StoreError: it cannot be stored; others take it when the lease is over.
        """
        try:
            self._database.write(lambda connection: rows.release(connection, [taken.token], died=died))
        finally:
            self._given_up(taken)

    def rewrite(self, taken: TakenPortion, portions: Sequence[bytes]) -> None:
        """Replace the data of a portion, or the portion by several, which any worker may take.

        Raises:
            StoreError: they cannot be stored.
        """
        self._database.write(partial(rows.rewrite, taken=taken, portions=portions))
        if len(portions) > 1:
            self._given_up(taken)

    def report(self, taken: TakenJob) -> dict[str, Any]:
        """The counts of all portions of a job together; empty if it has none."""
        query = "SELECT report FROM jobs WHERE id = %s"
        row = self._database.read(lambda connection: connection.execute(query, [taken.job.id]).fetchone())
        return dict(json.loads(row[0])) if row and row[0] else {}

    def _store(self, page: Sequence[tuple[str, int, int, bytes]]) -> None:
        def work(connection: Connection) -> None:
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO portions (job, number, version, data) VALUES (%s, %s, %s, %s)"
                    " ON CONFLICT DO NOTHING",
                    page,
                )

        if page:
            self._database.write(work)

    def _update(self, taken: TakenJob, tries: int, changes: Mapping[str, Any]) -> None:
        def work(connection: Connection) -> JobRecord | None:
            record = rows.locked(connection, "id = %s AND worker = %s", [taken.job.id, taken.token])
            if record is None or record.job.ended:
                return None
            record = replace(record, job=replace(record.job, **changes), tries=tries)
            rows.write(connection, record)
            return record

        record = self._database.write(work)
        if record is not None:
            taken.record = record

    def _given_up(self, taken: TakenJob) -> None:
        with self._lock:
            self._taken.pop(taken.token, None)
        with self._wake:
            self._wake.notify_all()

    def _prune(self) -> None:
        self._database.run(
            lambda connection: connection.execute(
                "DELETE FROM jobs WHERE finished_at < now() - make_interval(days => %s) OR finished_at <"
                " (SELECT finished_at FROM jobs WHERE finished_at IS NOT NULL"
                " ORDER BY finished_at DESC OFFSET %s LIMIT 1)",
                [MAX_ENDED_DAYS, MAX_ENDED_JOBS - 1],
            )
        )

    def _beat(self) -> None:
        """Renew the leases of this process; work that was lost or cancelled is stopped."""
        seconds = self._claimant.lease_seconds
        while True:
            time.sleep(seconds / 5)
            with self._lock:
                if not self._taken:
                    self._heartbeat = None
                    return
                taken = dict(self._taken)
            try:
                kept, cancelled = self._database.write(
                    lambda connection: rows.renew(connection, list(taken), seconds)  # noqa: B023 - called here
                )
            except CollectionClosedError:  # so is everything that this process did
                return
            except StoreError as error:
                log.warning("leases could not be renewed: %s", error.message)
                continue
            for token, one in taken.items():
                if one.job.id in cancelled:
                    one.record = replace(one.record, cancel=True)
                if token not in kept or one.job.id in cancelled:
                    one.stop.set()


def _jobs(database: Database, condition: str, values: Sequence[Any]) -> list[Job]:
    query = f"SELECT {rows.COLUMNS} FROM jobs {condition}".encode()  # noqa: S608 - our own text
    found = database.read(lambda connection: connection.execute(query, values).fetchall())
    return [record.job for row in found if (record := rows.read_record(row)) is not None]


def _id(job_id: str) -> str:
    """An id from a client, as text of the database, which has no NUL and no surrogates."""
    return job_id.encode("ascii", "replace").decode().replace("\0", "?")

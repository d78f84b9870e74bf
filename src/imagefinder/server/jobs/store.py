"""Durable storage of the jobs of a server; no crash loses a job."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from imagefinder.core.errors import StoreError
from imagefinder.core.job_records import UNREADABLE, JobRecord, from_content
from imagefinder.core.location import scheme_of, shown
from imagefinder.core.serialization import to_json
from imagefinder.server.jobs import legacy
from imagefinder.server.state import State, make_folder, translated_errors

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)

_SAVE = """
INSERT INTO jobs (id, queue, job, spec, tries, cancel) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET job = excluded.job, tries = excluded.tries, cancel = excluded.cancel
"""


class JobStore:
    """The jobs of the servers with one default collection; only the process with the lock may use them."""

    def __init__(self, state: Path, collection: str | os.PathLike[str]) -> None:
        """Store the locations; nothing is opened or created.

        Args:
            state: Folder of the server's state.
            collection: Folder or URL of the default collection. Servers with different ones can share ``state``.
        """
        # A URL without its password, so that the jobs stay the same when that changes.
        location = os.fspath(collection)
        real = shown(location) if scheme_of(location) else os.path.realpath(location)
        digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:12]
        self._queue = f"{Path(real).name}-{digest}"
        self._folder = state / "jobs" / self._queue
        self._state = State(state)
        # A soft lock would outlive a killed server.
        self._lock = FileLock(self._folder / "lock", mode=0o600, thread_local=False, fallback_to_soft=False)

    def exists(self) -> bool:
        """Whether any job was ever stored."""
        return self._folder.is_dir()

    def acquire(self) -> bool:
        """Take the lock on the jobs; false if another process has it.

        Raises:
            StoreError: the state cannot be used.
        """
        if self._lock.is_locked:
            return True
        with translated_errors(self._folder):
            make_folder(self._folder)
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                return False
            try:
                self._import_files()
            except BaseException:
                self._lock.release()
                raise
        return True

    def release(self) -> None:
        """Release the lock on the jobs."""
        self._state.close()
        self._lock.release()

    def add(self, record: JobRecord, upload: bytes | None = None) -> None:
        """Store a new job with its uploaded image or list; durable on return.

        Raises:
            StoreError: the job cannot be written.
        """
        with self._state.writing() as database:
            self._write(database, record)
            if upload is not None:
                database.execute("INSERT INTO uploads (job, data) VALUES (?, ?)", (record.job.id, upload))

    def save(self, record: JobRecord) -> None:
        """Store the new state of a job; durable on return. The upload of an ended job is deleted.

        Raises:
            StoreError: the job cannot be written.
        """
        with self._state.writing() as database:
            self._write(database, record)
            if record.job.ended:
                database.execute("DELETE FROM uploads WHERE job = ?", (record.job.id,))

    def upload(self, job_id: str) -> bytes:
        """The upload of a job.

        Raises:
            StoreError: the upload does not exist or cannot be read.
        """
        with self._state.reading() as database:
            row = database.execute("SELECT data FROM uploads WHERE job = ?", (job_id,)).fetchone()
        if row is None:
            raise StoreError(f"the job {job_id} has no upload")
        return bytes(row[0])

    def delete(self, job_ids: Iterable[str]) -> None:
        """Remove jobs and their uploads.

        Raises:
            StoreError: the jobs cannot be removed.
        """
        with self._state.writing() as database:
            database.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in job_ids])

    def load(self) -> list[JobRecord]:
        """All jobs, sorted by id; damaged ones are logged and skipped, but not deleted.

        Raises:
            StoreError: the state cannot be read.
        """
        with self._state.reading() as database:
            rows = database.execute(
                "SELECT id, job, spec, tries, cancel FROM jobs WHERE queue = ? ORDER BY id", (self._queue,)
            ).fetchall()
        records: list[JobRecord] = []
        for job_id, job, spec, tries, cancel in rows:
            try:
                content = {
                    "job": json.loads(job),
                    "spec": json.loads(spec),
                    "tries": tries,
                    "cancel": bool(cancel),
                }
                records.append(from_content(job_id, content))
            except UNREADABLE as error:
                log.error("skipped the damaged job %s in %s: %s", job_id, self._state.file, error)  # noqa: TRY400
        return records

    def list_path(self, collection: str) -> Path:
        """The file to which the list of a job is written before it is read; the same for all jobs of a collection.

        The file is the source of the images, so a later list can update and prune the images of an earlier one.
        """
        return self._folder / "lists" / hashlib.sha256(collection.encode("utf-8")).hexdigest()[:12] / "list.csv"

    def _write(self, database: sqlite3.Connection, record: JobRecord) -> None:
        job, spec = json.dumps(to_json(record.job)), json.dumps(dict(record.spec))
        database.execute(_SAVE, (record.job.id, self._queue, job, spec, record.tries, record.cancel))

    def _import_files(self) -> None:
        """Import the job files of version 0.1.0; the lock also covers them."""
        imported: list[str] = []
        if not any(self._folder.glob("*.json")):
            return
        with self._state.writing() as database:
            for record, upload in legacy.read_files(self._folder):
                imported.append(record.job.id)
                # After a crash between commit and move, the job is already in the state.
                if database.execute("SELECT 1 FROM jobs WHERE id = ?", (record.job.id,)).fetchone():
                    continue
                self._write(database, record)
                if upload is not None:
                    database.execute("INSERT INTO uploads (job, data) VALUES (?, ?)", (record.job.id, upload))
        legacy.set_aside(self._folder, imported)

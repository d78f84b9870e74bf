"""Jobs on disk: one JSON file each and what it needs beside it; no crash, at whatever moment, loses any."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from imagefinder.core.errors import StoreError
from imagefinder.core.jobs import Job
from imagefinder.core.serialization import from_json, to_json

log = logging.getLogger(__name__)

FORMAT = 1
_RECORD, _DATA = ".json", ".data"


@dataclass(frozen=True, slots=True)
class Saved:
    """A job with what is not told about it.

    Attributes:
        job: What is told.
        spec: What it is to do, as JSON.
        tries: How often it began to run, since it last got any further, without coming to an end.
        cancel: Whether it was told to stop.
    """

    job: Job
    spec: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 0
    cancel: bool = False


class JobStore:
    """The jobs of one server; only the process that holds its lock may change them."""

    def __init__(self, state: Path, collection: Path) -> None:
        """Nothing is opened or made.

        Args:
            state: What the server keeps.
            collection: Folder of the default collection: servers of different ones may share ``state``.
        """
        place = os.path.realpath(collection)
        digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
        self.folder = state / "jobs" / f"{Path(place).name}-{digest}"
        self._lock: IO[bytes] | None = None

    def exists(self) -> bool:
        """Whether there ever was a job."""
        return self.folder.is_dir()

    def acquire(self) -> bool:
        """Become the one process that changes these jobs, if no other is.

        Raises:
            StoreError: the folder cannot be made or written.
        """
        if self._lock is not None:
            return True
        with _told(self.folder):
            if not self.exists():
                self.folder.mkdir(parents=True, mode=0o700)
                for parent in (self.folder, *self.folder.parents[:3]):
                    _sync_folder(parent)
            lock = (self.folder / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        self._lock = lock
        return True

    def release(self) -> None:
        """Let another process have them."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def save(self, saved: Saved) -> None:
        """Write a job down; durable on return.

        Raises:
            StoreError: it cannot be written.
        """
        content = {
            "format": FORMAT,
            "job": to_json(saved.job),
            "spec": dict(saved.spec),
            "tries": saved.tries,
            "cancel": saved.cancel,
        }
        self._write(saved.job.id + _RECORD, json.dumps(content).encode("ascii"))

    def put_data(self, job_id: str, data: bytes) -> None:
        """Keep the picture or list of a job, before the job itself is saved; durable on return.

        Raises:
            StoreError: it cannot be written.
        """
        self._write(job_id + _DATA, data)

    def data(self, job_id: str) -> bytes:
        """What was kept.

        Raises:
            StoreError: it is gone or cannot be read.
        """
        with _told(self.data_path(job_id)):
            return self.data_path(job_id).read_bytes()

    def data_path(self, job_id: str) -> Path:
        """Where it is kept."""
        return self.folder / (job_id + _DATA)

    def drop_data(self, job_id: str) -> None:
        """Forget what was kept for a job."""
        self.data_path(job_id).unlink(missing_ok=True)

    def delete(self, job_id: str) -> None:
        """Forget a job and what was kept for it."""
        (self.folder / (job_id + _RECORD)).unlink(missing_ok=True)
        self.drop_data(job_id)

    def load(self) -> list[Saved]:
        """All jobs in order of id; what a crash left half is cleared away.

        A record that cannot be read (a damaged disk, a newer format) is left where it is, and the log tells.

        Raises:
            StoreError: the folder cannot be read.
        """
        with _told(self.folder):
            names = sorted(path.name for path in self.folder.iterdir())
        jobs: list[Saved] = []
        for name in names:
            path = self.folder / name
            if name.endswith(_RECORD):
                try:
                    jobs.append(_read(path))
                except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                    log.error("the job in %s cannot be read and is passed over: %s", path, error)  # noqa: TRY400
            elif name.endswith(".new") or (name.endswith(_DATA) and name.replace(_DATA, _RECORD) not in names):
                path.unlink(missing_ok=True)  # never acknowledged
        for saved in jobs:
            if saved.job.ended:
                self.drop_data(saved.job.id)
        return jobs

    def _write(self, name: str, data: bytes) -> None:
        target = self.folder / name
        new = self.folder / (name + ".new")
        with _told(target):
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(target)
            _sync_folder(self.folder)


def _read(path: Path) -> Saved:
    content = json.loads(path.read_bytes())
    json.dumps(content, allow_nan=False, ensure_ascii=False).encode()  # what cannot be told again is damaged
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']}, and this version knows {FORMAT}")
    job = from_json(Job, content["job"])
    if job.id + _RECORD != path.name:  # ids become names of files
        raise ValueError(f"it is of another job, {job.id[:100]!a}")
    spec, tries, cancel = content["spec"], content["tries"], content["cancel"]
    if not (isinstance(spec, dict) and isinstance(cancel, bool) and _is_count(tries)):
        raise ValueError("what it is to do is not told")
    return Saved(job, spec, tries, cancel)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _told(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a word
    """Turns what the file system refuses into an error of the library."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise StoreError(
                f"{self._path} cannot be used: {error.strerror}",
                hint="the setting state names the folder; is the disk full, or read-only?",
            ) from error

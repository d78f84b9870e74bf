"""Taking work from the tables of jobs and portions: each piece by one worker, under a lease."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from imagefinder.core.job_records import MAX_TRIES, TakenJob, TakenPortion
from imagefinder.core.times import now
from imagefinder.indexing.portion import VERSIONS
from imagefinder.server.jobs import rows
from imagefinder.stores.distributed.pool import Connection

_CLAIMING = int.from_bytes(b"imgfjobs")
"""Key of the advisory lock under which whole jobs are taken, so that a collection gets one at a time."""

# A folder can be read if it is one of the worker's folders or below one.
_POSSIBLE = """
    jobs.version <= %(version)s AND jobs.kind = ANY(%(kinds)s)
    AND (%(only)s::text IS NULL OR jobs.collection = %(only)s)
    AND (jobs.folder IS NULL OR EXISTS (SELECT 1 FROM unnest(%(roots)s::text[]) AS root
        WHERE jobs.folder = root OR starts_with(jobs.folder, rtrim(root, '/') || '/')))
"""

_PORTION = f"""
UPDATE portions SET worker = %(token)s, lease = now() + make_interval(secs => %(seconds)s), tries = tries + 1
WHERE (job, number) = (
    SELECT portions.job, portions.number FROM portions JOIN jobs ON jobs.id = portions.job
    WHERE jobs.state = 'running' AND jobs.portioned AND NOT jobs.cancel AND {_POSSIBLE}
    AND portions.version = ANY(%(portions)s) AND (portions.lease IS NULL OR portions.lease < now())
    ORDER BY portions.job, portions.number LIMIT 1 FOR UPDATE OF portions SKIP LOCKED)
RETURNING job, number, data, tries
"""  # noqa: S608 - our own text

# A whole job: the oldest one whose collection has no running job; one whose worker has died; or a portioned one
# without portions, or a cancelled one without a live worker, which has to be finished.
_JOB = f"""
SELECT id, job, spec, tries, cancel, portioned, report FROM jobs
WHERE {_POSSIBLE} AND (
    (state = 'queued' AND NOT EXISTS (
        SELECT 1 FROM jobs AS other WHERE other.collection = jobs.collection AND other.state = 'running'))
    OR (state = 'running' AND worker IS NOT NULL AND lease < now())
    OR (state = 'running' AND portioned AND worker IS NULL AND NOT EXISTS (
        SELECT 1 FROM portions WHERE portions.job = jobs.id AND (NOT jobs.cancel OR portions.lease > now()))))
ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - our own text


@dataclass(frozen=True, slots=True)
class Claimant:
    """A process that takes work.

    Attributes:
        roots: Real paths of the folders that it can read.
        collection: Name of the only collection whose jobs it takes; ``None`` for all.
        lease_seconds: Time for which it owns what it takes; it renews the lease before.
        version: Largest version of jobs that it knows.
        kinds: Kinds of jobs that it knows.
    """

    roots: Sequence[str]
    collection: str | None
    lease_seconds: float
    version: int
    kinds: Sequence[str]

    def values(self, token: uuid.UUID) -> dict[str, Any]:
        """The parameters of the statements."""
        return {
            "token": token,
            "seconds": self.lease_seconds,
            "version": self.version,
            "kinds": list(self.kinds),
            "only": self.collection,
            "roots": [root for root in self.roots if os.path.exists(root)],  # noqa: PTH110 - text; not mounted
            "portions": list(VERSIONS),
        }


def claim(connection: Connection, claimant: Claimant, token: uuid.UUID) -> TakenJob | None:
    """Take a portion or, if there is none, the next whole job; ``None`` if there is none either."""
    return _claim_portion(connection, claimant, token) or _claim_job(connection, claimant, token)


def _claim_portion(connection: Connection, claimant: Claimant, token: uuid.UUID) -> TakenPortion | None:
    """Take the next portion, or one whose worker has died; ``None`` if there is none."""
    row = connection.execute(_PORTION.encode(), claimant.values(token)).fetchone()
    if row is None:
        return None
    job_id, number, data, tries = row
    found = connection.execute("SELECT id, job, spec, tries, cancel FROM jobs WHERE id = %s", [job_id]).fetchone()
    record = None if found is None else rows.read_record(found)
    if record is None:
        return None
    return TakenPortion(record, token=token, number=number, data=bytes(data), starts=tries)


def _claim_job(connection: Connection, claimant: Claimant, token: uuid.UUID) -> TakenJob | None:
    """Take the next whole job; ``None`` if there is none."""
    free = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_CLAIMING]).fetchone()
    row = connection.execute(_JOB.encode(), claimant.values(token)).fetchone() if free and free[0] else None
    record = None if row is None else rows.read_record(row)
    if row is None or record is None:
        return None
    if record.job.state == "running" and (record.cancel or record.tries >= MAX_TRIES):  # its workers are dead
        ended = record.after_restart()
        report = {**json.loads(row[6]), "interrupted": True} if row[6] else None
        rows.write(connection, replace(ended, job=replace(ended.job, result=report)))
        return None
    job = record.job
    if job.state != "running":
        job = replace(job, state="running", started_at=now())
    record = replace(record, job=job, tries=record.tries + 1)
    rows.write(connection, record)
    connection.execute(
        "UPDATE jobs SET worker = %(token)s, lease = now() + make_interval(secs => %(seconds)s) WHERE id = %(id)s",
        {"token": token, "seconds": claimant.lease_seconds, "id": job.id},
    )
    return TakenJob(record, token=token, portioned=bool(row[5]))

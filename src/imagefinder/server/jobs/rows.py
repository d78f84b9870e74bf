"""Rows of the tables of jobs and portions."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from imagefinder.core.job_records import UNREADABLE, JobRecord, TakenPortion, from_content
from imagefinder.core.jobs import ENDED, MAX_FAILURES, Job, JobFailure, JobProgress
from imagefinder.core.serialization import to_json
from imagefinder.indexing.portion import VERSION as PORTION_VERSION
from imagefinder.stores.distributed.pool import Connection

log = logging.getLogger(__name__)

COLUMNS = "id, job, spec, tries, cancel"
"""The columns that ``read_record`` reads."""


def read_record(row: Sequence[Any]) -> JobRecord | None:
    """The record in a row of ``id, job, spec, tries, cancel``; ``None`` and a line in the log if it is damaged."""
    job_id, job, spec, tries, cancel = row[:5]
    try:
        content = {"job": json.loads(job), "spec": json.loads(spec), "tries": tries, "cancel": cancel}
        return from_content(job_id, content)
    except UNREADABLE as error:
        log.error("skipped the damaged job %s: %s", job_id, error)  # noqa: TRY400
        return None


def locked(connection: Connection, condition: str, values: Sequence[Any]) -> JobRecord | None:
    """The record of a job, whose row stays locked until the transaction ends; ``None`` if there is none."""
    query = f"SELECT {COLUMNS} FROM jobs WHERE {condition} FOR UPDATE"  # noqa: S608 - our own text
    row = connection.execute(query.encode(), values).fetchone()
    return None if row is None else read_record(row)


def write(connection: Connection, record: JobRecord) -> None:
    """Store a record whose row is locked; an ended or queued job has no worker."""
    job = record.job
    running, ended = job.state == "running", job.state in ENDED
    connection.execute(
        "UPDATE jobs SET state = %s, job = %s, tries = %s, cancel = %s,"
        " worker = CASE WHEN %s THEN worker END, lease = CASE WHEN %s THEN lease END,"
        " finished_at = CASE WHEN %s THEN now() END WHERE id = %s",
        [job.state, text(job), record.tries, record.cancel, running, running, ended, job.id],
    )
    if ended:
        connection.execute("DELETE FROM job_uploads WHERE job = %s", [job.id])
        connection.execute("DELETE FROM portions WHERE job = %s", [job.id])


def add_counts(
    connection: Connection, record: JobRecord, counts: Mapping[str, int], failures: Sequence[JobFailure]
) -> JobRecord:
    """Add the counts and failures of a portion to those of its job, whose row is locked."""
    row = connection.execute("SELECT report FROM jobs WHERE id = %s", [record.job.id]).fetchone()
    report = json.loads(row[0]) if row and row[0] else {}
    report |= {name: report.get(name, 0) + count for name, count in counts.items()}
    job, old = record.job, record.job.progress
    added = report.get("added", 0) + report.get("replaced", 0)
    skipped = report.get("unchanged", 0) + report.get("moved", 0) + report.get("excluded", 0)
    failed = report.get("failed", 0)
    done = added + skipped + failed
    progress = JobProgress("add", done, max(old.total or 0, done), added, skipped, failed)
    job = replace(job, progress=progress, failures=(*job.failures, *failures)[:MAX_FAILURES])
    record = replace(record, job=job)
    write(connection, record)
    connection.execute("UPDATE jobs SET report = %s WHERE id = %s", [json.dumps(report), job.id])
    return record


def release(connection: Connection, tokens: Sequence[uuid.UUID], *, died: bool = False) -> None:
    """Give up portions and jobs, which were not completed; if a process ``died``, the start counts."""
    connection.execute(
        "UPDATE portions SET worker = NULL, lease = NULL, tries = greatest(tries - %s, 0) WHERE worker = ANY(%s)",
        [0 if died else 1, list(tokens)],
    )
    query = f"SELECT {COLUMNS} FROM jobs WHERE worker = ANY(%s) ORDER BY id FOR UPDATE"  # noqa: S608
    for row in connection.execute(query.encode(), [list(tokens)]).fetchall():
        record = read_record(row)
        if record is not None and not record.job.ended:
            job = replace(record.job, state="queued", started_at=None)
            write(connection, replace(record, job=job, tries=0))


def rewrite(connection: Connection, *, taken: TakenPortion, portions: Sequence[bytes]) -> None:
    """Replace a portion by one, which keeps its worker, or by several without workers; others' are unchanged."""
    job_id, own = taken.job.id, [taken.job.id, taken.number, taken.token]
    if len(portions) == 1:
        connection.execute(
            "UPDATE portions SET version = %s, data = %s WHERE job = %s AND number = %s AND worker = %s",
            [PORTION_VERSION, portions[0], *own],
        )
        return
    connection.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", [job_id])  # as ``complete`` does
    query = "DELETE FROM portions WHERE job = %s AND number = %s AND worker = %s"
    if connection.execute(query, own).rowcount:
        connection.execute(
            "INSERT INTO portions (job, number, version, data)"
            " SELECT %s, (SELECT coalesce(max(number), -1) FROM portions WHERE job = %s) + place, %s, data"
            " FROM unnest(%s::bytea[]) WITH ORDINALITY AS new (data, place)",
            [job_id, job_id, PORTION_VERSION, list(portions)],
        )


def renew(connection: Connection, tokens: Sequence[uuid.UUID], seconds: float) -> tuple[set[uuid.UUID], set[str]]:
    """Renew leases; returns those that this process still has, and the ids of cancelled jobs."""
    values = [seconds, list(tokens)]
    kept: set[uuid.UUID] = set()
    ids: list[str] = []
    for table, column in (("portions", "job"), ("jobs", "id")):
        query = (
            f"UPDATE {table} SET lease = now() + make_interval(secs => %s)"  # noqa: S608 - our own text
            f" WHERE worker = ANY(%s) RETURNING worker, {column}"
        )
        for token, job_id in connection.execute(query.encode(), values).fetchall():
            kept.add(token)
            ids.append(job_id)
    query = "SELECT id FROM jobs WHERE id = ANY(%s) AND cancel"
    return kept, {job_id for (job_id,) in connection.execute(query, [ids]).fetchall()}


def text(job: Job) -> str:
    """A job as text."""
    return json.dumps(to_json(job))

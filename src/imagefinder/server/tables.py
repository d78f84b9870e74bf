"""The tables of servers and workers in PostgreSQL: keys, jobs, portions, rate limits and recent searches."""

from __future__ import annotations

from imagefinder.stores.distributed.schema import Tables

# Jobs and their parameters are JSON in text columns: jsonb cannot contain NUL. A portioned job without a worker
# has portions, which any worker may take; otherwise one worker does all of it. Ids of jobs increase with time.
# Unlogged tables may be lost when the primary fails: then clients search again, and rate limits start full.
_TABLES = (
    """
    CREATE TABLE api_keys (
        name text PRIMARY KEY,
        access text NOT NULL,
        sha256 text NOT NULL,
        created_at double precision NOT NULL,
        collections text
    )
    """,
    """
    CREATE TABLE jobs (
        id text PRIMARY KEY,
        kind text NOT NULL,
        collection text NOT NULL,
        state text NOT NULL,
        version integer NOT NULL,
        client text NOT NULL,
        folder text,
        job text NOT NULL,
        spec text NOT NULL,
        tries integer NOT NULL,
        cancel boolean NOT NULL,
        portioned boolean NOT NULL DEFAULT false,
        report text,
        worker uuid,
        lease timestamptz,
        finished_at timestamptz
    )
    """,
    "CREATE UNIQUE INDEX jobs_running ON jobs (collection) WHERE state = 'running'",
    "CREATE INDEX jobs_queued ON jobs (id) WHERE state = 'queued'",
    """
    CREATE TABLE job_uploads (
        job text PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
        data bytea NOT NULL
    )
    """,
    """
    CREATE TABLE portions (
        job text NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        number integer NOT NULL,
        version integer NOT NULL,
        data bytea NOT NULL,
        tries integer NOT NULL DEFAULT 0,
        worker uuid,
        lease timestamptz,
        PRIMARY KEY (job, number)
    )
    """,
    """
    CREATE UNLOGGED TABLE rate_limits (
        client text PRIMARY KEY,
        tokens double precision NOT NULL,
        granted double precision NOT NULL,
        at timestamptz NOT NULL
    )
    """,
    """
    CREATE UNLOGGED TABLE searches (
        handle text PRIMARY KEY,
        data bytea NOT NULL,
        expires timestamptz NOT NULL
    )
    """,
    "ALTER TABLE searches ALTER COLUMN data SET STORAGE EXTERNAL",
    "CREATE INDEX searches_by_age ON searches (expires)",
)

SERVICE = Tables("service", (_TABLES,))
"""The tables of this package."""

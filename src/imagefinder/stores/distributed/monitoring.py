"""Whether the engines of a distributed store answer, and numbers about them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from imagefinder.core.errors import ObjectsUnavailableError, StoreError
from imagefinder.stores.distributed.object_payloads import InObjects
from imagefinder.stores.distributed.payloads import Payloads
from imagefinder.stores.distributed.pool import Connection, Database

_MEASURING_SECONDS = 2.0

_STANDBYS = """
    SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')),
        coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0)::float8,
        coalesce(extract(epoch FROM max(replay_lag)), 0)::float8
    FROM pg_stat_replication WHERE state = 'streaming'
"""
_OWN_LAG = "SELECT coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)::float8"


class Probe:
    """Checks that an engine answers, in a thread: a call may take longer than its caller has time.

    Safe to use from several threads; while a request has no answer yet, there is no second one.
    """

    def __init__(self, call: Callable[[], object], silent: Callable[[float], StoreError]) -> None:
        """Send nothing yet.

        Args:
            call: Returns if the engine answers; raises a ``StoreError`` otherwise.
            silent: Returns the error for an engine that did not answer within a number of seconds.
        """
        self._call = call
        self._silent = silent
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: StoreError | None = None

    def check(self, seconds: float) -> None:
        """Wait at most ``seconds`` for an answer.

        Raises:
            StoreError: the engine is away, or did not answer.
        """
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._error = None
                self._thread = threading.Thread(target=self._run, name="store probe", daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(seconds)
        if thread.is_alive():
            raise self._silent(seconds)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._call()
        except StoreError as error:
            self._error = error


def of_objects(payloads: Payloads) -> Probe | None:
    """The probe of the object store of payloads; ``None`` if they are in rows."""
    if not isinstance(payloads, InObjects):
        return None
    location = payloads.blobs.location
    return Probe(
        payloads.probe,
        lambda seconds: ObjectsUnavailableError(
            f"the object store {location} did not answer within {seconds:g} s", hint="check that it runs"
        ),
    )


def probe_database(database: Database, seconds: float) -> None:
    """Check once that the database answers.

    Raises:
        StoreError: it did not answer within ``seconds``, or refuses access.
    """
    with database.connection(seconds=seconds) as connection:
        connection.execute("SELECT 1")


def measures(database: Database) -> Mapping[str, float]:
    """Numbers about the connections of this process and the standbys of the server (``SupportsMonitoring``).

    Raises:
        StoreError: the database does not answer.
    """
    found = {f"database_connections_{name}": float(value) for name, value in database.usage().items()}
    with database.connection(seconds=_MEASURING_SECONDS) as connection:
        return found | _of_server(connection)


def _of_server(connection: Connection) -> dict[str, float]:
    (is_standby,) = connection.execute("SELECT pg_is_in_recovery()").fetchone() or (False,)
    if is_standby:
        (seconds,) = connection.execute(_OWN_LAG).fetchone() or (0.0,)
        return {
            "database_standbys": 0.0,
            "database_synchronous_standbys": 0.0,
            "database_standby_lag_seconds": seconds,
        }
    standbys, synchronous, lag, seconds = connection.execute(_STANDBYS).fetchone() or (0, 0, 0.0, 0.0)
    return {
        "database_standbys": float(standbys),
        "database_synchronous_standbys": float(synchronous),
        "database_standby_lag_bytes": lag,
        "database_standby_lag_seconds": seconds,
    }

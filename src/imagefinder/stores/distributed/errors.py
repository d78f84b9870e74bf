"""Errors of PostgreSQL as errors of a store: a code, whether to try again, and a sentence without secrets."""

from __future__ import annotations

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from imagefinder.core.errors import (
    CollectionBusyError,
    CollectionCorruptError,
    CollectionNotFoundError,
    StoreError,
    StoreUnavailableError,
)
from imagefinder.stores.distributed.time_limit import OutOfTimeError

_UNAVAILABLE = (
    PoolTimeout,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.ReadOnlySqlTransaction,  # the server has become a standby
    errors.TooManyConnections,
    errors.IdleInTransactionSessionTimeout,
)
_REFUSALS = ("password", "authentication failed", "pg_hba.conf", "FATAL:  role")
_CONFLICTS = (errors.SerializationFailure, errors.DeadlockDetected)


def may_be_repeated(error: psycopg.Error) -> bool:
    """Whether the same transaction may succeed in a moment: a conflict, or a lost connection."""
    if isinstance(error, OutOfTimeError):
        return False
    return isinstance(error, (*_UNAVAILABLE, *_CONFLICTS)) or _is_connection_failure(error)


def translated(error: psycopg.Error, where: str, seconds: float = 0.0) -> StoreError:
    """The error of a store for an error of the driver.

    Args:
        error: The error.
        where: The database, without its password.
        seconds: The time limit of the transaction.
    """
    if isinstance(error, OutOfTimeError | errors.QueryCanceled):
        return StoreUnavailableError(
            f"the database {where} did not answer within {seconds:g} s",
            hint="a change may have been stored; repeat it once the server and its standby answer again",
        )
    if isinstance(error, _CONFLICTS):
        return CollectionBusyError(
            f"other transactions in the database {where} kept changing the same images", hint="try again later"
        )
    if isinstance(error, errors.LockNotAvailable):
        return CollectionBusyError(
            f"another transaction in the database {where} kept what is needed locked for too long",
            hint="try again later; pg_stat_activity shows which transactions are open",
        )
    if isinstance(error, errors.DiskFull):
        return StoreUnavailableError(f"the disk of the database {where} is full", hint="make room on its disk")
    if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
        return CollectionCorruptError(
            f"the database {where} is damaged: {_message(error)}",
            hint="restore a backup of the database, or switch to its standby",
        )
    is_lost = _is_connection_failure(error)
    if isinstance(error, errors.InsufficientPrivilege) or (is_lost and _says(error, *_REFUSALS)):
        return StoreError(
            f"the database {where} refuses access: {_message(error)}",
            hint="check the user, its rights and the password: in the location, PGPASSWORD, PGPASSFILE or the "
            "setting database_password_file",
        )
    if is_lost and _says(error, "FATAL:  database") and _says(error, "does not exist"):
        return CollectionNotFoundError(
            f"there is no database {where}", hint="create it with createdb, or correct the location"
        )
    if is_lost or isinstance(error, _UNAVAILABLE):
        return StoreUnavailableError(
            f"the database {where} is not available: {_message(error)}",
            hint="check that the server runs and can be reached; then try again",
        )
    return StoreError(f"the database {where} reports: {_message(error)}")


def _is_connection_failure(error: psycopg.Error) -> bool:
    """Whether the connection could not be made or was lost."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith("08")


def _says(error: psycopg.Error, *words: str) -> bool:
    """Whether an error of connecting, which has no code, has any of these words; those of a server in English."""
    return any(text in str(error) for text in words)


def _message(error: psycopg.Error) -> str:
    """The first line of a message."""
    text = error.diag.message_primary or str(error)
    return text.strip().partition("\n")[0]

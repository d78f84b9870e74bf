"""Transactions in a PostgreSQL database: pooled connections, time limits, repetition, plain errors."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from imagefinder.core.errors import CollectionClosedError, SettingsError, StoreError
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.errors import may_be_repeated, translated
from imagefinder.stores.distributed.time_limit import TimeLimits

T = TypeVar("T")
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

# The pool logs each failed attempt to connect; here they are errors of the calls that need a connection.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """How to use a database.

    Attributes:
        seconds: Time limit for one transaction; the server ends its statements after as long.
        repeat_seconds: Time within which a failed transaction is repeated: a fail-over takes some of it.
        repeat_reads_seconds: The same for statements that only read, which people wait for.
        connections: Largest number of connections of this process.
        password_file: File with the password, if neither the URL nor libpq's environment has one.
    """

    seconds: float = 30.0
    repeat_seconds: float = 60.0
    repeat_reads_seconds: float = 10.0
    connections: int = 16
    password_file: Path | None = None


class Database:
    """A PostgreSQL database, used by all threads of a process; objects with equal arguments share connections.

    Transactions are functions of a connection, because they may be run more than once: after a serialization
    failure, a lost connection or a fail-over. So they must be harmless to repeat, even if the first run succeeded
    and only its answer was lost.

    All methods raise ``StoreUnavailableError`` if the server does not answer in time, and ``StoreError`` for other
    failures; never an error of the driver.

    Attributes:
        shown: The location without user, password and parameters, for messages.
    """

    def __init__(self, address: Address, options: Options = Options()) -> None:
        self.shown = address.shown
        self.options = options
        self._pool = _pool_of(_conninfo(address, options), options.connections)
        self._closed = False
        if self.usage()["open"]:
            return
        # The pool would repeat a refused login until its time is over, without a reason.
        try:
            psycopg.connect(self._pool.conninfo, autocommit=True).close()
        except psycopg.Error as error:
            self.close()
            raise translated(error, self.shown) from error

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run single statements that only read, each of which sees the latest state."""
        return self._repeated(work, self.options.seconds, self.options.repeat_reads_seconds)

    def snapshot(self, work: Callable[[Connection], T], *, seconds: float | None = None) -> T:
        """Run statements that read one consistent state of the database, in a pipeline (as in ``write``)."""

        def reading(connection: Connection) -> T:
            connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            connection.set_read_only(True)
            try:
                with connection.pipeline(), connection.transaction():
                    return work(connection)
            finally:
                if not connection.closed:
                    connection.set_isolation_level(None)
                    connection.set_read_only(None)

        return self._repeated(reading, seconds or self.options.seconds, self.options.repeat_reads_seconds)

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run one statement that writes, which is committed and durable on return."""
        return self._repeated(work, self.options.seconds, self.options.repeat_seconds)

    def write(
        self,
        work: Callable[[Connection], T],
        *,
        seconds: float | None = None,
        pipelined: bool = False,
        repeat_on: tuple[type[psycopg.Error], ...] = (),
    ) -> T:
        """Run a transaction, which is committed and durable on return.

        Args:
            work: Statements.
            seconds: Another time limit than that of the options, for example for building an index.
            pipelined: Send the statements without waiting for each result. Only those whose rows are fetched wait
                for the server; the others have no ``rowcount``.
            repeat_on: Further errors after which the transaction is repeated, such as a key that another
                transaction has just inserted.
        """

        def writing(connection: Connection) -> T:
            with connection.pipeline() if pipelined else nullcontext(), connection.transaction():
                if seconds is not None:
                    limit = str(round(seconds * 1000))
                    connection.execute("SELECT set_config('statement_timeout', %s, true)", [limit])
                return work(connection)

        return self._repeated(
            writing, seconds or self.options.seconds, self.options.repeat_seconds, repeat_on=repeat_on
        )

    @contextmanager
    def connection(self, *, seconds: float | None = None) -> Iterator[Connection]:
        """A connection in autocommit mode, for work that is not repeated, such as streams of rows.

        Args:
            seconds: Time limit of the whole block; default: that of the options.
        """
        limit = seconds or self.options.seconds
        try:
            with self._taken(limit, limit) as connection:
                yield connection
        except psycopg.Error as error:
            raise self._failure(error, limit) from error

    def usage(self) -> dict[str, int]:
        """Numbers of connections: ``open``, ``idle``, ``waiting`` (calls that wait for one) and ``most``."""
        stats = self._pool.connections.get_stats()
        return {
            "open": stats.get("pool_size", 0),
            "idle": stats.get("pool_available", 0),
            "waiting": stats.get("requests_waiting", 0),
            "most": self.options.connections,
        }

    def close(self) -> None:
        """Close all connections, unless other objects use them. Repeated calls have no effect."""
        if not self._closed:
            self._closed = True
            _release(self._pool)

    def _repeated(
        self,
        work: Callable[[Connection], T],
        seconds: float,
        repeat_seconds: float,
        *,
        repeat_on: tuple[type[psycopg.Error], ...] = (),
    ) -> T:
        end = time.monotonic() + repeat_seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                with self._taken(seconds, end - time.monotonic()) as connection:
                    return work(connection)
            except psycopg.Error as error:
                failure = self._failure(error, seconds)
                if not (may_be_repeated(error) or isinstance(error, repeat_on)) or time.monotonic() + pause >= end:
                    raise failure from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @contextmanager
    def _taken(self, seconds: float, wait: float) -> Iterator[Connection]:
        """A connection, which is cut off after ``seconds``; waits at most ``wait`` seconds for one."""
        pool = self._pool.connections
        if self._closed:
            raise _closed()
        try:
            connection = pool.getconn(timeout=max(min(wait, 2.0), 0.01))
        except PoolClosed as error:
            raise _closed() from error
        try:
            with self._pool.limits.of(connection, seconds):
                yield connection
        finally:
            lost = connection.closed
            pool.putconn(connection)
            if lost:
                pool.check()  # the others are most likely lost as well

    def _failure(self, error: psycopg.Error, seconds: float) -> StoreError:
        if isinstance(error, PoolTimeout) and self._pool.last_error is not None:
            error = self._pool.last_error
        return translated(error, self.shown, seconds)


def _closed() -> CollectionClosedError:
    return CollectionClosedError("the collection is closed")


class _Pool:
    """The connections of this process to one database, which several objects use.

    Attributes:
        conninfo: Connection parameters.
        connections: The pool of the driver.
        limits: Time limits of its connections.
        last_error: The last error of connecting, which the pool of the driver only logs; ``None`` after a success.
        users: Number of objects that use it.
    """

    def __init__(self, conninfo: str, most: int) -> None:
        self.conninfo = conninfo
        self.limits = TimeLimits()
        self.last_error: psycopg.Error | None = None
        self.users = 0
        self.connections = ConnectionPool(
            conninfo,
            connection_class=_recording(self),
            kwargs={"autocommit": True},
            min_size=0,
            max_size=most,
            max_idle=300.0,
            reconnect_timeout=0.0,  # ``_repeated`` tries again, and knows when to give up
            open=True,
        )


_pools: dict[tuple[str, int, int], _Pool] = {}
_pools_lock = threading.Lock()


def _pool_of(conninfo: str, most: int) -> _Pool:
    """The pool for these parameters in this process, with one more user."""
    with _pools_lock:
        key = (conninfo, most, os.getpid())
        pool = _pools.get(key)
        if pool is None:
            pool = _pools[key] = _Pool(conninfo, most)
        pool.users += 1
        return pool


def _release(pool: _Pool) -> None:
    with _pools_lock:
        pool.users -= 1
        if pool.users:
            return
        for key in [key for key, open_pool in _pools.items() if open_pool is pool]:
            del _pools[key]
    pool.connections.close(timeout=1.0)


def _recording(pool: _Pool) -> type[psycopg.Connection[tuple[Any, ...]]]:
    """A class of connections that notes errors of connecting in the pool."""

    class Recording(psycopg.Connection[tuple[Any, ...]]):
        @classmethod
        def connect(cls, *args: Any, **kwargs: Any) -> Any:
            try:
                made = super().connect(*args, **kwargs)
            except psycopg.Error as error:
                pool.last_error = error
                raise
            pool.last_error = None
            return made

    return Recording


def _conninfo(address: Address, options: Options) -> str:
    """Connection parameters for libpq; those of the location come before ours."""
    given = dict(address.parameters)
    milliseconds = round(options.seconds * 1000)
    limits = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds // 2} "
    limits += f"-c idle_in_transaction_session_timeout={2 * milliseconds} -c search_path=imagefinder,public"
    values = {
        "application_name": "imagefinder",
        "connect_timeout": "5",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": str(milliseconds),
        **({"target_session_attrs": "read-write"} if "," in given.get("host", "") else {}),
        **given,
        "client_encoding": "UTF8",
        "options": f"{limits} {given.get('options', '')}",
    }
    if options.password_file is not None and "password" not in given:
        values["password"] = _password(options.password_file)
    try:
        return make_conninfo(**values)
    except psycopg.ProgrammingError as error:  # a parameter that libpq does not know
        raise SettingsError(
            f"{address.shown}: {str(error).strip()}", hint="the parameters after ? are those of libpq"
        ) from error


def _password(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"cannot read database_password_file {file}: {reason}") from error

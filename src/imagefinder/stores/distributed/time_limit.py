"""Time limits of transactions, for servers that keep a connection open without answering."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

_TICK = 0.25


class OutOfTimeError(psycopg.OperationalError):
    """The server did not answer within the time limit, so its connection was cut off."""


class TimeLimits:
    """Cuts off the connections of transactions that take too long.

    A server cannot end every wait by itself: a commit waits for a hung standby without limit, and a stopped
    server does nothing at all.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ends: dict[object, tuple[float, psycopg.Connection[Any]]] = {}
        self._late: set[object] = set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def of(self, connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
        """Cut off the connection unless the block ends within the time limit.

        Raises:
            OutOfTimeError: it did not, and failed for that reason.
        """
        token = object()
        with self._changed:
            self._ends[token] = (time.monotonic() + seconds, connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="database time limits", daemon=True)
                self._thread.start()
        try:
            yield
        except psycopg.Error as error:
            if token in self._late:
                raise OutOfTimeError(f"no answer within {seconds:g} s") from error
            raise
        finally:
            with self._changed:
                self._ends.pop(token, None)
                self._late.discard(token)

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK)
            with self._changed:
                if not self._ends:  # the next transaction starts another thread
                    self._thread = None
                    return
                now = time.monotonic()
                for token, (end, connection) in list(self._ends.items()):
                    if end <= now and token not in self._late:
                        self._late.add(token)
                        _cut_off(connection)


def _cut_off(connection: psycopg.Connection[Any]) -> None:
    """End the connection below the driver, which another thread waits in."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
    except (psycopg.Error, OSError):
        return  # it is closed already

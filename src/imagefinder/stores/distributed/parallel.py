"""Calls of a slow server, in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from imagefinder.core.errors import CollectionClosedError

T = TypeVar("T")
Result = TypeVar("Result")


class Parallel:
    """Threads that all callers share."""

    def __init__(self, threads: int, name: str = "objects") -> None:
        """Use at most this many threads; they start when they are needed."""
        self._executor = ThreadPoolExecutor(threads, name)

    def map(self, call: Callable[[T], Result], items: Iterable[T]) -> list[Result]:
        """The results of calls, in the order of the items; after the first failure, no further call begins.

        Raises:
            CollectionClosedError: the threads were ended.
        """
        try:
            futures = [self._executor.submit(call, item) for item in items]
        except RuntimeError as error:
            raise CollectionClosedError("the collection is closed") from error
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """End the threads after their present calls; calls that have not begun are cancelled."""
        self._executor.shutdown(wait=False, cancel_futures=True)

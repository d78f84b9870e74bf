"""Standard streams that are closed, full or without a reader: a command works without them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable

_NAMES = ("stdin", "stdout", "stderr")


class OutputError(Exception):
    """Standard output cannot be written; the cause is an ``OSError``.

    It is no ``OSError`` itself, because Typer and Rich catch those of a broken pipe and end the program.
    """


def prepare() -> None:
    """Connect closed standard streams to the null device, and let writing report an ``OutputError``."""
    _open_missing()
    if isinstance(sys.stdout, io.TextIOWrapper):
        old = sys.stdout
        encoding, errors, buffered = old.encoding, old.errors, old.line_buffering
        sys.stdout = _Output(old.detach(), encoding=encoding, errors=errors, line_buffering=buffered)


def guarded(command: Callable[[], int]) -> int:
    """Run a command that prints, and return its exit code, or another one if its output cannot be written."""
    try:
        code = command()
        sys.stdout.flush()
    except OutputError as lost:
        from imagefinder.cli import output, session  # noqa: PLC0415 - they import this module

        if not isinstance(lost.__cause__, BrokenPipeError):  # such as | head, which has read enough
            output.note(f"error: standard output cannot be written: {lost}", style="bold red")
        code = session.OUTPUT
    finally:
        discard()
    return code


def discard() -> None:
    """Connect a standard stream to the null device if it cannot be written.

    Python writes what is left in the buffers when it exits, and would report the failure once more.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, OutputError):
            with contextlib.suppress(OSError):  # a stream without a descriptor
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Output(io.TextIOWrapper):
    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise OutputError(error.strerror) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error.strerror) from error


def _open_missing() -> None:
    """Otherwise the next file that is opened, such as a database, gets the descriptor and all that is printed."""
    for descriptor, name in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets this descriptor: those below it are open
        if getattr(sys, name) is None:
            mode = "r" if descriptor == 0 else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until the end

"""Decoding in processes of their own: a picture that breaks a decoder, or keeps it busy, costs itself only.

Each worker is a Python process that has loaded Pillow and waits for pictures. The encoded bytes and the pixels
pass through memory that both processes see; nothing is copied on the way back and nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from imagefinder.core.errors import (
    DamagedImageError,
    DecoderCrashedError,
    DecodeTimeoutError,
    EmptyImageError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    SettingsError,
)
from imagefinder.core.features import Decoded, RgbImage
from imagefinder.images.decoding.worker import FAULT, READY, receive

_START_SECONDS = 60.0
_PICTURES = 1000  # then a worker is replaced: what a decoder leaks does not add up
# A worker keeps the memory it had for one picture for the next: to have it from the system again, page by page,
# took longer than decoding. (For glibc; other systems' allocators do not read this.)
_KEPT_BYTES = 64 << 20
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES),
    "MALLOC_MMAP_THRESHOLD_": str(_KEPT_BYTES // 2),
}
_CODE = """
import sys
sys.path[:] = sys.argv[3:]
from imagefinder.images.decoding.worker import main
main(int(sys.argv[1]), int(sys.argv[2]))
"""

_ERRORS: dict[str, type[ImageError]] = {
    kind.code: kind for kind in (ImageError, EmptyImageError, NotAnImageError, DamagedImageError)
}


class DecoderPool:
    """Decodes in at most ``workers`` processes at a time, each begun when it is first needed.

    Safe to use from several threads, and after a fork. Close it when done; where that is forgotten, its processes
    end with this one, however it ends.
    """

    def __init__(self, *, workers: int, seconds: float, memory: int) -> None:
        """Set the limits; nothing is started.

        Args:
            workers: How many pictures are decoded at once at most.
            seconds: Longest that one picture may take.
            memory: Most bytes that a worker may allocate.

        Raises:
            SettingsError: this system has no such processes.
        """
        if not hasattr(socket, "send_fds"):
            raise _cannot_start("this system cannot hand files from one process to another")
        self._workers = workers
        self._seconds = seconds
        self._memory = memory
        self._all: set[_Worker] = set()
        self._begin_anew()
        weakref.finalize(self, _end_all, self._all)
        _pools.add(self)

    def decode(self, data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
        """Decode the first frame of an encoded picture; ``images.decoding.decode.decode`` says how.

        Args:
            data: The encoded picture.
            max_bytes: Largest ``data`` accepted.
            max_pixels: Largest width x height accepted; checked before pixels are decoded.

        Returns:
            The picture; its pixels are read-only.

        Raises:
            ImageError: as ``images.decoding.decode.decode``.
            DecodeTimeoutError: it took too long.
            DecoderCrashedError: the worker ended.
        """
        if not data:
            raise EmptyImageError("the picture is empty (0 bytes)")
        if len(data) > max_bytes:
            message = f"the picture has {len(data):,} bytes; at most {max_bytes:,} are accepted"
            raise ImageTooLargeError(message, limit=max_bytes, unit="bytes")
        request = {"max_bytes": max_bytes, "max_pixels": max_pixels, "size": len(data), "seconds": self._seconds}
        with self._places:
            for _ in range(2):
                worker = self._take()
                try:
                    decoded = worker.decode(data, request)
                except _WorkerGoneError as gone:
                    self._end(worker)
                    if not gone.innocent:
                        raise self._crash(gone) from None
                except _TookTooLongError:
                    self._end(worker)
                    raise self._timeout() from None
                except ImageError:
                    self._give_back(worker)
                    raise
                except (
                    BaseException
                ):  # Ctrl-C between question and answer: the answer would meet the next question
                    self._end(worker)
                    raise
                else:
                    self._give_back(worker)
                    return decoded
        raise DecoderCrashedError(
            "the processes that should decode the picture were killed from outside", hint=_HINT
        )

    def start(self) -> None:
        """Begin the first worker, if there is none; it gets ready while the caller does something else."""
        with self._lock:
            if not self._all:
                self._idle.append(self._new())

    def close(self) -> None:
        """End the workers that are not at work, and the others after the picture at hand."""
        with self._lock:
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
        for worker in idle:
            self._end(worker)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._workers)
        self._idle: list[_Worker] = []
        self._closed = False

    def _forked(self) -> None:
        """In a process forked from the one that began the workers: they are not its own."""
        for worker in self._all:
            worker.forget()
        self._all.clear()
        self._begin_anew()

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive():
                    return worker
                self._all.discard(worker)
                worker.end()
            return self._new()

    def _new(self) -> _Worker:
        worker = _Worker(self._memory)
        self._all.add(worker)
        return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if not self._closed and worker.pictures < _PICTURES:
                self._idle.append(worker)
                return
        self._end(worker)

    def _end(self, worker: _Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.end()

    def _timeout(self) -> DecodeTimeoutError:
        return DecodeTimeoutError(
            f"decoding the picture took longer than {self._seconds:g} s",
            hint="on a slow machine, set decode_seconds higher (IMAGEFINDER_DECODE_SECONDS)",
        )

    def _crash(self, gone: _WorkerGoneError) -> ImageError:
        if gone.signal == signal.SIGALRM:
            return self._timeout()
        return DecoderCrashedError(f"the picture broke its decoder: {gone}", hint=_HINT)


_HINT = "convert it to JPEG or PNG with the program that made it"


class _WorkerGoneError(Exception):
    """The other end is gone.

    Attributes:
        signal: Which signal ended it; 0 if none did.
        innocent: Whether the picture cannot be to blame.
    """

    def __init__(self, status: int, *, asked: bool) -> None:
        self.signal = -status if status < 0 else 0
        how = f"it ended with status {status}"
        if self.signal:
            with contextlib.suppress(ValueError):
                how = f"signal {signal.Signals(self.signal).name}"
        super().__init__(how)
        # Our own limits end in other ways: somebody, or the system for lack of memory, killed it.
        self.innocent = not asked or self.signal in (signal.SIGKILL, signal.SIGTERM)


class _TookTooLongError(Exception):
    pass


class _Worker:
    """One process and the socket to it."""

    def __init__(self, memory: int) -> None:
        self.pictures = 0
        self._ready = False
        self._end, other = socket.socketpair()
        with other:
            number = other.fileno()
            # Neither the user's Python variables nor site hooks: they cost time and are of no use here.
            command = [sys.executable, "-I", "-S", "-c", _CODE, str(number), str(memory), *_path()]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own code, by our own interpreter
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # libraries in C remark on odd files, file by file
                    pass_fds=[number],
                    start_new_session=True,  # Ctrl-C in a terminal goes to every process of the session
                    env={**os.environ, **_ENVIRONMENT},
                )
            except OSError as error:
                self._end.close()
                raise _cannot_start(error.strerror or str(error)) from error

    def decode(self, data: bytes, request: dict[str, Any]) -> Decoded:
        self._wait_until_ready()
        self.pictures += 1
        source, target = _nameless("source"), _nameless("pixels")
        try:
            _write(source, data)
            message = json.dumps(request).encode() + b"\n"
            until = time.monotonic() + request["seconds"]
            try:
                self._end.settimeout(_START_SECONDS)
                socket.send_fds(self._end, [message], [source, target])
            except (BrokenPipeError, ConnectionResetError):
                raise self._gone(asked=False) from None
            answer = self._receive(until, asked=True)
            if answer["status"] == "error":
                raise _error(answer)
            return Decoded(
                _map(target, answer["width"], answer["height"], request["max_pixels"]), answer["format"]
            )
        finally:
            os.close(source)
            os.close(target)

    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._end.close()
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Leave it to the process it belongs to."""
        self._end.close()
        self._process.returncode = 0  # no child of this process: nothing to wait for

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        try:
            self._ready = self._receive(time.monotonic() + _START_SECONDS, asked=False)["status"] == READY
        except _TookTooLongError:
            raise _cannot_start(f"it was not ready after {_START_SECONDS:.0f} s") from None
        except _WorkerGoneError as gone:
            if gone.signal in (signal.SIGKILL, signal.SIGTERM):
                raise
            raise _cannot_start(str(gone)) from None

    def _receive(self, until: float, *, asked: bool) -> dict[str, Any]:
        try:
            self._end.settimeout(max(0.001, until - time.monotonic()))
            message = receive(self._end)
        except TimeoutError:
            raise _TookTooLongError from None
        except ConnectionResetError:
            message = None
        if message is None:
            raise self._gone(asked=asked)
        return message[0]

    def _gone(self, *, asked: bool) -> _WorkerGoneError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return _WorkerGoneError(self._process.returncode or 0, asked=asked)


def _path() -> list[str]:
    """Where the worker finds what this process found; it does not look for itself."""
    package = str(Path(__file__).parents[3])
    return [package, *(os.path.abspath(place) for place in sys.path)]  # noqa: PTH100 - "" stands for the folder


def _nameless(name: str) -> int:
    """A file without a name, in memory where the system can do that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    number, path = tempfile.mkstemp()
    os.unlink(path)  # noqa: PTH108
    return number


def _write(number: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(number, view) :]


def _map(number: int, width: int, height: int, max_pixels: int) -> RgbImage:
    size = 3 * width * height
    if width < 1 or height < 1 or width * height > max_pixels or os.fstat(number).st_size != size:
        raise DecoderCrashedError("the picture broke its decoder: it gave another number of pixels", hint=_HINT)
    # Pages the worker has filled are put in place at once, not one fault after the other.
    flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)
    pixels = mmap.mmap(number, size, flags=flags, prot=mmap.PROT_READ)
    return np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3)


def _error(answer: dict[str, Any]) -> ImageError:
    code, message, hint = answer["code"], answer["message"], answer["hint"]
    if code == ImageTooLargeError.code:
        return ImageTooLargeError(message, limit=answer["limit"], unit=answer["unit"], hint=hint)
    if code == FAULT:
        return DecoderCrashedError(f"the picture broke its decoder: {message}", hint=_HINT)
    return _ERRORS[code](message, hint=hint)


def _cannot_start(reason: str) -> SettingsError:
    return SettingsError(
        f"a process that decodes pictures cannot be started: {reason}",
        hint="set isolate = false (IMAGEFINDER_ISOLATE=false) to decode without such processes",
    )


def _end_all(workers: set[_Worker]) -> None:
    while workers:
        workers.pop().end()


_pools: weakref.WeakSet[DecoderPool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""Decode in worker processes: an image that crashes or blocks the decoder affects only that image.

Each worker is a Python process that has loaded Pillow and waits for requests. Encoded bytes and pixels are passed
in shared memory; pixels are not copied on the way back, and nothing is unpickled.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagefinder.core.colours import Colours
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
from imagefinder.core.features import Decoded, FullDepth, RgbImage
from imagefinder.core.previews import Rendered
from imagefinder.images.decoding.limits import check_encoded_size, needed_for_metadata
from imagefinder.images.decoding.worker import DECODE, EXAMINE, FAULT, METADATA, READY, RENDER, receive

_START_SECONDS = 60.0
_IMAGES_PER_WORKER = 1000  # then the worker is replaced, which bounds memory leaks in decoders
# A worker reuses freed memory for the next image: getting it back from the system, page by page, took longer than
# decoding. (For glibc; other allocators do not read these variables.)
_CACHED_BYTES = 64 << 20
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(_CACHED_BYTES),
    "MALLOC_MMAP_THRESHOLD_": str(_CACHED_BYTES // 2),
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
    """Decodes in up to ``workers`` processes, each started when first needed.

    Safe to use from several threads and after a fork. The processes end when the pool is closed or garbage
    collected, and whenever this process ends, even if it is killed.
    """

    def __init__(self, *, workers: int, seconds: float, memory: int) -> None:
        """Set the limits; no process is started yet.

        Args:
            workers: Largest number of images decoded at once.
            seconds: Timeout for one image.
            memory: Memory limit of one worker, bytes.

        Raises:
            SettingsError: this system cannot pass file descriptors between processes.
        """
        if not hasattr(socket, "send_fds"):
            raise _cannot_start("this system cannot pass file descriptors between processes")
        self._workers = workers
        self._seconds = seconds
        self._memory = memory
        self._all: set[_Worker] = set()
        self._reset()
        weakref.finalize(self, _stop_all, self._all)
        _pools.add(self)

    def decode(  # wide: independent limits, given by keyword
        self,
        data: bytes,
        *,
        max_bytes: int,
        max_pixels: int,
        page: int = 1,
        fit_in: int = 0,
        colours: Colours = "srgb",
    ) -> Decoded:
        """Decode a page of an encoded image; the arguments are those of ``images.decoding.decode.decode``.

        Returns:
            The decoded image; its pixel array is read-only.

        Raises:
            ImageError: the errors of ``images.decoding.decode.decode``.
            DecodeTimeoutError: decoding exceeded the timeout.
            DecoderCrashedError: the worker crashed.
        """
        decoded: Decoded = self._run(
            DECODE, data, max_bytes=max_bytes, max_pixels=max_pixels, page=page, fit_in=fit_in, colours=colours
        )
        return decoded

    def render(  # wide: independent limits, given by keyword
        self, data: bytes, *, side: int, max_bytes: int, max_pixels: int, page: int = 1, fit_in: int = 0
    ) -> Rendered:
        """Render a preview; the arguments are those of ``images.decoding.rendering.render``.

        Raises:
            ImageError: as for ``decode``.
        """
        rendered: Rendered = self._run(
            RENDER, data, side=side, max_bytes=max_bytes, max_pixels=max_pixels, page=page, fit_in=fit_in
        )
        return rendered

    def examine(self, data: bytes, *, max_bytes: int, max_pixels: int) -> FullDepth:
        """Decode all frames in full depth; ``images.decoding.full_depth.examine`` documents it.

        Raises:
            ImageError: the errors of ``images.decoding.full_depth.examine``.
            DecodeTimeoutError: decoding exceeded the timeout.
            DecoderCrashedError: the worker crashed.
        """
        examined: FullDepth = self._run(EXAMINE, data, max_bytes=max_bytes, max_pixels=max_pixels)
        return examined

    def read_metadata(self, data: bytes, sidecars: Sequence[bytes] = ()) -> dict[str, Any]:
        """Read the properties of an image; ``images.metadata.read`` documents them.

        Raises:
            ImageError: reading them took too long, or crashed the worker.
        """
        parts = [needed_for_metadata(data), *sidecars]
        joined, sizes = b"".join(parts), [len(part) for part in parts]
        found: dict[str, Any] = self._run(METADATA, joined, max_bytes=len(joined), max_pixels=0, sizes=sizes)
        return found

    def _run(self, task: str, data: bytes, **limits: Any) -> Any:
        """Run a task in a worker."""
        check_encoded_size(data, limits["max_bytes"])
        fit_in = limits.get("fit_in", 0)
        # An image that is reduced to a share of its pixels may take so much longer.
        seconds = self._seconds * max(1.0, limits["max_pixels"] / fit_in if fit_in else 1.0)
        request = {"task": task, "size": len(data), "seconds": seconds, **limits}
        with self._slots:
            for _ in range(2):
                worker = self._acquire()
                try:
                    answer = worker.run(data, request)
                except _WorkerExitedError as exited:
                    self._stop(worker)
                    if not exited.killed_externally:
                        raise _died(exited, seconds) from None
                except _DeadlineError:
                    self._stop(worker)
                    raise _timeout(seconds) from None
                except ImageError:
                    self._release(worker)
                    raise
                except BaseException:  # after Ctrl-C the response would be read as that of the next request
                    self._stop(worker)
                    raise
                else:
                    self._release(worker)
                    return answer
        raise DecoderCrashedError(
            "the worker processes were killed by another program or for lack of memory while decoding the image",
            hint="check that the machine has enough free memory, then try again",
        )

    def start(self) -> None:
        """Start the first worker in the background, unless one is running."""
        with self._lock:
            if not self._all:
                self._idle.append(self._start_worker())

    def close(self) -> None:
        """Stop idle workers now, and busy ones after their current image."""
        with self._lock:
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
        for worker in idle:
            self._stop(worker)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(self._workers)
        self._idle: list[_Worker] = []
        self._closed = False

    def _after_fork_in_child(self) -> None:
        """Drop the workers in a forked process: they belong to the parent."""
        for worker in self._all:
            worker.detach()
        self._all.clear()
        self._reset()

    def _acquire(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive():
                    return worker
                self._all.discard(worker)
                worker.stop()
            return self._start_worker()

    def _start_worker(self) -> _Worker:
        worker = _Worker(self._memory)
        self._all.add(worker)
        return worker

    def _release(self, worker: _Worker) -> None:
        with self._lock:
            if not self._closed and worker.images < _IMAGES_PER_WORKER:
                self._idle.append(worker)
                return
        self._stop(worker)

    def _stop(self, worker: _Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.stop()


def _timeout(seconds: float) -> DecodeTimeoutError:
    return DecodeTimeoutError(
        f"decoding the image took longer than {seconds:g} s",
        hint="on a slow machine, increase decode_seconds (IMAGEFINDER_DECODE_SECONDS)",
    )


def _died(exited: _WorkerExitedError, seconds: float) -> ImageError:
    if exited.signal == signal.SIGALRM:
        return _timeout(seconds)
    return _crashed(str(exited))


def _crashed(reason: str) -> DecoderCrashedError:
    return DecoderCrashedError(
        f"the image crashed the decoder: {reason}", hint="convert the image to JPEG or PNG with another program"
    )


class _WorkerExitedError(Exception):
    """The worker process has ended.

    Attributes:
        signal: The signal that ended it; 0 if it exited.
        killed_externally: Whether the image cannot be the cause.
    """

    def __init__(self, status: int, *, request_sent: bool) -> None:
        self.signal = -status if status < 0 else 0
        reason = f"exit status {status}"
        if self.signal:
            with contextlib.suppress(ValueError):
                reason = f"signal {signal.Signals(self.signal).name}"
        super().__init__(reason)
        # Our own limits never send these signals: another program or the kernel (out of memory) did.
        self.killed_externally = not request_sent or self.signal in (signal.SIGKILL, signal.SIGTERM)


class _DeadlineError(Exception):
    pass


class _Worker:
    """A worker process and the socket to it.

    Attributes:
        images: Number of images it was given.
    """

    def __init__(self, memory: int) -> None:
        self.images = 0
        self._ready = False
        self._socket, other = map(_above_standard_streams, socket.socketpair())
        with other:
            descriptor = other.fileno()
            # -I -S: PYTHON* variables and site hooks cost start-up time and are not needed.
            command = [sys.executable, "-I", "-S", "-c", _CODE, str(descriptor), str(memory), *_path()]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own code, by our own interpreter
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # C libraries print warnings about odd files
                    pass_fds=[descriptor],
                    start_new_session=True,  # a terminal sends Ctrl-C to every process of the session
                    env={**os.environ, **_ENVIRONMENT},
                )
            except OSError as error:
                self._socket.close()
                raise _cannot_start(error.strerror or str(error)) from error

    def run(self, data: bytes, request: dict[str, Any]) -> Decoded | Rendered | FullDepth | dict[str, Any]:
        self._wait_until_ready()
        self.images += 1
        source, target = _anonymous_file("source"), _anonymous_file("pixels")
        try:
            _write(source, data)
            message = json.dumps(request).encode() + b"\n"
            deadline = time.monotonic() + request["seconds"]
            try:
                self._socket.settimeout(_START_SECONDS)
                socket.send_fds(self._socket, [message], [source, target])
            except (BrokenPipeError, ConnectionResetError):
                raise self._exited(request_sent=False) from None
            response = self._receive(deadline, request_sent=True)
            if response["status"] == "error":
                raise _error(response)
            if request["task"] == METADATA:
                return dict(response["properties"])
            if request["task"] == EXAMINE:
                return FullDepth(**response["full_depth"])
            if request["task"] == RENDER:
                encoded = _read(target, response["bytes"])
                return Rendered(encoded, response["width"], response["height"])
            pixels = _map(target, response["width"], response["height"], request["max_pixels"])
            return Decoded(pixels, response["format"], response["pages"], tuple(response["size"]))
        finally:
            os.close(source)
            os.close(target)

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def detach(self) -> None:
        """Close the socket without stopping the process, which belongs to the parent of this process."""
        self._socket.close()
        self._process.returncode = 0  # not a child of this process: there is nothing to wait for

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        try:
            self._ready = self._receive(time.monotonic() + _START_SECONDS, request_sent=False)["status"] == READY
        except _DeadlineError:
            raise _cannot_start(f"it was not ready after {_START_SECONDS:.0f} s") from None
        except _WorkerExitedError as exited:
            if exited.signal in (signal.SIGKILL, signal.SIGTERM):
                raise
            raise _cannot_start(str(exited)) from None

    def _receive(self, deadline: float, *, request_sent: bool) -> dict[str, Any]:
        try:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            message = receive(self._socket)
        except TimeoutError:
            raise _DeadlineError from None
        except ConnectionResetError:
            message = None
        if message is None:
            raise self._exited(request_sent=request_sent)
        return message[0]

    def _exited(self, *, request_sent: bool) -> _WorkerExitedError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return _WorkerExitedError(self._process.returncode or 0, request_sent=request_sent)


def _path() -> list[str]:
    """``sys.path`` for the worker, which starts without the ``site`` module."""
    package = str(Path(__file__).parents[3])
    return [package, *(os.path.abspath(place) for place in sys.path)]  # noqa: PTH100 - "" means the current folder


def _above_standard_streams(end: socket.socket) -> socket.socket:
    """The socket with a descriptor above 2: in a program without standard streams, 0 to 2 are free.

    ``Popen`` would replace it by the null device, and messages of C libraries would be written to it.
    """
    below = []
    while end.fileno() <= 2:
        below.append(end)
        end = end.dup()
    for lower in below:
        lower.close()
    return end


def _anonymous_file(name: str) -> int:
    """Descriptor of a new file without a name, in memory if the system supports it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)  # noqa: PTH108
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read(descriptor: int, size: int) -> bytes:
    if size < 1 or os.fstat(descriptor).st_size != size:
        raise _crashed("it returned an incomplete preview")
    return os.pread(descriptor, size, 0)


def _map(descriptor: int, width: int, height: int, max_pixels: int) -> RgbImage:
    size = 3 * width * height
    if width < 1 or height < 1 or width * height > max_pixels or os.fstat(descriptor).st_size != size:
        raise _crashed("it returned the wrong number of pixels")
    # MAP_POPULATE maps all pages at once instead of one page fault after another.
    flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)
    pixels = mmap.mmap(descriptor, size, flags=flags, prot=mmap.PROT_READ)
    return np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3)


def _error(response: dict[str, Any]) -> ImageError:
    code, message, hint = response["code"], response["message"], response["hint"]
    if code == ImageTooLargeError.code:
        return ImageTooLargeError(message, limit=response["limit"], unit=response["unit"], hint=hint)
    if code == FAULT:
        return _crashed(message)
    return _ERRORS[code](message, hint=hint)


def _cannot_start(reason: str) -> SettingsError:
    return SettingsError(
        f"cannot start a decoder process: {reason}",
        hint="set isolate = false (IMAGEFINDER_ISOLATE=false) to decode in the main process, without protection "
        "from files that crash a decoder",
    )


def _stop_all(workers: set[_Worker]) -> None:
    while workers:
        workers.pop().stop()


_pools: weakref.WeakSet[DecoderPool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

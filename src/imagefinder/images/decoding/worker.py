"""A process that decodes pictures and nothing else: the other end of ``workers.DecoderPool``.

It is begun by the pool, lives as long as the socket to it, and is ended with the picture that takes it down.
Requests and answers are lines of JSON; the encoded bytes and the pixels travel in files without a name.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from imagefinder.core.errors import ImageError, ImageTooLargeError
from imagefinder.images.decoding import pillow_decoder

READY = "ready"
FAULT = "decoder_fault"
"""Code of an error that is no ``ImageError``: a decoder did what it should not."""

_GRACE = 2.0  # seconds after which it ends itself where the pool has not: because that process is gone

_BLOCK = 1 << 26  # bytes written at once


def main(number: int, memory: int) -> None:
    """Decode until the socket is closed.

    Args:
        number: File descriptor of the socket.
        memory: Most bytes this process may allocate.
    """
    with socket.socket(fileno=number) as pool:
        _restrict(memory)
        pool.sendall(json.dumps({"status": READY}).encode() + b"\n")
        while request := receive(pool):
            (message, (source, target)) = request
            try:
                answer = _answer(source, target, message, memory)
            finally:
                os.close(source)
                os.close(target)
            pool.sendall(json.dumps(answer).encode() + b"\n")


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and the files that came with it; ``None`` when the other end is gone."""
    line, files = b"", []
    while not line.endswith(b"\n"):
        part, more, _, _ = socket.recv_fds(end, 1 << 16, 2)
        if not part:
            return None
        line += part
        files += more
    return json.loads(line), files


def _answer(source: int, target: int, request: dict[str, Any], memory: int) -> dict[str, Any]:
    # The default action of the signal ends the process, wherever it is; a handler would wait for Python's turn.
    signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _GRACE)
    try:
        data = os.pread(source, request["size"], 0)
        picture = pillow_decoder.read(data, max_bytes=request["max_bytes"], max_pixels=request["max_pixels"])
        for part in picture.rows():
            _write(target, part)
    except ImageTooLargeError as error:
        if isinstance(error.__cause__, MemoryError):
            message = f"decoding the picture takes more than {memory:,} bytes of memory"
            return _error(error, message=message, limit=memory, unit="bytes of memory")
        return _error(error, limit=error.limit, unit=error.unit)
    except ImageError as error:
        return _error(error)
    except Exception as error:  # a plug-in of Pillow may be anybody's code
        return {"status": "error", "code": FAULT, "message": f"{type(error).__name__}: {error}"[:300], "hint": ""}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {"status": "ok", "width": picture.width, "height": picture.height, "format": picture.format}


def _error(error: ImageError, **more: Any) -> dict[str, Any]:
    return {"status": "error", "code": error.code, "message": error.message, "hint": error.hint, **more}


def _write(target: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(target, view[:_BLOCK]) :]


def _restrict(memory: int) -> None:
    """Give up what decoding does not need."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that was started by hand
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    import resource  # noqa: PLC0415 - POSIX only, as this whole module is in use

    _limit(resource.RLIMIT_CORE, 0)
    # Allocated memory where the system counts it (Linux); elsewhere all address space is the nearest.
    _limit(resource.RLIMIT_DATA, memory)
    _limit(resource.RLIMIT_NOFILE, 64)
    with contextlib.suppress(OSError):  # where memory runs out nevertheless, let Linux end this process first
        Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")


def _limit(what: int, value: int) -> None:
    import resource  # noqa: PLC0415 - as above

    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(what)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))

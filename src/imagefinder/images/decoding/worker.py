"""The worker process of ``pool.DecoderPool``: it decodes images until its socket is closed.

Requests and responses are lines of JSON; encoded bytes and pixels are passed in anonymous files.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagefinder.core.errors import ImageError, ImageTooLargeError
from imagefinder.images.decoding import pillow_decoder

READY = "ready"
DECODE, RENDER, EXAMINE, METADATA = "decode", "render", "examine", "metadata"
"""Tasks of a request: a page as 8-bit RGB; a page as an encoded preview; all frames in full depth, as a digest;
and the properties of an image."""

FAULT = "decoder_fault"
"""Response code for an exception other than ``ImageError``: a bug in a decoder."""

_GRACE = 2.0  # seconds past the timeout; then the worker ends itself, because the pool's process has died

_BLOCK = 1 << 26  # bytes per write


def main(descriptor: int, memory: int) -> None:
    """Decode images until the socket is closed.

    Args:
        descriptor: File descriptor of the socket.
        memory: Memory limit of this process, bytes.
    """
    with socket.socket(fileno=descriptor) as pool:
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
    """Receive a message and its file descriptors; ``None`` when the peer has closed the socket."""
    line, files = b"", []
    while not line.endswith(b"\n"):
        part, more, _, _ = socket.recv_fds(end, 1 << 16, 2)
        if not part:
            return None
        line += part
        files += more
    return json.loads(line), files


def _answer(source: int, target: int, request: dict[str, Any], memory: int) -> dict[str, Any]:
    # The signal's default action ends the process even inside C code; a Python handler would not run there.
    signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _GRACE)
    try:
        data = os.pread(source, request["size"], 0)
        if request["task"] == EXAMINE:
            return {"status": "ok"} | _examined(data, request)
        if request["task"] == METADATA:
            return {"status": "ok", "properties": _metadata(data, request["sizes"])}
        options = {name: value for name, value in request.items() if name not in ("task", "size", "seconds")}
        if request["task"] == RENDER:
            return {"status": "ok"} | _rendered(data, target, options)
        image = pillow_decoder.load(data, **options)
        for part in image.rows():
            _write(target, part)
    except ImageTooLargeError as error:
        if isinstance(error.__cause__, MemoryError):
            message = f"decoding the image needs more than {memory:,} bytes of memory (decode_memory)"
            return _error(error, message=message, limit=memory, unit="bytes of memory")
        return _error(error, limit=error.limit, unit=error.unit)
    except ImageError as error:
        return _error(error)
    except Exception as error:  # a third-party Pillow plug-in may raise anything
        return {"status": "error", "code": FAULT, "message": f"{type(error).__name__}: {error}"[:300], "hint": ""}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    shape = {"width": image.width, "height": image.height, "size": image.size}
    return {"status": "ok", **shape, "format": image.format, "pages": image.pages}


def _rendered(data: bytes, target: int, options: dict[str, Any]) -> dict[str, Any]:
    from imagefinder.images.decoding import rendering  # noqa: PLC0415 - most workers render nothing

    made = rendering.render(data, **options)
    _write(target, made.data)
    return {"bytes": len(made.data), "width": made.width, "height": made.height}


def _examined(data: bytes, request: dict[str, Any]) -> dict[str, Any]:
    from imagefinder.images.decoding import full_depth  # noqa: PLC0415 - it needs NumPy, which loads slowly

    limits = {"max_bytes": request["max_bytes"], "max_pixels": request["max_pixels"]}
    return {"full_depth": asdict(full_depth.examine(data, **limits))}


def _metadata(data: bytes, sizes: list[int]) -> dict[str, Any]:
    """The properties of an image, whose bytes are followed by those of its sidecar files."""
    from imagefinder.images.metadata.read import read  # noqa: PLC0415 - queries have no metadata

    image, *sidecars = [data[sum(sizes[:place]) : sum(sizes[: place + 1])] for place in range(len(sizes))]
    return read(image, sidecars)


def _error(error: ImageError, **more: Any) -> dict[str, Any]:
    return {"status": "error", "code": error.code, "message": error.message, "hint": error.hint, **more}


def _write(target: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(target, view[:_BLOCK]) :]


def _restrict(memory: int) -> None:
    """Limit memory and open files, and ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    import resource  # noqa: PLC0415 - POSIX only, as is this module

    _limit(resource.RLIMIT_CORE, 0)
    # Linux counts all private writable memory here.
    _limit(resource.RLIMIT_DATA, memory)
    _limit(resource.RLIMIT_NOFILE, 64)
    with contextlib.suppress(OSError):  # if the machine runs out of memory, Linux should kill a worker first
        Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")


def _limit(kind: int, value: int) -> None:
    import resource  # noqa: PLC0415 - POSIX only

    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))

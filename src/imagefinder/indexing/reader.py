"""Reading, downloading and decoding the items of a run, in threads and within a budget of memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from imagefinder.core.features import Decoded
from imagefinder.core.settings import Settings
from imagefinder.images.resize import thumbnail
from imagefinder.indexing.byte_budget import ByteBudget
from imagefinder.indexing.plan import Task

if TYPE_CHECKING:
    from imagefinder.images.fetching.fetcher import HttpFetcher

_READ_AHEAD = 256  # images downloaded ahead: one server that does not respond must not delay the others
_BUDGET = 256 << 20  # bytes of images between reading and storing ...
_BUDGET_PER_THREAD = 64 << 20  # ... and more where more threads fill it


class Decode(Protocol):
    """``Decoder.decode``."""

    def __call__(self, data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
        """Encoded bytes to pixels."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What reading gave: digest and length of the bytes, and pixels if there is anything to extract."""

    sha256: str
    size: int
    decoded: Decoded | None = None
    thumbnail: bytes = b""

    @property
    def nbytes(self) -> int:
        """Bytes of pixels."""
        return self.decoded.rgb.nbytes if self.decoded else 0


@dataclass(slots=True, eq=False)
class _Reading:
    """A task on its way; ``ticket`` is its place in line, ``data`` its bytes, where another thread gets them."""

    task: Task
    ticket: int
    data: Future[bytes] | None = None


class Reader:
    """Reads tasks side by side and returns them in the order in which they were started.

    Its methods are for one thread. Only ``_get`` and ``_prepare`` run in others, and they change no attribute.
    """

    def __init__(
        self, settings: Settings, decode: Decode, check_address: Callable[[str], None] | None = None
    ) -> None:
        """Only stores; threads start with the first task.

        Args:
            settings: ``batch_size``, ``threads``, ``fetch_*`` and ``max_image_*`` are used.
            decode: Bytes to pixels.
            check_address: Refuses addresses that must not be downloaded from; see ``Fetcher``.
        """
        self._settings = settings
        self._decode = decode
        self._check_address = check_address
        self._budget = ByteBudget(_BUDGET + _BUDGET_PER_THREAD * settings.threads)
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._fetcher: HttpFetcher | None = None
        self._tickets = 0
        # A task is in one of these, in order.
        self._reading: deque[_Reading] = deque()
        self._decoding: deque[tuple[_Reading, Future[Picture]]] = deque()

    @property
    def batch_bytes(self) -> int:
        """How many bytes of pixels a batch may keep."""
        return self._budget.limit // 2

    @property
    def has_room(self) -> bool:
        """Whether another task may start."""
        return len(self._reading) < _READ_AHEAD

    @property
    def is_decoding(self) -> bool:
        """Whether there is a next task to take."""
        return bool(self._decoding)

    def start(self, task: Task) -> None:
        """Read a task as soon as its turn comes; ``decode_ahead`` goes on with it."""
        self._tickets += 1
        reading = _Reading(task, self._tickets)
        item = task.item
        if item.read is None:
            if self._fetcher is None:
                self._fetcher = self._new_fetcher()
            get = partial(self._fetcher.fetch, item.uri)
            reading.data = self._pool("fetch", self._settings.fetch_connections).submit(self._get, reading, get)
        elif item.in_order:
            get = partial(item.read, self._settings.max_image_bytes)
            reading.data = self._pool("read", 1).submit(self._get, reading, get)
        self._reading.append(reading)

    def decode_ahead(self) -> None:
        """Keep the decoding threads busy with what was started."""
        threads = self._settings.threads
        while self._reading and len(self._decoding) < self._settings.batch_size + 2 * threads:
            reading = self._reading.popleft()
            self._decoding.append((reading, self._pool("decode", threads).submit(self._prepare, reading)))

    def take(self, timeout: float) -> tuple[Task, Picture | BaseException] | None:
        """The oldest task with what became of it; ``None`` if that takes longer than ``timeout`` seconds.

        The pixels count until ``release``.
        """
        reading, future = self._decoding[0]
        self._budget.admit(reading.ticket)
        if not wait([future], timeout=timeout).done:
            return None
        self._decoding.popleft()
        error = future.exception()
        return reading.task, future.result() if error is None else error

    def release(self, nbytes: int) -> None:
        """Pixels that were taken have been freed."""
        self._budget.adjust(-nbytes)

    def close(self) -> None:
        """End all threads; downloads are aborted."""
        self._budget.lift()
        if self._fetcher:
            self._fetcher.abort()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.shutdown()
        if self._fetcher:
            self._fetcher.close()

    # -- in other threads ----------------------------------------------------------------------------------

    def _get(self, reading: _Reading, get: Callable[[], bytes]) -> bytes:
        self._budget.acquire(reading.ticket, 0, self._budget.limit // 2)
        data = get()
        self._budget.adjust(len(data))
        return data

    def _prepare(self, reading: _Reading) -> Picture:
        limits, task = self._settings, reading.task
        if reading.data is None:
            assert task.item.read is not None  # noqa: S101 - what is to be downloaded has ``data``
            data = task.item.read(limits.max_image_bytes)
        else:
            data = reading.data.result()
            reading.data = None
            self._budget.adjust(-len(data))
        sha256 = hashlib.sha256(data).hexdigest()
        if not task.needs_pixels(sha256):
            return Picture(sha256, len(data))
        decoded = self._decode(data, max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels)
        small = b"" if task.is_known(sha256) else thumbnail(decoded.rgb)
        self._budget.acquire(reading.ticket, decoded.rgb.nbytes, self._budget.limit)
        return Picture(sha256, len(data), decoded, small)

    # -- threads -------------------------------------------------------------------------------------------

    def _pool(self, name: str, threads: int) -> ThreadPoolExecutor:
        if name not in self._pools:
            self._pools[name] = ThreadPoolExecutor(threads, thread_name_prefix=f"imagefinder-{name}")
        return self._pools[name]

    def _new_fetcher(self) -> HttpFetcher:
        from imagefinder.images.fetching.fetcher import HttpFetcher  # noqa: PLC0415 - only URLs need an HTTP client

        return HttpFetcher(
            timeout=self._settings.fetch_timeout,
            max_bytes=self._settings.max_image_bytes,
            retries=self._settings.fetch_retries,
            connections=self._settings.fetch_connections,
            check=self._check_address,
        )

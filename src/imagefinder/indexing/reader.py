"""Read, download and decode images in threads, within a memory budget."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from imagefinder.core.errors import ImageTooLargeError
from imagefinder.core.features import Decoded
from imagefinder.core.file_metadata import NO_FILE_METADATA, FileMetadata
from imagefinder.core.records import Entry, Removal
from imagefinder.core.settings import Settings
from imagefinder.images.resize import thumbnail
from imagefinder.indexing.byte_budget import ByteBudget
from imagefinder.indexing.file_metadata import FileMetadataReader
from imagefinder.indexing.known_images import KnownImages
from imagefinder.indexing.plan import Task

if TYPE_CHECKING:
    from imagefinder.images.fetching.fetcher import HttpFetcher

_PREFETCH_TASKS = 256  # tasks started in advance, so that one slow server does not delay the others
_BUDGET = 256 << 20  # bytes of images between started and storing ...
_BUDGET_PER_THREAD = 64 << 20  # ... plus this for each decoding thread


class DecodeFunction(Protocol):
    """The signature of ``Decoder.decode``."""

    def __call__(self, data: bytes, *, max_bytes: int, max_pixels: int, page: int = 1, fit_in: int = 0) -> Decoded:
        """Decode an image."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ReadImage:
    """An image that was read.

    Attributes:
        sha256: SHA-256 of the encoded bytes, hexadecimal.
        size: Number of encoded bytes.
        decoded: The pixels; ``None`` if there are no features to extract.
        thumbnail: JPEG thumbnail; empty if the stored one remains.
        known: A stored image with the same bytes, whose features are used again; ``None`` if there is none.
        removal: The removal of the file from the collection, if it was moved since; otherwise ``None``.
        file_metadata: What the file says about the image.
    """

    sha256: str
    size: int
    decoded: Decoded | None = None
    thumbnail: bytes = b""
    known: Entry | None = None
    removal: Removal | None = None
    file_metadata: FileMetadata = NO_FILE_METADATA

    @property
    def nbytes(self) -> int:
        """Bytes of pixels, or of the known features."""
        if self.known:
            return sum(features.nbytes for features in self.known.features.values())
        return self.decoded.rgb.nbytes if self.decoded else 0


@dataclass(slots=True, eq=False)
class _StartedTask:
    """A task in progress.

    Attributes:
        task: The task.
        ticket: Its position in the order of starting.
        data: The encoded bytes, if a thread of another pool downloads or unpacks them.
    """

    task: Task
    ticket: int
    data: Future[bytes] | None = None


class Reader:
    """Reads images concurrently and returns them in the order in which they were started.

    Call its methods from one thread only. ``_get`` and ``_prepare`` run in worker threads and change no attribute.
    """

    def __init__(
        self,
        settings: Settings,
        decode: DecodeFunction,
        known: KnownImages,
        metadata: FileMetadataReader,
        check_address: Callable[[str], None] | None = None,
        *,
        include_removed: bool = False,
    ) -> None:
        """Store the settings; threads start with the first task.

        Args:
            settings: ``batch_size``, ``threads``, ``fetch_*`` and ``max_image_*`` are used.
            decode: Decodes an image.
            known: Finds stored and removed images with the same bytes.
            metadata: Reads file metadata.
            check_address: Called with every IP address before connecting to it; raises ``FetchError`` to reject
                it.
            include_removed: Also return images that were removed from the collection.
        """
        self._settings = settings
        self._decode = decode
        self._known = known
        self._metadata = metadata
        self._include_removed = include_removed
        self._check_address = check_address
        self._large = threading.Lock()  # one large image at a time, to bound memory
        self._budget = ByteBudget(_BUDGET + _BUDGET_PER_THREAD * settings.threads)
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._fetcher: HttpFetcher | None = None
        self._tickets = 0
        # Each task is in one of these queues, in order.
        self._started: deque[_StartedTask] = deque()
        self._decoding: deque[tuple[_StartedTask, Future[ReadImage]]] = deque()

    @property
    def batch_bytes(self) -> int:
        """Largest number of pixel bytes in a batch."""
        return self._budget.limit // 2

    @property
    def has_capacity(self) -> bool:
        """Whether another task may be started."""
        return len(self._started) < _PREFETCH_TASKS

    @property
    def is_decoding(self) -> bool:
        """Whether ``take`` has a task to wait for."""
        return bool(self._decoding)

    def start(self, task: Task) -> None:
        """Queue a task and start its download, if any; ``start_decoding`` continues with it."""
        self._tickets += 1
        started = _StartedTask(task, self._tickets)
        item = task.item
        if item.read is None:
            if self._fetcher is None:
                self._fetcher = self._new_fetcher()
            get = partial(self._fetcher.fetch, item.uri)
            started.data = self._pool("fetch", self._settings.fetch_connections).submit(self._get, started, get)
        elif item.in_order:
            get = partial(item.read, self._settings.max_local_bytes)
            started.data = self._pool("read", 1).submit(self._get, started, get)
        self._started.append(started)

    def start_decoding(self) -> None:
        """Submit queued tasks to the decoding threads, as many as keep them busy."""
        threads = self._settings.threads
        while self._started and len(self._decoding) < self._settings.batch_size + 2 * threads:
            started = self._started.popleft()
            self._decoding.append((started, self._pool("decode", threads).submit(self._prepare, started)))

    def take(self, timeout: float) -> tuple[Task, ReadImage | BaseException] | None:
        """Return the oldest task with its image or error; ``None`` after ``timeout`` seconds.

        The pixels count against the memory budget until ``release``.
        """
        started, future = self._decoding[0]
        self._budget.admit(started.ticket)
        if not wait([future], timeout=timeout).done:
            return None
        self._decoding.popleft()
        error = future.exception()
        return started.task, future.result() if error is None else error

    def release(self, nbytes: int) -> None:
        """Return bytes of pixels to the budget after they have been freed."""
        self._budget.adjust(-nbytes)

    def close(self) -> None:
        """Cancel all downloads and stop all threads."""
        self._budget.lift()
        if self._fetcher:
            self._fetcher.abort()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.shutdown()
        if self._fetcher:
            self._fetcher.close()

    # -- worker threads ------------------------------------------------------------------------------------

    def _get(self, started: _StartedTask, get: Callable[[], bytes]) -> bytes:
        self._budget.acquire(started.ticket, 0, self._budget.limit // 2)
        data = get()
        self._budget.adjust(len(data))
        return data

    def _prepare(self, started: _StartedTask) -> ReadImage:
        limits, task = self._settings, started.task
        if started.data is None:
            assert task.item.read is not None  # noqa: S101 - downloads have ``data``
            data = task.item.read(limits.max_local_bytes)
        else:
            data = started.data.result()
            started.data = None
            self._budget.adjust(-len(data))
        sha256 = hashlib.sha256(data).hexdigest()
        if not task.needs_pixels(sha256) and not task.is_refresh:
            return ReadImage(sha256, len(data))
        return replace(
            self._pixels(started, data, sha256),
            file_metadata=self._metadata.read(task.item.id, task.item.uri, data, task.sidecars),
        )

    def _pixels(self, started: _StartedTask, data: bytes, sha256: str) -> ReadImage:
        """The pixels of an image, or its known features, as far as they are needed."""
        task = started.task
        if not task.needs_pixels(sha256):
            return ReadImage(sha256, len(data))
        removal = None if task.stored else self._known.removal(task.item, sha256)
        if removal and not self._include_removed:
            return ReadImage(sha256, len(data), removal=removal)
        if not task.is_stored(sha256) and (known := self._known.find(task.item, sha256)):
            image = ReadImage(sha256, len(data), known=known, removal=removal)
            self._budget.acquire(started.ticket, image.nbytes, self._budget.limit)
            return image
        decoded = self._decoded(task, data)
        small = b"" if task.is_stored(sha256) else thumbnail(decoded.rgb)
        self._budget.acquire(started.ticket, decoded.rgb.nbytes, self._budget.limit)
        return ReadImage(sha256, len(data), decoded, small, removal=removal)

    def _decoded(self, task: Task, data: bytes) -> Decoded:
        """Decode an image. Local files may be larger than others; such files are decoded one at a time."""
        limits, page = self._settings, task.item.page
        small = {"max_bytes": limits.max_image_bytes, "max_pixels": limits.max_image_pixels}
        if task.item.read is None:
            return self._decode(data, **small)
        try:
            if len(data) <= limits.max_image_bytes:
                return self._decode(data, page=page, **small)
        except ImageTooLargeError as error:
            if error.unit != "pixels":
                raise
        large = {"max_bytes": limits.max_local_bytes, "max_pixels": limits.max_local_pixels}
        with self._large:
            return self._decode(data, page=page, fit_in=limits.max_image_pixels, **large)

    # -- resources -----------------------------------------------------------------------------------------

    def _pool(self, name: str, threads: int) -> ThreadPoolExecutor:
        if name not in self._pools:
            self._pools[name] = ThreadPoolExecutor(threads, thread_name_prefix=f"imagefinder-{name}")
        return self._pools[name]

    def _new_fetcher(self) -> HttpFetcher:
        from imagefinder.images.fetching.fetcher import HttpFetcher  # noqa: PLC0415 - only URLs need the HTTP client

        return HttpFetcher(
            timeout=self._settings.fetch_timeout,
            max_bytes=self._settings.max_image_bytes,
            retries=self._settings.fetch_retries,
            connections=self._settings.fetch_connections,
            check=self._check_address,
        )

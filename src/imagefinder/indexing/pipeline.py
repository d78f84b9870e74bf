"""From candidates to images in a store: reading, decoding, extracting and storing, each while the others work."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.errors import ImagefinderError, ModelError, StoreError, UnknownImageError
from imagefinder.core.features import Decoded, Features, RgbImage
from imagefinder.core.method import Method
from imagefinder.core.records import Entry, Failure, ImageRecord, ImageStatus
from imagefinder.core.settings import Settings
from imagefinder.images.resize import thumbnail
from imagefinder.indexing.ahead import Ahead, Item
from imagefinder.indexing.candidate import Candidate, SourceEnd, local_path
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.indexing.room import Room

if TYPE_CHECKING:
    from imagefinder.images.fetch import Fetcher

ID_TAKEN = "id_taken"
"""Code of the failure of a picture whose id is that of another picture, from another source."""

_CHUNK = 256  # candidates looked up in the store at once
_READ_AHEAD = 256  # pictures downloaded ahead: one server that does not answer must not hold up the others
_DISCOVER_AHEAD = 100_000  # candidates: a few dozen megabytes, and the total of most collections within seconds
_ROOM = 256 << 20  # bytes of pictures between reading and storing ...
_ROOM_PER_THREAD = 64 << 20  # ... and more where more threads fill it
_WAKE_UP = 0.2  # seconds until a wait looks whether it was told to stop
_TELL = 0.1  # seconds between two reports of progress


class Decode(Protocol):
    """``Decoder.decode``."""

    def __call__(self, data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
        """Encoded bytes to pixels."""
        ...


def index(
    store: Store,
    methods: Sequence[Method],
    candidates: Iterator[Item],
    *,
    settings: Settings,
    prune_sources: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    decode: Decode,
    check_address: Callable[[str], None] | None = None,
    thumbnail: Callable[[RgbImage], bytes] = thumbnail,
) -> AddReport:
    """Bring a store up to date with what sources hold.

    What the store has already, by its stamp or its bytes, is not extracted again; a method it lacks is added; a
    changed picture replaces the old one and keeps its metadata unless the source brings some. A picture that
    fails is recorded with its reason and tried again by the next run; it never ends this one. Pictures become
    durable batch by batch, in the order of the candidates. What is stored does not depend on the number of
    threads.

    Args:
        store: Where to.
        methods: What to extract.
        candidates: Of ``discover``.
        settings: ``batch_size``, ``threads``, ``fetch_*`` and ``max_image_*`` are used.
        prune_sources: URIs of sources (``discover.source_uris``) whose images are to be deleted where the source
            no longer has them. Of a source that could not be read completely, or that holds no picture at all
            any more (an unmounted disk), nothing is deleted; the report says so.
        progress: Called in this thread, at most ten times a second and at the end.
        stop: When set, the pictures at hand are finished and the run ends. Ctrl-C does the same.
        check_address: Refuses addresses that must not be downloaded from; see ``Fetcher``.
        decode: Bytes to pixels.
        thumbnail: Pixels to an encoded thumbnail.

    Raises:
        ModelMissingError: the weights of a method are not here; nothing was read.
        FingerprintMismatchError: the store's features were made differently; nothing was read.
        StoreError: the store cannot be written.
    """
    if not methods:
        raise ValueError("no methods to extract features with")
    for fingerprint, method in [(method.extractor.fingerprint(), method) for method in methods]:
        store.register(fingerprint, method.extractor.spec)
    run = _Run(
        store,
        methods,
        candidates,
        settings=settings,
        progress=progress,
        stop=stop or threading.Event(),
        check_address=check_address,
        decode=decode,
        thumbnail=thumbnail,
    )
    return run.run(prune_sources)


@dataclass(slots=True, eq=False)
class _Work:
    """A candidate that has to be read.

    Attributes:
        ticket: Its place in line.
        known: What the store has under its id.
        needs: Methods to extract if the bytes are those the store knows.
        owner: The image that has its id, if that came from elsewhere.
        data: Its bytes, where another thread gets them.
    """

    candidate: Candidate
    ticket: int
    known: ImageStatus | None
    needs: tuple[str, ...]
    owner: ImageRecord | None
    data: Future[bytes] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """What became of a work: its bytes' digest and length, and pixels if there is anything to extract."""

    sha256: str
    size: int
    decoded: Decoded | None = None
    thumbnail: bytes = b""


@dataclass(slots=True)
class _Counts:
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    current: str = ""


class _Run:
    """One run of ``index``. Only ``_get`` and ``_prepare`` run in other threads, and they change no attribute."""

    def __init__(
        self,
        store: Store,
        methods: Sequence[Method],
        items: Iterator[Item],
        *,
        settings: Settings,
        progress: Callable[[Progress], None] | None,
        stop: threading.Event,
        check_address: Callable[[str], None] | None,
        decode: Decode,
        thumbnail: Callable[[RgbImage], bytes],
    ) -> None:
        self._store = store
        self._methods = {method.name: method for method in methods}
        self._settings = settings
        self._progress = progress
        self._stop = stop
        self._check_address = check_address
        self._decode = decode
        self._thumbnail = thumbnail
        self._started = self._told = time.monotonic()
        self._count = _Counts()
        self._room = Room(_ROOM + _ROOM_PER_THREAD * settings.threads)
        self._ahead = Ahead(items, _DISCOVER_AHEAD)
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._fetcher: Fetcher | None = None
        self._tickets = 0
        # In order, from discovered to stored; a candidate is in one of these, and its id under way.
        self._looked_up: deque[tuple[Candidate, ImageStatus | None]] = deque()
        self._reading: deque[_Work] = deque()
        self._decoding: deque[tuple[_Work, Future[_Picture]]] = deque()
        self._batch: list[tuple[_Work, _Picture]] = []
        self._under_way: set[str] = set()
        self._blocked = False  # the next candidate waits for one under way that has its id
        self._noted = {failure.id: failure.source for failure in store.failures()}
        self._unrecorded: list[Failure] = []
        self._ends: dict[str, SourceEnd] = {}
        self._seen = array("q")

    def run(self, prune_sources: Sequence[str]) -> AddReport:
        try:
            try:
                interrupted = not self._work_through()
            except KeyboardInterrupt:
                interrupted = True
            self._store_batch()
            self._record_failures()
            if not interrupted:
                self._forget_failures()
                for source in prune_sources:
                    self._prune(source)
            elif prune_sources:
                self._count.notes.append("nothing was removed: the run was interrupted")
        finally:
            self._close()
        self._tell(at_once=True)
        count = self._count
        return AddReport(
            methods=tuple(self._methods),
            added=count.added,
            replaced=count.replaced,
            unchanged=count.unchanged,
            removed=count.removed,
            failures=tuple(count.failures),
            seconds=time.monotonic() - self._started,
            interrupted=interrupted,
            skipped=count.skipped,
            notes=tuple(count.notes),
        )

    def _work_through(self) -> bool:
        """Whether everything was dealt with; otherwise it was asked to stop."""
        while not self._stop.is_set():
            self._fill()
            if self._decoding:
                self._take()
            elif self._blocked:
                self._store_batch()
            elif self._ahead.wait(_WAKE_UP):
                if not self._batch:
                    self._ahead.check()
                    return True
                self._store_batch()
            if len(self._batch) >= self._settings.batch_size or self._held() >= self._room.limit // 2:
                self._store_batch()
            if len(self._unrecorded) >= _CHUNK:
                self._record_failures()
            self._tell()
        return False

    # -- from candidates to works --------------------------------------------------------------------------

    def _fill(self) -> None:
        """Keep the other threads busy."""
        while len(self._reading) < _READ_AHEAD and (work := self._next_work()):
            candidate = work.candidate
            if candidate.read is None:
                if self._fetcher is None:
                    self._fetcher = self._new_fetcher()
                get = partial(self._fetcher.fetch, candidate.uri)
                work.data = self._pool("fetch", self._settings.fetch_connections).submit(self._get, work, get)
            elif candidate.in_order:
                get = partial(candidate.read, self._settings.max_image_bytes)
                work.data = self._pool("read", 1).submit(self._get, work, get)
            self._reading.append(work)
        threads = self._settings.threads
        while self._reading and len(self._decoding) < self._settings.batch_size + 2 * threads:
            work = self._reading.popleft()
            self._decoding.append((work, self._pool("decode", threads).submit(self._prepare, work)))

    def _next_work(self) -> _Work | None:
        """The next candidate that has to be read; those that need not be are settled on the way."""
        while not self._stop.is_set():
            while self._looked_up:
                if work := self._judge(*self._looked_up.popleft()):
                    return work
            if not self._look_up():
                break
            self._tell()
        return None

    def _look_up(self) -> bool:
        """Take some items and ask the store about them; whether there were any now."""
        self._blocked = False
        items = self._ahead.take(_CHUNK, self._begin)
        known = self._store.status([item.id for item in items if isinstance(item, Candidate)])
        for item in items:
            if isinstance(item, SourceEnd):
                self._ends[item.source] = item
                self._count.skipped += item.skipped
                continue
            self._seen.append(hash((item.source, item.id)))
            if isinstance(item, Failure):
                self._fail(item)
            else:
                self._looked_up.append((item, known.get(item.id)))
        return bool(items)

    def _begin(self, item: Item) -> bool:
        """Whether an item may enter: not before another candidate of its id has been dealt with."""
        if isinstance(item, Candidate):
            self._blocked = item.id in self._under_way
            if not self._blocked:
                self._under_way.add(item.id)
        return not self._blocked

    def _judge(self, candidate: Candidate, known: ImageStatus | None) -> _Work | None:
        missing = tuple(name for name in self._methods if known is None or name not in known.methods)
        owner = None
        if known is not None and known.uri == candidate.uri:
            same_stamp = candidate.stamp == known.stamp and candidate.stamp
            if not missing and (same_stamp or candidate.read is None):
                self._unchanged(candidate)
                return None
        elif known is not None:
            owner = self._other_owner(candidate)
            if owner and owner.uri and candidate.read is None:
                # Other URLs give other pictures; a download could not settle it.
                self._give_up(candidate, _id_taken(candidate, owner))
                return None
        self._tickets += 1
        return _Work(candidate, self._tickets, known, missing, owner)

    def _other_owner(self, candidate: Candidate) -> ImageRecord | None:
        try:
            record = self._store.get(candidate.id)
        except UnknownImageError:  # deleted a moment ago
            return None
        return None if record.source and record.source == candidate.source else record

    # -- from works to pictures, in other threads ----------------------------------------------------------

    def _get(self, work: _Work, get: Callable[[], bytes]) -> bytes:
        self._room.enter(work.ticket, 0, self._room.limit // 2)
        data = get()
        self._room.change(len(data))
        return data

    def _prepare(self, work: _Work) -> _Picture:
        limits = self._settings
        if work.data is None:
            assert work.candidate.read is not None  # noqa: S101 - what is to be downloaded has ``data``
            data = work.candidate.read(limits.max_image_bytes)
        else:
            data = work.data.result()
            work.data = None
            self._room.change(-len(data))
        picture = _Picture(hashlib.sha256(data).hexdigest(), len(data))
        same = _same(work, picture)
        if (same and not work.needs) or (work.owner and not same):
            return picture
        decoded = self._decode(data, max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels)
        small = b"" if same else self._thumbnail(decoded.rgb)
        self._room.enter(work.ticket, decoded.rgb.nbytes, self._room.limit)
        return replace(picture, decoded=decoded, thumbnail=small)

    # -- from pictures to the store ------------------------------------------------------------------------

    def _take(self) -> None:
        """Deal with the oldest picture, if it is ready within a moment."""
        work, future = self._decoding[0]
        self._room.next(work.ticket)
        if not wait([future], timeout=_WAKE_UP).done:
            return
        self._decoding.popleft()
        error = future.exception()
        if error is not None:
            self._give_up(work.candidate, _failure(work.candidate, error))
            return
        picture = future.result()
        if picture.decoded:
            self._batch.append((work, picture))
        elif _same(work, picture):
            self._settle(work)
            self._unchanged(work.candidate)
        else:
            assert work.owner is not None  # noqa: S101 - other bytes are decoded unless the id is taken
            self._give_up(work.candidate, _id_taken(work.candidate, work.owner))

    def _store_batch(self) -> None:
        """Extract and put the batch at hand; interrupted and called again, it begins anew."""
        features, errors = self._extract_all()
        changed = [i for i, pair in enumerate(self._batch) if i not in errors and not _same(*pair)]
        further = [i for i, pair in enumerate(self._batch) if i not in errors and _same(*pair)]
        if changed:
            self._store.put([self._entry(*self._batch[i], features[i]) for i in changed])
        for i in further:
            work = self._batch[i][0]
            try:
                self._store.put_features(work.candidate.id, features[i])
                self._settle(work)
            except UnknownImageError as error:
                errors[i] = error
        held = self._held()
        works, self._batch = [work for work, _ in self._batch], []
        self._room.change(-held)  # now that nobody holds these pixels any more
        for i, work in enumerate(works):
            if i in errors:
                self._give_up(work.candidate, _failure(work.candidate, errors[i]))
                continue
            if work.known is None:
                self._count.added += 1
            else:
                self._count.replaced += 1
            self._done(work.candidate)
        self._record_failures()

    def _held(self) -> int:
        """Bytes of pixels in the batch."""
        return sum(picture.decoded.rgb.nbytes for _, picture in self._batch if picture.decoded)

    def _extract_all(self) -> tuple[list[dict[str, Features]], dict[int, BaseException]]:
        """Each picture's features by method; and by its number, each picture that a method failed on."""
        features: list[dict[str, Features]] = [{} for _ in self._batch]
        errors: dict[int, BaseException] = {}
        for name, method in self._methods.items():
            numbers, images = [], []
            for i, (work, picture) in enumerate(self._batch):
                if picture.decoded and i not in errors and (name in work.needs or not _same(work, picture)):
                    numbers.append(i)
                    images.append(picture.decoded.rgb)
            for i, one in zip(numbers, _extract(method, images), strict=True):
                if isinstance(one, Exception):
                    errors[i] = one
                else:
                    features[i][name] = one
        return features, errors

    def _entry(self, work: _Work, picture: _Picture, features: Mapping[str, Features]) -> Entry:
        assert picture.decoded is not None  # noqa: S101 - it is in the batch
        candidate = work.candidate
        metadata = candidate.metadata
        if work.known is not None and not metadata:
            try:
                metadata = self._store.get(candidate.id).metadata
            except UnknownImageError:  # deleted a moment ago
                metadata = {}
        record = ImageRecord(
            id=candidate.id,
            uri=candidate.uri,
            sha256=picture.sha256,
            size_bytes=picture.size,
            width=picture.decoded.width,
            height=picture.decoded.height,
            format=picture.decoded.format,
            source=candidate.source,
            stamp=candidate.stamp,
            metadata=metadata,
        )
        return Entry(record, features, picture.thumbnail)

    def _settle(self, work: _Work) -> None:
        """Note where an image was found whose bytes are the known ones."""
        candidate, known = work.candidate, work.known
        assert known is not None  # noqa: S101 - its bytes were compared
        if work.owner is None:
            if (candidate.uri, candidate.stamp) != (known.uri, known.stamp):
                self._store.touch(candidate.id, uri=candidate.uri, stamp=candidate.stamp)
        elif _gone(work.owner.uri):
            # The picture has moved: it belongs to this source now, with all that was extracted.
            record = replace(
                self._store.get(candidate.id),
                uri=candidate.uri,
                source=candidate.source,
                stamp=candidate.stamp,
                metadata=candidate.metadata or work.owner.metadata,
            )
            held = self._store.status([candidate.id])[candidate.id].methods
            features = {name: self._store.features(candidate.id, name) for name in held}
            self._store.put([Entry(record, features, self._store.thumbnail(candidate.id))])

    # -- outcomes ------------------------------------------------------------------------------------------

    def _unchanged(self, candidate: Candidate) -> None:
        self._count.unchanged += 1
        self._done(candidate)

    def _done(self, candidate: Candidate) -> None:
        self._count.current = candidate.id
        self._under_way.discard(candidate.id)
        if candidate.id in self._noted:
            self._store.forget_failures([candidate.id])
            del self._noted[candidate.id]

    def _give_up(self, candidate: Candidate, failure: Failure) -> None:
        self._under_way.discard(candidate.id)
        self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self._count.current = failure.id
        self._noted.pop(failure.id, None)
        self._count.failures.append(failure)
        self._unrecorded.append(failure)

    def _record_failures(self) -> None:
        if self._unrecorded:
            self._store.record_failures(self._unrecorded)
            self._unrecorded = []

    def _forget_failures(self) -> None:
        """Drop old failures of sources that no longer have them."""
        ended = {end.source for end in self._ends.values() if end.complete}
        self._store.forget_failures([image_id for image_id, source in self._noted.items() if source in ended])

    def _prune(self, source: str) -> None:
        end = self._ends.get(source)
        if end is None or not end.complete:
            self._count.notes.append(f"nothing of {source} was removed: not all of it could be read")
            return
        if not end.pictures and self._store.images(limit=1, source=source):
            self._count.notes.append(
                f"nothing of {source} was removed: it holds no picture any more, as if a disk were not mounted"
            )
            return
        # 8 bytes an image; two that fall together would only be kept.
        seen = np.sort(np.frombuffer(self._seen, dtype=np.int64))
        after = ""
        while page := self._store.images(after=after, limit=_CHUNK, source=source):
            after = page[-1].id
            hashes = np.array([hash((source, image.id)) for image in page], dtype=np.int64)
            places = np.minimum(np.searchsorted(seen, hashes), max(len(seen) - 1, 0))
            there = seen[places] == hashes if len(seen) else np.zeros(len(page), dtype=bool)
            gone = [image.id for image, found in zip(page, there, strict=True) if not found]
            if gone:
                self._count.removed += self._store.delete(gone)

    def _tell(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._progress is None or (now - self._told < _TELL and not at_once):
            return
        self._told = now
        count = self._count
        self._progress(
            Progress(
                total=self._ahead.total,
                added=count.added,
                replaced=count.replaced,
                unchanged=count.unchanged,
                failed=len(count.failures),
                seconds=now - self._started,
                current=count.current,
            )
        )

    # -- threads -------------------------------------------------------------------------------------------

    def _pool(self, name: str, threads: int) -> ThreadPoolExecutor:
        if name not in self._pools:
            self._pools[name] = ThreadPoolExecutor(threads, thread_name_prefix=f"imagefinder-{name}")
        return self._pools[name]

    def _new_fetcher(self) -> Fetcher:
        from imagefinder.images.fetch import Fetcher  # noqa: PLC0415 - only URLs need an HTTP client

        return Fetcher(
            timeout=self._settings.fetch_timeout,
            max_bytes=self._settings.max_image_bytes,
            retries=self._settings.fetch_retries,
            connections=self._settings.fetch_connections,
            check=self._check_address,
        )

    def _close(self) -> None:
        self._ahead.close()
        self._room.open()
        if self._fetcher:
            self._fetcher.abort()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.shutdown()
        if self._fetcher:
            self._fetcher.close()


def _extract(method: Method, images: Sequence[RgbImage]) -> list[Features | Exception]:
    """Features of each picture; where a batch fails, its pictures one by one, so that a bad one is found."""
    if not images:
        return []
    try:
        features = method.extractor.extract(images)
    except (ModelError, StoreError):
        raise
    except Exception as error:  # a method may be anybody's code
        if len(images) == 1:
            return [error]
        return [one for image in images for one in _extract(method, [image])]
    if len(features) != len(images):
        raise RuntimeError(f"{method.name} gave features of {len(features)} pictures for {len(images)}")
    return [features.image(i) for i in range(len(images))]


def _same(work: _Work, picture: _Picture) -> bool:
    return work.known is not None and work.known.sha256 == picture.sha256


def _gone(uri: str) -> bool:
    """Whether an image has no place any more, or never had a known one."""
    path = local_path(uri)
    return not uri or (path is not None and not os.path.lexists(path))


def _failure(candidate: Candidate, error: BaseException) -> Failure:
    code, message = ImagefinderError.code, f"{type(error).__name__}: {error}"
    if isinstance(error, ImagefinderError):
        code, message = error.code, error.message
    return Failure(candidate.id, candidate.uri, code, message, source=candidate.source)


def _id_taken(candidate: Candidate, owner: ImageRecord) -> Failure:
    through = f", added through {owner.source}" if owner.source else ""
    message = (
        f"the id {candidate.id!r} is that of another image already ({owner.uri or 'put by hand'}{through}); "
        "to have both, add a folder above the two, so that their ids differ"
    )
    return Failure(candidate.id, candidate.uri, ID_TAKEN, message, source=candidate.source)

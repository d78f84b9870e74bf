"""A collection: the one object most users of the library need."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, TypeAlias, get_args

import numpy as np

from imagefinder.core import filters
from imagefinder.core.contracts import Decoder, Shortlist, Store
from imagefinder.core.errors import (
    CollectionCorruptError,
    EmptyImageError,
    ImageError,
    InputError,
    ModelError,
    NotAnImageError,
    SettingsError,
    SourceError,
    UnknownMethodError,
)
from imagefinder.core.features import Decoded, RgbImage
from imagefinder.core.method import Examiner, Method, MethodState
from imagefinder.core.records import (
    SHORTLIST,
    CheckReport,
    Damage,
    Entry,
    Failure,
    ImageRecord,
    IndexReport,
    StoreInfo,
)
from imagefinder.core.results import (
    AUTO,
    Box,
    Comparison,
    DuplicateReport,
    Explanation,
    Mode,
    Ranking,
    SearchResult,
)
from imagefinder.core.settings import Settings
from imagefinder.images.resize import thumbnail
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.progress import AddReport, Progress
from imagefinder.search import background, duplicate_report, engine, evidence, pair, question
from imagefinder.search.background import Background
from imagefinder.search.explain import explain
from imagefinder.search.question import Asked

_SOME_WAITING = 256
"""So many images without an index are scored one by one beside the candidates; more are indexed first ..."""

_MOST_WAITING = 2000
"""... and of more than this it is quicker to score all images than to wait."""

Picture: TypeAlias = str | os.PathLike[str] | bytes | RgbImage
"""A picture to ask with: a path, an ``http(s)`` URL, encoded bytes, or ``(H, W, 3)`` uint8 RGB."""


_PAGE = 1000


class Collection:
    """Images with their features, and the questions one can ask of them.

    ``imagefinder.open`` makes one. It may be used from several threads; close it when done, or use it as a
    context manager.

    Attributes:
        settings: Limits and sizes it works with.
        store: Where images and features are kept.
        decoder: What turns encoded pictures into pixels.
    """

    def __init__(  # noqa: PLR0917 - wiring alone calls it
        self,
        store: Store,
        load_method: Callable[[str], Method],
        load_examiner: Callable[[], Examiner],
        names: Sequence[str],
        settings: Settings,
        decoder: Decoder,
        *,
        load_shortlist: Callable[[Store, Method], Shortlist] | None = None,
    ) -> None:
        """Join ready parts.

        Args:
            store: Where images and features are kept.
            load_method: Gives the method of a name; raises ``UnknownMethodError``.
            load_examiner: Gives what looks closely at the best candidates.
            names: Of all methods installed.
            settings: Limits and sizes.
            decoder: Turns encoded pictures into pixels.
            load_shortlist: Gives the index of a method; without it every search is exact.
        """
        self.settings = settings
        self.decoder = decoder
        self.store = store
        self._load_method = load_method
        self._load_examiner = load_examiner
        self._load_shortlist = load_shortlist
        self._shortlists: dict[str, Shortlist] = {}
        self._examiner: Examiner | None = None
        self._background: Background | None = None
        self._learning = threading.Lock()
        self._names = tuple(sorted(names))
        self._loaded: dict[str, Method] = {}
        self._begun: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and processes; calling it again does nothing."""
        self.decoder.close()
        self.store.close()

    # -- changing ------------------------------------------------------------------------------------------

    def add(
        self,
        *sources: str | os.PathLike[str],
        methods: Sequence[str] | None = None,
        prune: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
        guard: Guard = TRUSTED,
    ) -> AddReport:
        """Index pictures; those that are there already, unchanged, are passed over quickly.

        Args:
            sources: Files, folders (recursive), archives (zip, tar), ``.csv`` or ``.jsonl`` lists with ``url``
                and ``id``, or URLs.
            methods: Names of the methods to extract features for; by default those the collection has, or,
                for an empty one, every method that is ready on this machine.
            prune: Remove images that came through one of the sources and are no longer in it.
            progress: Called several times a second.
            stop: Set it to end the run after the pictures at hand; the next run continues.
            guard: What the sources may reach, where they were named by a stranger.

        Returns:
            What was done, with every picture that failed and why. A bad picture never ends the run.

        Raises:
            SourceError: a source does not exist or cannot be read.
            UnknownMethodError: no such method.
            ModelMissingError: the weights of a method that was asked for are not here.
            FingerprintMismatchError: the collection's features were made differently.
        """
        from imagefinder.indexing import discover, pipeline  # noqa: PLC0415 - searching needs neither

        return pipeline.index(
            self.store,
            self._methods_to_index(methods),
            discover.discover(sources, guard=guard),
            settings=self.settings,
            prune_sources=discover.source_uris(sources) if prune else (),
            progress=progress,
            stop=stop,
            check_address=guard.check_address,
            decode=self.decoder.decode,
        )

    def put(
        self, image_id: str, data: bytes, *, metadata: Mapping[str, Any] | None = None, uri: str = ""
    ) -> ImageRecord:
        """Index one picture under an id of your choice, or replace the one of that id.

        It is durable on return, with the features of every method the collection has (for an empty
        collection: of every method that is ready).

        Args:
            image_id: The id; any text that is not empty.
            data: The encoded picture.
            metadata: Your own JSON object to keep with it.
            uri: Where it came from, if you want that kept.

        Raises:
            ImageError: the picture cannot be used; nothing was changed.
            InputError: an unusable id or metadata.
            FingerprintMismatchError: the collection's features were made differently.
        """
        methods = self._methods_to_index(None)
        picture = self.decode(data)
        record = ImageRecord(
            id=image_id,
            uri=uri,
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            width=picture.width,
            height=picture.height,
            format=picture.format,
            metadata=metadata or {},
        )
        features = {}
        for method in methods:
            self.store.register(method.extractor.fingerprint(), method.extractor.spec)
            features[method.name] = method.extractor.extract([picture.rgb])
        self.store.put([Entry(record, features, thumbnail(picture.rgb))])
        return self.store.get(image_id)

    def remove(self, ids: str | Sequence[str]) -> int:
        """Remove images; returns how many of the ids were there."""
        return self.store.delete([ids] if isinstance(ids, str) else list(ids))

    # -- keeping -------------------------------------------------------------------------------------------

    def check(
        self, *, repair: bool = False, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> CheckReport:
        """Look at everything the collection holds: tables, checksums, thumbnails, counts, what is derived.

        Others may search and add meanwhile, but for the repair of damaged tables.

        Args:
            repair: Mend what can be mended. Damaged features and records are dropped: ``add`` makes them again.
                From damaged tables all that can be read is saved into a new database; the old one stays beside it.
            progress: Called with (done, total).

        Raises:
            CollectionBusyError: tables must be mended, and another program has the collection open.
            StoreError: the files cannot be read, or written.
        """
        begin = time.monotonic()
        damages = self.store.check(
            repair=repair, sound_thumbnail=self._is_thumbnail, sound_derived=self._is_derived, progress=progress
        )
        info = self.store.info() if repair or not any(damage.kind == "database" for damage in damages) else None
        if info and self._load_shortlist:
            damages += self._index_damages(repair=repair)
        return CheckReport(
            info.location if info else str(self.settings.collection),
            info.images if info else 0,
            tuple(damages),
            time.monotonic() - begin,
        )

    def backup(
        self,
        destination: str | os.PathLike[str],
        *,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Path:
        """Copy the collection as it is at one moment, while others may search and add.

        The copy is a collection like any other: to restore it, open it, or put it in the place of the lost one.
        What is derived (``index/``) is not copied; it is made again.

        Args:
            destination: A folder that is not there yet, or is empty. It appears complete and checked, or not at
                all.
            progress: Called with (done, total).

        Returns:
            The folder.

        Raises:
            SourceError: something is there already.
            CollectionCorruptError: this collection is damaged, and the copy would be.
            StoreError: the copy cannot be written; a collection in memory.
        """
        folder = Path(destination).expanduser().absolute()
        self.store.backup(folder, progress)
        return folder

    # -- asking --------------------------------------------------------------------------------------------

    def search(
        self,
        query: Picture | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the word users know
        method: str = AUTO,
        k: int = 3,
        ranking: Ranking = "evidence",
        mirror: bool = True,
        boxes: Sequence[Box] = (),
        evalues: bool = True,
        where: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
        mode: Mode = "auto",
    ) -> SearchResult:
        """The ``k`` images that most speaks for; or, honestly, that there is none.

        The first search of a collection with E-values learns what chance does in it, which takes some seconds; it
        is learned anew when the collection has grown or shrunk by half. ``learn`` does so beforehand.

        Args:
            query: The picture to ask with.
            id: Instead: the id of an image of this collection; it is left out of the answer.
            method: Name of the method that compares, or ``auto``: all that the collection has, together.
            k: How many hits at most; the first hits do not depend on it.
            ranking: ``evidence``: by E-value; the best candidates are looked at for a common geometry and for
                whether they look alike. ``matches``: by the method's score alone, as the method defines it.
            mirror: Find mirror images (left for right) too, with ``evidence``; methods with keypoints then compare
                twice.
            boxes: Parts of the query; only what is inside them counts.
            evalues: With ``matches``: give E-values.
            where: Ask only images whose metadata match this filter (``core.filters``); E-values are about these.
            progress: Called with (done, total) while the collection is learned.
            mode: ``exact``: every image is scored. ``fast``: an index proposes candidates, which are scored
                exactly; what it has not indexed yet is indexed first. ``auto``: fast where the features are more
                than the setting ``exact_bytes`` and an index is ready. The result says which it was.

        Raises:
            InputError: no such mode; neither or both of ``query`` and ``id``; ``k`` below 1; a picture that cannot
                be used; a box outside of it; ``auto`` with ``matches``; a filter that is none.
            UnknownMethodError: no such method.
            UnknownImageError: no image of that id.
            MethodNotIndexedError: there are images, but none has features of this method.
            FingerprintMismatchError: the stored features were made differently.
            ModelMissingError: the method's weights are not on this machine.
        """
        if (query is None) == (id is None):
            raise InputError("give exactly one of a query picture and an id")
        if method == AUTO and ranking == "matches":
            raise InputError(
                "scores of several methods cannot be compared, so the ranking by matches needs one method",
                hint=f"methods of this collection: {', '.join(self.store.info().methods) or 'none yet'}",
            )
        watch = engine.Stopwatch()
        if query is not None and not isinstance(query, np.ndarray):
            self.decoder.start()
        allowed = self._allowed(where)
        if allowed is not None:
            watch.lap("filter")
        planned = self._methods_to_ask(method)  # a method that is not there is told before a picture is read
        if query is not None:
            self._load_ahead(planned)
        asked = self._asked(query, id, boxes)
        chosen = self._methods_to_ask(method, id)
        watch.lap("decode")
        by_evidence = ranking == "evidence"
        background = self._learned(progress) if by_evidence or evalues else None
        watch.lap("learn")
        shortlists = self._shortlists_for(chosen, mode)
        if shortlists is not None:
            watch.lap("index")
        return engine.search(
            self.store,
            chosen,
            asked,
            k=k,
            watch=watch,
            order=ranking,
            mirror=mirror and by_evidence,
            examiner=self._examine(),
            background=background,
            threads=self.settings.threads,
            allowed=allowed,
            shortlists=shortlists,
        )

    def rebuild_index(
        self, progress: Callable[[str, int, int], None] | None = None, *, rebuild: bool = True
    ) -> IndexReport:
        """Make the indexes that propose candidates in ``fast`` searches, of all methods of this collection.

        Searches go on meanwhile with the former ones.

        Args:
            progress: Called now and then with the name of a method, how many of its images are indexed, and how
                many there are.
            rebuild: Begin anew, with what is learned from the collection as it is now; otherwise that is done
                only for what the collection has outgrown, and of the rest what is not indexed yet is.

        Raises:
            CollectionCorruptError: stored features are damaged.
        """
        start = time.perf_counter()
        states = []
        for name in self._indexed_methods():
            index = self._own_shortlist(name)
            anew = rebuild or index.state().outgrown
            index.refresh(rebuild=anew, progress=_named(progress, name))
            states.append(index.state())
        problems = tuple(
            f"the index of {state.method} could not be written; it ends with this program"
            for state in states
            if not state.kept
        )
        return IndexReport(tuple(states), problems, time.perf_counter() - start)

    def is_large(self) -> bool:
        """Whether mode ``auto`` would use an index if there is one: searches with all methods read too much."""
        return self._bytes_of(self.store.info().methods) > self.settings.exact_bytes

    def verify_index(self) -> IndexReport:
        """Compare the indexes with the stored features: whole files by checksum, some images of each part anew."""
        start = time.perf_counter()
        states, problems = [], []
        for name in self._indexed_methods():
            index = self._own_shortlist(name)
            problems += index.verify()
            states.append(index.state())
        return IndexReport(tuple(states), tuple(problems), time.perf_counter() - start)

    def learn(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Learn what chance does in this collection, if that is not known yet or no longer true.

        Args:
            progress: Called with (done, total).

        Returns:
            Whether there was anything to learn.
        """
        before = self._background
        return self._learned(progress) is not before

    def explain(
        self,
        query: Picture,
        id: str,  # noqa: A002 - the word users know
        *,
        method: str = AUTO,
        mirror: bool = True,
        boxes: Sequence[Box] = (),
        where: Mapping[str, Any] | None = None,
    ) -> Explanation:
        """What speaks for an image of this collection: matches, inliers, transform, outlines, heat, numbers.

        Args:
            query: The picture that was asked with.
            id: Of the image to look at, found or not.
            method: Name of a method, or ``auto``: that which has the most to say.
            mirror: Try the mirror image of the query too.
            boxes: Parts of the query; only what is inside them counts.
            where: The filter that the search had, so that its E-values are told again.

        Raises:
            InputError: a picture that cannot be used; features without keypoints.
            UnknownMethodError: no such method.
            UnknownImageError: no image of that id.
            MethodNotIndexedError: the image has no features of this method.
            FingerprintMismatchError: the stored features were made differently.
        """
        chosen = self._methods_to_ask(method)
        return explain(
            self.store,
            chosen,
            self._asked(query, None, boxes),
            id,
            mirror=mirror,
            examiner=self._examine(),
            background=self._learned(None),
            stored=self._read_stored,
            allowed=self._allowed(where),
            shortlists=self._shortlists_for(chosen, "auto"),
        )

    def draw(self, explanation: Explanation, query: Picture) -> bytes:
        """The explanation as a picture: what belongs together, one laid on the other, or what contributed.

        The stored image is read again from its file if that has not changed; otherwise its thumbnail is shown.

        Args:
            explanation: What ``explain`` returned.
            query: The same picture it was asked with.

        Returns:
            An encoded PNG.

        Raises:
            InputError: a picture that cannot be used, or of another size than the one that was explained.
            UnknownImageError: the image has been removed.
        """
        from imagefinder.images import drawing  # noqa: PLC0415 - only those who draw need fonts

        pixels = self._pixels(query)
        if (pixels.shape[1], pixels.shape[0]) != explanation.query_size:
            raise InputError("this is not the picture that was explained: it has another size")
        return drawing.draw(pixels, self._stored_pixels(explanation.id), explanation)

    def compare(self, a: Picture, b: Picture, *, method: str = "sift") -> Comparison:
        """Score two pictures against each other, and say what speaks for it; nothing is stored.

        Raises:
            InputError: a picture that cannot be used.
            UnknownMethodError: no such method.
            ModelMissingError: the method's weights are not on this machine.
        """
        watch = engine.Stopwatch()
        chosen = self.method(method)
        asked, other = self._asked(a, None, ()), self._asked(b, None, ())
        watch.lap("decode")
        return pair.compare(chosen, self._examine(), asked, other, watch=watch)

    def duplicates(
        self, *, mirror: bool = True, progress: Callable[[str, int, int], None] | None = None
    ) -> DuplicateReport:
        """Groups of identical, edited and overlapping pictures, the best one of each first. Nothing is removed.

        All methods of the collection propose pairs, each picture a bounded number; those with keypoints (``sift``)
        verify them. The time grows about as the number of pictures does.

        Args:
            mirror: Find mirrored copies, too.
            progress: Called now and then with the stage (``read``, ``propose``, ``verify``), how much of it is
                done, and how much there is.

        Raises:
            StoreError: the collection cannot be read.
        """
        from imagefinder.search import duplicates  # noqa: PLC0415 - searching does not need it

        watch = engine.Stopwatch()
        methods = [self.method(name) for name in sorted(self.store.info().methods) if name in self._names]
        return duplicates.find(
            self.store, methods, self._examine().photometer, watch=watch, mirror=mirror, progress=progress
        )

    def read(self, picture: str | os.PathLike[str]) -> bytes:
        """The encoded bytes behind a path or URL: to ask several times what is read, or downloaded, once.

        Raises:
            SourceError: it cannot be read.
            FetchError: it cannot be downloaded.
        """
        return self._bytes(picture)

    def decode(self, data: bytes) -> Decoded:
        """The pixels of an encoded picture, upright, within the limits of the settings.

        Raises:
            ImageError: the picture cannot be used.
        """
        limits = self.settings
        return self.decoder.decode(data, max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels)

    def pixels(self, picture: Picture) -> RgbImage:
        """A picture as it is compared: upright ``(H, W, 3)`` uint8 RGB.

        Raises:
            InputError: a picture that cannot be used.
        """
        return self._pixels(picture)

    def stored_pixels(self, image_id: str) -> RgbImage:
        """A stored picture from its unchanged file, else its thumbnail, else one grey pixel.

        Raises:
            UnknownImageError: no image of that id.
        """
        return self._stored_pixels(image_id)

    def get(self, image_id: str) -> ImageRecord:
        """The record of an image.

        Raises:
            UnknownImageError: no image of that id.
        """
        return self.store.get(image_id)

    def thumbnail(self, image_id: str) -> bytes:
        """JPEG of at most 256 pixels a side; empty if there is none.

        Raises:
            UnknownImageError: no image of that id.
        """
        return self.store.thumbnail(image_id)

    def original(self, image_id: str) -> BinaryIO | None:
        """The file behind an image, open at its beginning; ``None`` if it has none, or that is no longer the same.

        Raises:
            UnknownImageError: no image of that id.
        """
        from imagefinder.indexing.candidate import local_path  # noqa: PLC0415 - searching needs it not

        record = self.store.get(image_id)
        path = local_path(record.uri) if record.uri.startswith("file:") else None
        if path is None:
            return None
        try:
            # Not blocking: a pipe that took the place of the file would be waited on for ever.
            file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
        except OSError:
            return None
        status = os.fstat(file.fileno())
        is_same_size = stat.S_ISREG(status.st_mode) and status.st_size == record.size_bytes
        if is_same_size and hashlib.file_digest(file, "sha256").hexdigest() == record.sha256:
            file.seek(0)
            return file
        file.close()
        return None

    def images(
        self, *, after: str = "", limit: int = 100, where: Mapping[str, Any] | None = None, contains: str = ""
    ) -> list[ImageRecord]:
        """A page of records ordered by id, beginning behind the id ``after``.

        Args:
            after: The last id of the page before; empty for the first page.
            limit: At most so many.
            where: Only images whose metadata match this filter (``core.filters``).
            contains: Only images with this text in their id or in a text of their metadata.

        Raises:
            InputError: a filter that is none.
        """
        chosen = None if where is None else filters.parse(where)
        return self.store.images(after=after, limit=limit, where=chosen, contains=contains)

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """The pictures that could not be indexed, and why, ordered by id; a page of them as in ``images``."""
        return self.store.failures(after=after, limit=limit)

    def info(self) -> StoreInfo:
        """Counts, methods and bytes."""
        return self.store.info()

    # -- methods -------------------------------------------------------------------------------------------

    def method(self, name: str) -> Method:
        """The method of a name, made once.

        Raises:
            UnknownMethodError: no such method.
        """
        if name not in self._names:
            raise UnknownMethodError(name, self._names)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load_method(name)
            return self._loaded[name]

    def methods(self) -> list[MethodState]:
        """Every installed method, and whether it can run here, in order of name."""
        return [self._state(name) for name in self._names]

    def warm(self, method: str) -> None:
        """Load what a search by this method needs (model, stored features), so that the first one is quick.

        Raises:
            UnknownMethodError: no such method.
            ModelMissingError: the method's weights are not on this machine.
        """
        self.decoder.start()
        chosen = self.method(method)
        chosen.extractor.extract([np.zeros((64, 64, 3), dtype=np.uint8)])
        self._examine()
        if method in self.store.info().methods:
            for _ in self.store.scan(method):
                pass

    def _load_ahead(self, methods: Sequence[Method]) -> None:
        """Begin to load, once, what these methods need, while the first picture is read and decoded."""
        with self._lock:
            new = [method for method in methods if method.name not in self._begun]
            self._begun.update(method.name for method in new)
        if new:
            threading.Thread(target=self._load_all, args=(new,), name="imagefinder-load").start()

    def _load_all(self, methods: Sequence[Method]) -> None:
        # Whatever goes wrong here goes wrong again where it is needed, and is told there.
        with contextlib.suppress(Exception):
            for method in methods:
                if method.load is not None:
                    method.load()
            self._examine()

    def _state(self, name: str) -> MethodState:
        try:
            method = self.method(name)
        except SettingsError as error:  # a plug-in that cannot be loaded stops itself and nothing else
            return MethodState(name, "", "", None, False, error.message, error.hint, None)
        fingerprint, reason, hint = None, "", ""
        try:
            fingerprint = method.extractor.fingerprint()
        except ModelError as error:
            reason, hint = error.message, error.hint
        return MethodState(
            name=name,
            summary=method.summary,
            score=method.score,
            spec=method.extractor.spec,
            ready=fingerprint is not None,
            reason=reason,
            hint=hint,
            fingerprint=fingerprint,
        )

    def _methods_to_index(self, names: Sequence[str] | None) -> list[Method]:
        if not names:
            names = sorted(self.store.info().methods)
        if names:
            return [self.method(name) for name in dict.fromkeys(names)]
        ready = [self.method(state.name) for state in self.methods() if state.ready]
        if not ready:
            raise ModelError("no method is ready on this machine", hint="see: imagefinder methods")
        return ready

    def _methods_to_ask(self, name: str, image_id: str | None = None) -> list[Method]:
        if name != AUTO:
            return [self.method(name)]
        held = [known for known, method in sorted(self.store.info().methods.items()) if method.images]
        if image_id is not None:  # a stored image is asked with by the features that it has
            there = self.store.status([image_id])
            held = [known for known in held if image_id in there and known in there[image_id].methods] or held
        return [self.method(known) for known in held] or self._methods_to_index(None)

    def _is_thumbnail(self, data: bytes) -> bool:
        try:
            self.decoder.decode(data, max_bytes=evidence.THUMBNAIL_BYTES, max_pixels=evidence.THUMBNAIL_PIXELS)
        except ImageError:
            return False
        return True

    def _is_derived(self, name: str, data: bytes) -> bool:
        if name == duplicate_report.NAME:
            return duplicate_report.from_bytes(data) is not None
        return name != background.NAME or background.is_readable(data, self._examine().calibrator)

    def _index_damages(self, *, repair: bool) -> list[Damage]:
        """What is wrong with the indexes that are there; with ``repair`` they are made anew."""
        damages, folder = list[Damage](), self.store.derived_folder()
        for name in self._indexed_methods() if folder else ():
            index, mended = self._own_shortlist(name), ""
            try:
                problems = index.verify()
                if problems and repair and folder:
                    shutil.rmtree(folder / f"{SHORTLIST}{name}", ignore_errors=True)
                    index.refresh(rebuild=True)
                    mended = "the index was made anew" if index.state().kept else ""
            except CollectionCorruptError:  # features are damaged, and that was told
                continue
            damages += [Damage("derived", problem, method=name, mended=mended) for problem in problems]
        return damages

    def _allowed(self, where: Mapping[str, Any] | None) -> Set[str] | None:
        """The ids of all images that match a filter; ``None`` without one."""
        if where is None:
            return None
        chosen, found, after = filters.parse(where), set[str](), ""
        while page := self.store.images(after=after, limit=_PAGE, where=chosen):
            found.update(record.id for record in page)
            after = page[-1].id
        return found

    def _indexed_methods(self) -> list[str]:
        """Of those that have images, all that are installed."""
        held = self.store.info().methods
        return [name for name in sorted(held) if held[name].images and name in self._names]

    def _bytes_of(self, names: Iterable[str]) -> int:
        held = self.store.info().methods
        return sum(held[name].bytes for name in names if name in held)

    def _shortlist(self, name: str) -> Shortlist:
        """The index that searches use."""
        method = self.method(name)
        with self._lock:
            if name not in self._shortlists:
                self._shortlists[name] = self._made_shortlist(method)
            return self._shortlists[name]

    def _own_shortlist(self, name: str) -> Shortlist:
        """An index beside the one that searches use, so that they need not wait; that one sees its files."""
        if self.store.derived_folder() is None:
            return self._shortlist(name)
        return self._made_shortlist(self.method(name))

    def _made_shortlist(self, method: Method) -> Shortlist:
        if self._load_shortlist is None:
            raise SettingsError("this collection was opened without indexes")
        return self._load_shortlist(self.store, method)

    def _shortlists_for(self, methods: Sequence[Method], mode: Mode) -> dict[str, Shortlist] | None:
        """What proposes candidates in this mode; ``None`` where every image is to be scored."""
        if mode not in get_args(Mode):
            raise InputError(f"there is no mode {mode!r}", hint=f"modes: {', '.join(get_args(Mode))}")
        size = self._bytes_of([method.name for method in methods])
        if mode == "exact" or (mode == "auto" and (size <= self.settings.exact_bytes or not self._load_shortlist)):
            return None
        chosen = {method.name: self._shortlist(method.name) for method in methods}
        for shortlist in chosen.values():
            state = shortlist.state()
            if mode == "auto" and (not state.indexed or state.waiting > _MOST_WAITING):
                return None
            if mode == "fast" and (not state.indexed or state.waiting > _SOME_WAITING):
                shortlist.refresh()
        return chosen

    def _examine(self) -> Examiner:
        with self._lock:
            if self._examiner is None:
                self._examiner = self._load_examiner()
            return self._examiner

    def _learned(self, progress: Callable[[int, int], None] | None) -> Background:
        """What chance does here; one thread learns, the others wait for it."""
        examiner = self._examine()
        with self._learning:
            known = self._background or background.read(self.store, examiner.calibrator)
            if known is None or not background.fits(known, self.store):
                # Another process may have learned it meanwhile.
                known = background.read(self.store, examiner.calibrator)
            if known is None or not background.fits(known, self.store):
                held = [name for name, method in sorted(self.store.info().methods.items()) if method.images]
                known = background.learn(
                    self.store,
                    [self.method(name) for name in held],
                    examiner,
                    threads=self.settings.threads,
                    progress=progress,
                )
                background.write(self.store, known)
            self._background = known
            return known

    def _asked(self, query: Picture | None, image_id: str | None, boxes: Sequence[Box]) -> Asked:
        if image_id is None:
            data = self._bytes(query) if isinstance(query, str | os.PathLike) else query
            sha256 = hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else ""
            return question.picture(self._pixels(data), boxes, sha256=sha256)
        record = self.store.get(image_id)
        if not boxes:
            seen = evidence.read_thumbnail(self.store, image_id)
            pixels = np.full((1, 1, 3), 128, dtype=np.uint8) if seen is None else seen
            size = record.width, record.height
            return Asked(pixels, size, size, id=image_id, sha256=record.sha256)
        pixels = self._stored_pixels(image_id)
        if (pixels.shape[1], pixels.shape[0]) != (record.width, record.height):
            raise InputError(
                f"a part of {image_id!r} can be asked with only while its file is there, unchanged",
                hint="ask with the picture itself",
            )
        return replace(question.picture(pixels, boxes), id=image_id)

    def _pixels(self, picture: Picture | None) -> RgbImage:
        if isinstance(picture, np.ndarray):
            if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
                raise NotAnImageError(
                    f"an array must be (height, width, 3) uint8 RGB, not {picture.shape} {picture.dtype}"
                )
            if picture.size == 0:
                raise EmptyImageError(f"the picture has no pixels ({picture.shape[1]} x {picture.shape[0]})")
            return np.ascontiguousarray(picture)
        data = picture if isinstance(picture, bytes) else self._bytes(picture)
        return self.decode(data).rgb

    def _stored_pixels(self, image_id: str) -> RgbImage:
        """The stored picture from its unchanged file, else its thumbnail, else grey."""
        return self._read_stored(image_id)[0]

    def _read_stored(self, image_id: str) -> tuple[RgbImage, Literal["file", "thumbnail", ""]]:
        """The same, and which it is."""
        from imagefinder.indexing.candidate import local_path, read_file  # noqa: PLC0415 - searching needs neither

        record = self.store.get(image_id)
        path = local_path(record.uri) if record.uri.startswith("file:") else None
        data = b""
        if path is not None:
            with contextlib.suppress(InputError):
                data = read_file(path, self.settings.max_image_bytes)
        source: Literal["file", "thumbnail", ""] = "file"
        if hashlib.sha256(data).hexdigest() != record.sha256:
            data, source = self.store.thumbnail(image_id), "thumbnail"
        if not data:
            return np.full((1, 1, 3), 128, dtype=np.uint8), ""
        return self.decode(data).rgb, source

    def _bytes(self, picture: str | os.PathLike[str] | None) -> bytes:
        if isinstance(picture, str) and picture.lower().startswith(("http://", "https://")):
            from imagefinder.images.fetch import fetch  # noqa: PLC0415 - only URLs need an HTTP client

            return fetch(
                picture,
                timeout=self.settings.fetch_timeout,
                max_bytes=self.settings.max_image_bytes,
                retries=self.settings.fetch_retries,
            )
        if not isinstance(picture, str | os.PathLike):
            raise NotAnImageError(f"a picture is a path, a URL, bytes or an array, not {type(picture).__name__}")
        try:
            with Path(picture).open("rb") as file:
                # One byte over the limit is enough for the decoder to refuse it by name.
                return file.read(self.settings.max_image_bytes + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SourceError(f"cannot read the picture {os.fspath(picture)!r}: {reason}") from error


def _named(progress: Callable[[str, int, int], None] | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)

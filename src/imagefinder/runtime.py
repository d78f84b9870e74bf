"""The parts that all collections of a process share, such as networks and decoder processes; created lazily."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakSet

from imagefinder.core.contracts import AnnIndex, Calibrator, PhotometricCheck, Store
from imagefinder.core.errors import ModelError, SettingsError, UnknownMethodError
from imagefinder.core.features import Features
from imagefinder.core.image_contracts import Decoder, Fetcher
from imagefinder.core.lru import LruCache
from imagefinder.core.method import Method, MethodState, with_colours
from imagefinder.core.scratch import Scratch
from imagefinder.core.settings import Settings

_THUMBNAIL_CACHE_BYTES = 64 << 20  # about 900 thumbnails


@dataclass(frozen=True, slots=True)
class Factories:
    """Factories of the parts of a ``Runtime``.

    Attributes:
        methods: Names of the installed methods.
        method: Name of an installed method -> the method.
        thumbnail_method: Creates the method that compares thumbnails by their keypoints.
        photometric_check: Creates the check that compares registered images window by window.
        calibrator: Creates the calibrator that fits and reads null distributions.
        decoder: Creates the image decoder.
        fetcher: Creates the downloader of query images.
        ann_index: Creates the ANN index of a method over a store; ``None``: every search is exact.
    """

    methods: Sequence[str]
    method: Callable[[str], Method]
    thumbnail_method: Callable[[], Method]
    photometric_check: Callable[[], PhotometricCheck]
    calibrator: Callable[[], Calibrator]
    decoder: Callable[[], Decoder]
    fetcher: Callable[[], Fetcher]
    ann_index: Callable[[Store, Method, Scratch | None], AnnIndex] | None = None


class Runtime:
    """The parts that collections share; thread-safe.

    ``wiring.runtime_of`` returns one per process and settings. Collections attach themselves while they are open.
    When the last one detaches, decoder processes and connections are closed; they are created again on demand.
    A collection that is dropped without being closed leaves them running.

    Attributes:
        settings: The settings; the location of the collection does not matter here.
        method_names: Names of the installed methods, sorted.
        thumbnail_cache: Features of thumbnails that are not stored, of all collections.
    """

    def __init__(self, settings: Settings, factories: Factories) -> None:
        self.settings = settings
        self.method_names = tuple(sorted(factories.methods))
        self._factories = factories
        self._methods: dict[str, Method] = {}
        self._preloaded: set[str] = set()
        self._decoder: Decoder | None = None
        self._fetcher: Fetcher | None = None
        self.thumbnail_cache: LruCache[Features] = LruCache(_THUMBNAIL_CACHE_BYTES)
        self._users: WeakSet[object] = WeakSet()
        self._lock = threading.RLock()

    # -- methods -------------------------------------------------------------------------------------------

    def method(self, name: str) -> Method:
        """The method with this name, created once per process.

        Raises:
            UnknownMethodError: no method with this name is installed.
        """
        if name not in self.method_names:
            raise UnknownMethodError(name, self.method_names)
        with self._lock:
            if name not in self._methods:
                self._methods[name] = with_colours(self._factories.method(name), "srgb")
            return self._methods[name]

    def method_states(self) -> list[MethodState]:
        """Every installed method, and whether it can run on this machine; sorted by name."""
        return [self._state(name) for name in self.method_names]

    def preload(self, methods: Sequence[Method]) -> None:
        """Start to load these methods in the background; repeated calls have no effect."""
        with self._lock:
            new = [method for method in methods if method.name not in self._preloaded]
            self._preloaded.update(method.name for method in new)
        if new:
            threading.Thread(target=self._load, args=(new,), name="imagefinder-load").start()

    def _load(self, methods: Sequence[Method]) -> None:
        # An error here occurs again, and is reported, when the method is used.
        with contextlib.suppress(Exception):
            for method in methods:
                if method.load is not None:
                    method.load()
            _ = self.thumbnail_method, self.photometric_check, self.calibrator

    def _state(self, name: str) -> MethodState:
        try:
            method = self.method(name)
        except SettingsError as error:  # a plug-in that cannot be loaded must not affect other methods
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
            auto=method.auto,
        )

    # -- verification --------------------------------------------------------------------------------------

    @cached_property
    def thumbnail_method(self) -> Method:
        """Compares thumbnails, whatever method found the candidate; has a verifier."""
        return self._factories.thumbnail_method()

    @cached_property
    def photometric_check(self) -> PhotometricCheck:
        """Compares registered images window by window."""
        return self._factories.photometric_check()

    @cached_property
    def calibrator(self) -> Calibrator:
        """Fits and reads null distributions."""
        return self._factories.calibrator()

    def ann_index(self, store: Store, method: Method, scratch: Scratch | None) -> AnnIndex:
        """Create the ANN index of a method over a store; without scratch space, it is only in memory.

        Raises:
            SettingsError: this runtime has no ANN indexes (``has_ann_indexes``).
        """
        if self._factories.ann_index is None:
            raise SettingsError("ANN indexes are not available, so every search is exact")
        return self._factories.ann_index(store, method, scratch)

    @property
    def has_ann_indexes(self) -> bool:
        """Whether ANN indexes are available."""
        return self._factories.ann_index is not None

    # -- processes and connections -------------------------------------------------------------------------

    @property
    def decoder(self) -> Decoder:
        """Decodes images."""
        with self._lock:
            if self._decoder is None:
                self._decoder = self._factories.decoder()
            return self._decoder

    @property
    def fetcher(self) -> Fetcher:
        """Downloads query images."""
        with self._lock:
            if self._fetcher is None:
                self._fetcher = self._factories.fetcher()
            return self._fetcher

    def attach(self, user: object) -> None:
        """Register a user of decoder and fetcher, until it is detached or garbage-collected."""
        with self._lock:
            self._users.add(user)

    def detach(self, user: object) -> None:
        """Unregister a user; decoder and fetcher are closed with the last one. Repeated calls have no effect."""
        with self._lock:
            self._users.discard(user)
            if self._users:
                return
            closing = [part for part in (self._decoder, self._fetcher) if part is not None]
            self._decoder = self._fetcher = None
        for part in closing:
            part.close()

"""Keeps the null model of a collection up to date, if need be in the background."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from imagefinder.core.contracts import AnnIndex, Store
from imagefinder.core.errors import CollectionClosedError, ImagefinderError
from imagefinder.core.method import Method
from imagefinder.core.records import CalibrationInfo, CalibrationState, StoreInfo
from imagefinder.kernels.threads import computation
from imagefinder.runtime import Runtime
from imagefinder.search import null_model
from imagefinder.search.fit import fit
from imagefinder.search.null_model import NullModel

log = logging.getLogger(__name__)

LEASE = "calibration"
"""Name of the lease: of all processes that use a collection, one fits its null model."""

LEASE_SECONDS = 60.0
"""The lease is renewed with every step, so it expires only if the process has died."""

_POLL_SECONDS = 0.2

_TURNS: dict[int, threading.Lock] = {}
"""Process -> lock: a server of many collections calibrates one at a time; a forked process has its own turns."""

Count = Callable[[int, int], None]


class _Stopped(Exception):  # noqa: N818 - a requested stop is not an error
    """The calibration was stopped."""


class Calibrating:
    """Provides the null model of one store, and fits it when the store has outgrown it; thread-safe.

    Searches never wait: ``for_search`` returns what there is, and fits a better model in a thread.
    """

    def __init__(
        self, store: Store, runtime: Runtime, ann_index: Callable[[Method], AnnIndex] | None = None
    ) -> None:
        """Read nothing yet; the arguments are those of ``fit``."""
        self._store = store
        self._runtime = runtime
        self._ann_index = ann_index
        self._model: NullModel | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._failed_at = -1  # number of images at which the last attempt failed
        self._steps = 0, 1  # done and total of the thread

    def current(self) -> NullModel:
        """The null model of the collection as it is: the stored one or, before the first fit, the prior."""
        return self._of(self._store.info())

    def for_search(self) -> NullModel:
        """The null model for a search that begins now; a better one is fitted in a thread if that is due."""
        info = self._store.info()
        self._start(info)
        return self._of(info)

    def _of(self, info: StoreInfo) -> NullModel:
        model = self._model
        if model is None or not model.fits(info):
            # Another process may have stored a better one.
            model = null_model.read(self._store, self._runtime.calibrator) or model
            self._model = model
        return model if model is not None and model.is_usable(info) else NullModel.prior(info)

    def info(self) -> CalibrationInfo:
        """The state of the calibration."""
        info = self._store.info()
        model = self._of(info)
        calibrated = 0 if model.is_prior else model.images
        return CalibrationInfo(self._state(model, info), model.version, calibrated, info.images)

    def _state(self, model: NullModel, info: StoreInfo) -> CalibrationState:
        if self.is_running():
            return "running"
        if model.is_prior:
            return "none"
        return "current" if model.fits(info) else "outdated"

    def is_due(self) -> bool:
        """Whether there are images, and no null model that fits them."""
        return self._is_due(self._store.info())

    def _is_due(self, info: StoreInfo) -> bool:
        return info.images > 0 and not self._of(info).fits(info)

    def is_running(self) -> bool:
        """Whether this process is calibrating in the background."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def start(self) -> None:
        """Fit the null model in a thread if the store has outgrown it; returns immediately."""
        self._start(self._store.info())

    def _start(self, info: StoreInfo) -> None:
        if self._stop.is_set() or not self._is_due(info):
            return
        with self._lock:
            if self.is_running() or self._failed_at == info.images:
                return
            self._thread = threading.Thread(target=self._in_background, name="imagefinder-calibrate", daemon=True)
            self._thread.start()

    def fit(
        self, progress: Count | None = None, stop: threading.Event | None = None, *, wait: bool = True
    ) -> bool:
        """Fit the null model unless it still fits; waits for the thread of this object if that is doing so.

        Args:
            progress: Called with (done, total).
            stop: Set it to stop early; nothing is stored then.
            wait: Also wait for another process that is fitting it.

        Returns:
            Whether there is a new null model.
        """
        before = self.current().version

        def step(done: int, total: int) -> None:
            if (stop is not None and stop.is_set()) or self._stop.is_set():
                raise _Stopped
            if progress is not None:
                progress(done, total)

        try:
            while self.is_due():
                if not wait and self._failed_at == self._store.info().images:
                    break  # the thread has reported why
                if self._fit(step) or not (wait or self.is_running()):
                    break
                step(*self._steps)
                self._stop.wait(_POLL_SECONDS)
        except _Stopped:
            pass
        return self.current().version != before

    def close(self) -> None:
        """Stop the thread, and wait for it."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _fit(self, step: Count) -> bool:
        """Fit and store the null model; false if another process or thread is doing so."""
        lease = self._store.lease(LEASE, LEASE_SECONDS)
        if lease is None:
            return False

        def renewing(done: int, total: int) -> None:
            step(done, total)
            lease.renew()

        try:
            with computation():
                model = self.current()
                self._model = self._fitted(None if model.is_prior else model, renewing)
        finally:
            lease.release()
        return True

    def _fitted(self, previous: NullModel | None, progress: Count) -> NullModel | None:
        """Fit and store; ``None`` if the lease expired meanwhile, and another process was first."""
        stored = self._store.derived(null_model.NAME)
        present = [name for name, method in sorted(self._store.info().methods.items()) if method.images]
        parts = self._store, [self._runtime.method(name) for name in present], self._runtime
        model = fit(*parts, previous=previous, ann_index=self._ann_index, progress=progress)
        return null_model.write(self._store, model, replaces=stored.version if stored else "")

    def _in_background(self) -> None:
        turn = _TURNS.setdefault(os.getpid(), threading.Lock())
        while not turn.acquire(timeout=_POLL_SECONDS):
            if self._stop.is_set():
                return
        try:
            self._fit_in_background()
        finally:
            turn.release()

    def _fit_in_background(self) -> None:
        images = -1

        def step(done: int, total: int) -> None:
            if self._stop.is_set():
                raise _Stopped
            self._steps = done, total

        try:
            images = self._store.info().images
            if self.is_due():  # it may have waited for its turn
                self._fit(step)
        except (_Stopped, CollectionClosedError):  # a collection may be dropped without being closed
            pass
        except ImagefinderError as error:
            self._failed_at = images
            if not self._stop.is_set():
                log.warning("the collection could not be calibrated: %s", error.message)
        except Exception:
            self._failed_at = images
            log.exception("the collection could not be calibrated")

"""Warm-up and readiness: loads models and features in the background and reports the state of the service."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from imagefinder.collection import Collection
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.method import MethodState
from imagefinder.core.records import StoreInfo
from imagefinder.server.schemas import CollectionHealth, Health, MethodHealth

_PROBE_SECONDS = 3.0
"""Time for the engines of a store to answer; load balancers repeat the request every few seconds."""

log = logging.getLogger(__name__)


class Readiness:
    """The service is ready when the collection is readable and the warm-up is complete.

    A method whose warm-up fails, for example for lack of weights, does not block the others.
    """

    def __init__(
        self,
        collection: Callable[[], Collection],
        *,
        warm: Sequence[str],
        version: str,
        loaded: Callable[[str, float, bool], None] = lambda *_: None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Store the arguments; nothing is loaded yet.

        Args:
            collection: Returns the default collection.
            warm: Names of the methods to load.
            version: Version of the service.
            loaded: Called after each method with its name, the load time in seconds and whether it failed.
            ready: Called once, after the last method.
        """
        self._collection = collection
        self._loaded = loaded
        self._ready = ready
        self._known: Collection | None = None
        self._waiting = list(warm)
        self._failed: dict[str, ImagefinderError] = {}
        self._version = version
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._warm, name="imagefinder-warm", daemon=True)

    def start(self) -> None:
        """Start the warm-up."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the warm-up; waits up to 5 seconds for the method that is being loaded."""
        self._stop.set()
        self._thread.join(timeout=5)

    def clear_failure(self, method: str) -> None:
        """Forget a failed warm-up, because the method has answered a search since."""
        self._failed.pop(method, None)

    def health(self) -> Health:
        """The current state; reads the state of the collection on each call."""
        warming = tuple(self._waiting)
        try:
            if self._known is not None:
                self._known.probe(_PROBE_SECONDS)  # before anything that waits for a hung engine
            collection = self._known = self._collection()
            info = collection.info()
            methods = [self._method(state, info, warming) for state in collection.methods()]
            calibration = collection.calibration().state
        except ImagefinderError as error:
            log.error("the collection cannot be read: %s (%s)", error.message, error.hint)  # noqa: TRY400
            return Health(
                status="unavailable",
                live=True,
                ready=False,
                version=self._version,
                collection=CollectionHealth(open=False, images=0, failures=0),
                methods=[],
            )
        return Health(
            status="starting" if warming else "ready",
            live=True,
            ready=not warming,
            version=self._version,
            collection=CollectionHealth(
                open=True, images=info.images, failures=info.failures, calibration=calibration
            ),
            methods=methods,
        )

    def _method(self, state: MethodState, info: StoreInfo, warming: Sequence[str]) -> MethodHealth:
        reason, hint = state.reason, state.hint
        if not reason and state.name in warming:
            reason, hint = "the method is being loaded", "try again in a few seconds"
        if not reason and (failure := self._failed.get(state.name)):
            reason, hint = failure.message, failure.hint
        stored = info.methods.get(state.name)
        return MethodHealth(
            name=state.name, ready=not reason, reason=reason, hint=hint, images=stored.images if stored else 0
        )

    def _warm(self) -> None:
        while self._waiting and not self._stop.is_set():
            name, start = self._waiting[0], time.perf_counter()
            try:
                self._collection().warm(name)
            except ImagefinderError as error:
                self._failed[name] = error
                log.warning("method %s failed to load: %s (%s)", name, error.message, error.hint)
            except Exception:
                # A plug-in's method can raise any exception; it must not block the others.
                self._failed[name] = ImagefinderError("the method failed to load", hint="see the server's log")
                log.exception("method %s failed to load", name)
            seconds = time.perf_counter() - start
            self._loaded(name, seconds, name in self._failed)
            if name not in self._failed:
                log.info("loaded method %s in %.2f s", name, seconds)
            self._waiting.pop(0)
        if not self._waiting:
            try:
                self._collection().start_calibration()
            except ImagefinderError as error:  # as for a method, searches report it
                log.warning("the collection could not be calibrated: %s", error.message)
            self._ready()

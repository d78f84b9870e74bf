"""Loads models and features in the background after the start, and tells the state of the service."""

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

log = logging.getLogger(__name__)


class Readiness:
    """Whether the service can be asked: the collection can be read and the warming up is over.

    A method that cannot be warmed up (missing weights, say) does not keep the others from answering.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        warm: Sequence[str],
        version: str,
        loaded: Callable[[str, float, bool], None] = lambda *_: None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            collection: What is asked.
            warm: Methods to load.
            version: Of the service.
            loaded: Told the name of each, the seconds it took, and whether it failed.
            ready: Called once all are done.
        """
        self._collection = collection
        self._loaded = loaded
        self._ready = ready
        self._waiting = list(warm)
        self._failed: dict[str, ImagefinderError] = {}
        self._version = version
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._warm, name="imagefinder-warm", daemon=True)

    def start(self) -> None:
        """Begin to warm up."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further method; waits a few seconds for the one at hand."""
        self._stop.set()
        self._thread.join(timeout=5)

    def worked(self, method: str) -> None:
        """A method that could not be warmed up has answered after all."""
        self._failed.pop(method, None)

    def health(self) -> Health:
        """The state now; asks the collection each time."""
        warming = tuple(self._waiting)
        try:
            info = self._collection.info()
            methods = [self._method(state, info, warming) for state in self._collection.methods()]
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
            collection=CollectionHealth(open=True, images=info.images, failures=info.failures),
            methods=methods,
        )

    def _method(self, state: MethodState, info: StoreInfo, warming: Sequence[str]) -> MethodHealth:
        reason, hint = state.reason, state.hint
        if not reason and state.name in warming:
            reason, hint = "it is being loaded", "wait a little"
        if not reason and (failure := self._failed.get(state.name)):
            reason, hint = failure.message, failure.hint
        held = info.methods.get(state.name)
        return MethodHealth(
            name=state.name, ready=not reason, reason=reason, hint=hint, images=held.images if held else 0
        )

    def _warm(self) -> None:
        while self._waiting and not self._stop.is_set():
            name, start = self._waiting[0], time.perf_counter()
            try:
                self._collection.warm(name)
            except ImagefinderError as error:
                self._failed[name] = error
                log.warning("%s is not ready: %s (%s)", name, error.message, error.hint)
            except Exception:
                # A method of a plug-in may fail in any way; the others go on.
                self._failed[name] = ImagefinderError("it failed while loading", hint="see the server's log")
                log.exception("%s is not ready", name)
            seconds = time.perf_counter() - start
            self._loaded(name, seconds, name in self._failed)
            if name not in self._failed:
                log.info("%s is loaded after %.2f s", name, seconds)
            self._waiting.pop(0)
        if not self._waiting:
            self._ready()

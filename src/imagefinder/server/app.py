"""The application, and the process that serves it."""

from __future__ import annotations

import contextlib
import copy
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import Any

import uvicorn
import uvicorn.config
from anyio import to_thread
from fastapi import FastAPI

from imagefinder.collection import Collection
from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings
from imagefinder.server import compat, errors, health, pages
from imagefinder.server.errors import Problem
from imagefinder.server.gate import Gate
from imagefinder.server.jobs import forms as job_forms
from imagefinder.server.jobs import routes as job_routes
from imagefinder.server.jobs.manager import JobManager
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.readiness import Readiness
from imagefinder.server.schemas import ProblemDetails
from imagefinder.wiring import open_collection

log = logging.getLogger(__name__)

MAX_REQUESTS = 64
"""Searches inside at once, those that upload or wait included; more are answered ``busy``."""

MAX_UPLOADS = 8
"""Pictures of the largest size accepted that all requests may hold in memory together."""

DEFAULT = "default"
"""Name of the collection that the settings name."""

SHUTDOWN_SECONDS = 25
"""How long requests in flight may go on after the signal to stop."""


def create_app(collection: Collection, *, warm: Sequence[str] = ()) -> FastAPI:
    """The REST service of a collection, which it closes at its end.

    Args:
        collection: What is searched. Other processes may change it meanwhile.
        warm: Methods to load in the background after the start; the others load at their first use.
    """
    settings = collection.settings
    release = version("imagefinder")
    readiness = Readiness(collection, warm=warm, version=release)
    gate = Gate(running=settings.threads, requests=MAX_REQUESTS, max_bytes=MAX_UPLOADS * settings.max_image_bytes)
    methods = collection.methods()

    def named(name: str) -> Collection:
        if name != DEFAULT:
            raise Problem("unknown_collection", f"there is no collection {name[:200]!a}")
        return collection

    jobs = JobManager(JobStore(settings.state, settings.collection), named, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        readiness.start()
        await to_thread.run_sync(jobs.open)
        try:
            yield
        finally:
            await to_thread.run_sync(readiness.stop)
            await to_thread.run_sync(jobs.close)
            await to_thread.run_sync(collection.close)

    app = FastAPI(
        title="imagefinder",
        summary="Finds images by image.",
        version=release,
        lifespan=lifespan,
        # FastAPI's own pages load scripts from a third party; ours is in pages.py.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    app.state.jobs = jobs
    app.include_router(compat.router(collection, methods, gate, readiness))
    app.include_router(job_routes.router(jobs))
    app.include_router(health.router(readiness))
    app.include_router(pages.router(app))
    app.openapi()["components"]["schemas"] |= {
        "ProblemDetails": ProblemDetails.model_json_schema(),
        **job_forms.PARTS,
    }
    return app


def serve(settings: Settings, *, methods_to_warm: Sequence[str] | None = None) -> None:
    """Serve the collection the settings name until SIGTERM or Ctrl-C; requests in flight finish first.

    Args:
        settings: Also the address; port 0 takes a free one, which the log names.
        methods_to_warm: Methods to load at the start; by default those the collection has features of.

    Raises:
        SettingsError: the address cannot be listened on.
        StoreError: the collection cannot be opened.
    """
    listener = _listen(settings.host, settings.port)
    collection = open_collection(settings, create=True)
    warm = sorted(collection.info().methods) if methods_to_warm is None else methods_to_warm
    app = create_app(collection, warm=warm)
    config = uvicorn.Config(
        app,
        log_config=_log_config(),
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    host, port = listener.getsockname()[:2]
    log.info("imagefinder answers at http://%s:%s", f"[{host}]" if ":" in host else host, port)
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, app.state.jobs).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Lets those who watch a job go before it waits for the requests in flight."""

    def __init__(self, config: uvicorn.Config, jobs: JobManager) -> None:
        super().__init__(config)
        self._jobs = jobs

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._jobs.end_watching()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    if port > 65535:
        raise SettingsError(f"cannot listen on port {port}: the last one is 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror or error).split(" (while")[0]  # the address is named already
        raise SettingsError(
            f"cannot listen on {host} port {port}: {reason}",
            hint="choose another with --host and --port; is a server running already?",
        ) from error
    # Connections inherit it; asyncio would not set it on them, and each answer would wait 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _log_config() -> dict[str, Any]:
    config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    config["loggers"]["imagefinder"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config

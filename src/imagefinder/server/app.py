"""The application, and the process that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.config
import math
import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import cast

import uvicorn
from anyio import to_thread
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from imagefinder.collection import Collection
from imagefinder.core.errors import SettingsError
from imagefinder.core.records import StoreInfo
from imagefinder.core.settings import Settings
from imagefinder.images.addresses import only_public
from imagefinder.server import access, compat, errors, examples, health, logs, pages, v1
from imagefinder.server import metrics as metrics_module
from imagefinder.server.access import Doorman
from imagefinder.server.collections import Collections
from imagefinder.server.connections import PatientProtocol
from imagefinder.server.explanations import Explanations
from imagefinder.server.front import Door, Frame
from imagefinder.server.gate import Gate
from imagefinder.server.jobs import forms as job_forms
from imagefinder.server.jobs import routes as job_routes
from imagefinder.server.jobs.manager import JobManager
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.keys import Keys
from imagefinder.server.metrics import Metrics
from imagefinder.server.origins import Origins
from imagefinder.server.ratelimit import RateLimit
from imagefinder.server.readiness import Readiness
from imagefinder.server.schemas import ProblemDetails
from imagefinder.server.v1 import schemas
from imagefinder.server.v1.service import Jobs, Service
from imagefinder.wiring import open_collection

log = logging.getLogger(__name__)


class Application(FastAPI):
    """The application with its door in front of everything, its handler of last resort included."""

    frame: Callable[[ASGIApp], ASGIApp]

    def build_middleware_stack(self) -> ASGIApp:
        """What the server calls for each request."""
        return self.frame(super().build_middleware_stack())


def create_app(
    collection: Collection,
    *,
    warm: Sequence[str] = (),
    started: float | None = None,
    jobs: Jobs | None = None,
) -> FastAPI:
    """The REST service of a collection, and of those in the folder ``collections``; it closes them at its end.

    Args:
        collection: What is searched. Other processes may change it meanwhile.
        warm: Methods to load in the background after the start; the others load at their first use.
        started: When the start began (``time.monotonic()``); now, if nothing is said.
        jobs: What does work that takes longer than a request; by default jobs that survive a restart.
    """
    settings = collection.settings
    began = time.monotonic() if started is None else started
    release = version("imagefinder")
    gate = Gate(
        running=settings.concurrent,
        requests=settings.concurrent + settings.queue,
        max_bytes=max(settings.max_upload_bytes, settings.max_image_bytes),
        seconds=settings.request_seconds,
    )
    methods = collection.methods()
    names = [state.name for state in methods]
    collections = Collections(collection, settings, lambda named, create: open_collection(named, create=create))
    metrics = Metrics(version=release, gate=gate, methods=names, collections=collections.opened)

    def ready() -> None:
        seconds = time.monotonic() - began
        metrics.ready(seconds)
        log.info("ready after %.2f s", seconds)

    readiness = Readiness(collection, warm=warm, version=release, loaded=metrics.method_loaded, ready=ready)
    explanations = Explanations(
        seconds=settings.explanation_seconds,
        queries=settings.explanation_queries,
        max_bytes=settings.explanation_bytes,
    )
    manager = JobManager(
        JobStore(settings.state, settings.collection),
        collections.get,
        settings,
        check_address=None if settings.fetch_private else only_public,
    )
    keys = Keys(settings.state)
    metrics.watch_jobs(manager.count)
    service = Service(
        settings,
        collections,
        gate,
        readiness,
        explanations,
        release,
        jobs or manager,
        keys_demanded=access.demanded(settings),
        metrics=metrics,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        readiness.start()
        await to_thread.run_sync(collections.tidy)
        await to_thread.run_sync(manager.open)
        try:
            yield
        finally:
            await to_thread.run_sync(readiness.stop)
            await to_thread.run_sync(manager.close)
            keys.close()
            service.close()
            gate.close()
            if gate.computing:
                log.warning("work left unfinished: %d", gate.computing)
            else:
                await to_thread.run_sync(collections.close)

    app = Application(
        title="imagefinder",
        summary="Finds images by image.",
        version=release,
        lifespan=lifespan,
        # FastAPI's own pages load scripts from a third party; ours is in pages.py.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.frame = _frame(app, settings, keys, metrics)
    app.state.gate = gate
    app.state.metrics = metrics
    errors.install(app)
    app.include_router(compat.router(collection, methods, gate, readiness, metrics))
    app.include_router(v1.router(service))
    app.include_router(job_routes.router(manager, gate))
    app.include_router(health.router(readiness))
    app.include_router(metrics_module.router(metrics))
    app.include_router(pages.router(app))
    app.state.jobs = manager
    app.openapi()["components"]["schemas"] |= {
        "ProblemDetails": ProblemDetails.model_json_schema(),
        **schemas.components(),
        **job_forms.PARTS,
    }
    examples.add_to(app.openapi()["components"]["schemas"])
    return app


def _frame(app: FastAPI, settings: Settings, keys: Keys, metrics: Metrics) -> Callable[[ASGIApp], ASGIApp]:
    """What goes around the routes, outermost last."""
    demands = access.demanded(settings)
    doorman = Doorman(keys, demands=demands)
    origins = Origins(
        (settings.host, *settings.allowed_hosts),
        settings.cors_origins,
        any_name=demands and not settings.allowed_hosts,
    )

    def around(routes: ASGIApp) -> ASGIApp:
        door = Door(routes, origins=origins, doorman=doorman, rates=RateLimit(settings.requests_per_minute))
        app.state.door = door
        inside: ASGIApp = door
        if settings.cors_origins:
            inside = CORSMiddleware(
                inside,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
                allow_headers=("Authorization", "X-Api-Key", "X-Request-Id", "Content-Type", "Last-Event-ID"),
                expose_headers=("X-Request-Id", "Retry-After", "Location", "ETag"),
            )
        return Frame(inside, metrics)

    return around


class _Server(uvicorn.Server):
    """The web server, which ends streams of events before it waits for the requests in flight."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.jobs.end_watching()
        await asyncio.sleep(0.1)  # who watches a job is told once more how it stands
        if door := getattr(self._app.state, "door", None):
            door.end_streams()
        await super().shutdown(sockets)


def serve(settings: Settings, *, methods_to_warm: Sequence[str] | None = None) -> None:
    """Serve the collection the settings name until SIGTERM or Ctrl-C; requests in flight finish first.

    Args:
        settings: Also the address; port 0 takes a free one, which the log names.
        methods_to_warm: Methods to load at the start; by default those the collection has features of.

    Raises:
        SettingsError: the address cannot be listened on, or keys are demanded and there are none.
        StoreError: the collection or the keys cannot be read.
    """
    started = time.monotonic()
    with Keys(settings.state) as keys:
        access.check_before_start(settings, keys)
    listener = _listen(settings.host, settings.port)
    # The end that was asked for is no failure: the exit code is 0, before the server has begun and after.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.config.dictConfig(log_config := logs.configuration(settings.log_format))
    collection = open_collection(settings, create=True)
    held = collection.info()
    warm = sorted(held.methods) if methods_to_warm is None else methods_to_warm
    app = create_app(collection, warm=warm, started=started)
    config = uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], partial(PatientProtocol, max_connections=settings.max_connections)),
        ws="none",
        log_config=log_config,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
    )
    host, port = listener.getsockname()[:2]
    log.info("imagefinder answers at http://%s:%s", f"[{host}]" if ":" in host else host, port)
    log.info("%s", _welcome(held, settings.collection))
    if not access.demanded(settings) and not access.is_local(settings.host):
        log.warning("no key is demanded: whoever reaches port %s may ask and change", port)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config, app).run(sockets=[listener])
    finally:
        if app.state.gate.computing:
            # A thread cannot be stopped, and Python would wait for it for as long as it likes.
            logging.shutdown()
            os._exit(0)


def _welcome(held: StoreInfo, folder: Path) -> str:
    """What there is to search, or how to begin."""
    if not held.images:
        return (
            f"the collection {folder} is empty: add pictures on the page at that address, "
            f"or with: imagefinder add FOLDER -c {shlex.quote(str(folder))}"
        )
    failed = f", {held.failures:,} could not be indexed" if held.failures else ""
    methods = ", ".join(sorted(held.methods))
    return f"open that address for the page; collection {folder}: {held.images:,} pictures ({methods}){failed}"


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

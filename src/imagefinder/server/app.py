"""The ASGI application and the server process that runs it."""

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
from collections.abc import AsyncIterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, cast

import uvicorn
from anyio import to_thread
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from imagefinder.collection import Collection
from imagefinder.core.errors import SettingsError
from imagefinder.core.location import scheme_of, shown
from imagefinder.core.method import MethodState
from imagefinder.core.records import StoreInfo
from imagefinder.core.settings import Settings
from imagefinder.images.fetching.public_addresses import require_public
from imagefinder.server import access, errors, examples, health, logs, pages, v0, v1
from imagefinder.server.access import Authenticator
from imagefinder.server.admission import Admission
from imagefinder.server.clients import TrustedProxies
from imagefinder.server.collection_pool import CollectionPool
from imagefinder.server.connections import ConnectionTable, HttpConnection
from imagefinder.server.fairness import FairShare
from imagefinder.server.head import HeadMiddleware
from imagefinder.server.image_paths import ImagePathMiddleware, describe_paths
from imagefinder.server.jobs import forms as job_forms
from imagefinder.server.jobs import routes as job_routes
from imagefinder.server.jobs.manager import JobManager
from imagefinder.server.metrics import Metrics
from imagefinder.server.middleware import AccessMiddleware, RequestContextMiddleware
from imagefinder.server.origins import OriginPolicy
from imagefinder.server.parts import check_shared, make_parts, open_keys
from imagefinder.server.ratelimit import RateLimit
from imagefinder.server.readiness import Readiness
from imagefinder.server.schemas import ProblemDetails
from imagefinder.server.search_cache import SearchCache
from imagefinder.server.service import Service
from imagefinder.server.targets import TargetMiddleware, checked_root_path
from imagefinder.server.v1 import answers, requests
from imagefinder.server.v1.request_images import largest_request
from imagefinder.wiring import open_collection

log = logging.getLogger(__name__)

_DESCRIBING = threading.Lock()

_WAITING_CONNECTIONS = 2048
_ACCEPTED_TOGETHER = 64
"""Number of waiting connections that the event loop accepts before it continues with the others."""


def create_app(collection: Collection, *, warm: Sequence[str] = (), started: float | None = None) -> FastAPI:
    """The REST application for the default collection and those in the folder ``collections``.

    The application closes all collections at shutdown.

    Args:
        collection: The default collection. Other processes may change it at the same time.
        warm: Methods to load in the background after startup; the others load on first use.
        started: Start of the startup (``time.monotonic()``); default: now.
    """
    settings = collection.settings
    methods = collection.methods()
    service = _service(collection, methods, warm=warm, began=time.monotonic() if started is None else started)
    app = FastAPI(
        title="imagefinder",
        summary="Find images by image.",
        version=service.version,
        lifespan=partial(_lifespan, service),
        middleware=_middleware(settings, service),
        # FastAPI's built-in pages load scripts from a third party; pages.py has our own, and the description.
        docs_url=None,
        openapi_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    errors.install(app)
    for router in (v0.make_router(methods), v1.router, job_routes.router, health.router, pages.router):
        app.include_router(router)
    app.openapi = partial(_description, app)  # type: ignore[method-assign]  # made when it is first requested
    return app


def _description(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description: that of FastAPI, with the parts that it cannot derive. It takes a second."""
    with _DESCRIBING:
        if app.openapi_schema is not None:
            return app.openapi_schema
        description = FastAPI.openapi(app)
        schemas = description["components"]["schemas"]
        schemas |= {
            "ProblemDetails": ProblemDetails.model_json_schema(),
            **requests.components(),
            **job_forms.PARTS,
        }
        answers.complete_schemas(schemas)
        describe_paths(description["paths"])
        examples.add_to(schemas)
    return cast(dict[str, Any], app.openapi_schema)


def _service(
    collection: Collection, methods: Sequence[MethodState], *, warm: Sequence[str], began: float
) -> Service:
    settings, release = collection.settings, version("imagefinder")
    parts = make_parts(settings)
    admission = Admission(
        running=settings.concurrent,
        requests=settings.concurrent + settings.queue,
        max_bytes=max(settings.max_upload_bytes, largest_request(settings)),
        request_bytes=largest_request(settings),
        seconds=settings.request_seconds,
    )
    collections = CollectionPool(
        collection, settings, lambda named, create: open_collection(named, create=create), parts.catalogue
    )
    names = [state.name for state in methods]
    metrics = Metrics(version=release, admission=admission, methods=names, collections=collections.opened)

    def ready() -> None:
        seconds = time.monotonic() - began
        metrics.ready(seconds)
        log.info("ready after %.2f s", seconds)

    jobs = JobManager(
        parts.jobs,
        collections.get,
        settings,
        list_path=parts.list_path,
        check_address=None if settings.fetch_private else require_public,
    )
    metrics.watch_jobs(jobs.count)
    metrics.watch_store(collections.current_default)
    return Service(
        settings=settings,
        collections=collections,
        admission=admission,
        readiness=Readiness(
            collections.current_default, warm=warm, version=release, loaded=metrics.method_loaded, ready=ready
        ),
        search_cache=SearchCache(
            seconds=settings.explanation_seconds,
            queries=settings.explanation_queries,
            max_bytes=settings.explanation_bytes,
            shared=parts.searches,
        ),
        jobs=jobs,
        keys=parts.keys,
        tokens=parts.tokens,
        close_parts=parts.close,
        metrics=metrics,
        version=release,
        keys_required=access.keys_required(settings),
    )


@contextlib.asynccontextmanager
async def _lifespan(service: Service, _: FastAPI) -> AsyncIterator[None]:
    service.readiness.start()
    await to_thread.run_sync(service.collections.remove_leftovers)
    await to_thread.run_sync(service.jobs.open)
    try:
        yield
    finally:
        await to_thread.run_sync(service.readiness.stop)
        await to_thread.run_sync(service.jobs.close)
        service.close()
        if service.admission.computing:
            log.warning("shut down with %d requests still computing", service.admission.computing)
        else:
            await to_thread.run_sync(service.collections.close)
            await to_thread.run_sync(service.close_parts)


def _middleware(settings: Settings, service: Service) -> list[Middleware]:
    """The middleware, outermost first."""
    keys_required = access.keys_required(settings)
    origins = OriginPolicy(
        (settings.host, *settings.allowed_hosts),
        settings.cors_origins,
        any_host=keys_required and not settings.allowed_hosts,
    )
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
        allow_headers=("Authorization", "X-Api-Key", "X-Request-Id", "Content-Type", "Last-Event-ID"),
        expose_headers=(
            *("X-Request-Id", "Retry-After", "Location", "ETag"),
            *("X-Preview-Source", "X-Preview-Reason"),
        ),
    )
    return [
        Middleware(RequestContextMiddleware, metrics=service.metrics),
        Middleware(
            TargetMiddleware,
            root_path=checked_root_path(settings.root_path),
            trusted_proxies=settings.trusted_proxies,
        ),
        *([cors] if settings.cors_origins else []),
        Middleware(
            AccessMiddleware,
            origins=origins,
            authenticator=Authenticator(
                service.keys,
                required=keys_required,
                requests_per_minute=settings.requests_per_minute,
                tokens=service.tokens,
            ),
            rates=RateLimit(settings.requests_per_minute, shared=service.tokens),
            # Fewer than connections, so that each client has idle ones, which new connections may replace.
            in_progress=FairShare(max(3 * settings.max_connections // 4, 1)),
            streams=service.streams,
        ),
        Middleware(HeadMiddleware),
        Middleware(ImagePathMiddleware),
    ]


class _Server(uvicorn.Server):
    """A web server that ends event streams before it waits for requests in flight."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_WAITING_CONNECTIONS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._service.end_streams()
        await super().shutdown(sockets)


def serve(settings: Settings, *, methods_to_warm: Sequence[str] | None = None) -> None:
    """Serve the configured collection until SIGTERM or Ctrl-C; requests in flight finish first.

    Args:
        settings: Settings, including the address. Port 0 selects a free port; the log reports it.
        methods_to_warm: Methods to load at startup; default: those for which the collection has features.

    Raises:
        SettingsError: the address is not available, or keys are required but none exist.
        StoreError: the collection or the keys cannot be read.
    """
    started = time.monotonic()
    check_shared(settings)
    if not scheme_of(settings.collection):
        settings.folder("collection")
    for name in () if settings.database else ("collections", "state"):
        settings.folder(name)
    with open_keys(settings) as keys:
        access.check_before_start(settings, keys)
    listener = _listen(settings.host, settings.port)
    # A requested shutdown is not a failure: exit with code 0, also during startup.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.config.dictConfig(log_config := logs.configuration(settings.log_format))
    collection = open_collection(settings, create=True)
    info = collection.info()
    warm = sorted(info.methods) if methods_to_warm is None else methods_to_warm
    app = create_app(collection, warm=warm, started=started)
    service: Service = app.state.service
    connections = ConnectionTable(settings.max_connections, proxies=TrustedProxies(settings.trusted_proxies))
    config = uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], partial(HttpConnection, connections=connections)),
        ws="none",
        backlog=_ACCEPTED_TOGETHER,
        log_config=log_config,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # TargetMiddleware reads them
        timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
    )
    host, port = listener.getsockname()[:2]
    log.info("imagefinder is listening on http://%s:%s", f"[{host}]" if ":" in host else host, port)
    log.info("%s", _collection_summary(info, shown(settings.collection)))
    if not access.keys_required(settings) and not access.is_local(settings.host):
        log.warning(
            "no API key is required: every client that can reach port %s may search and change images", port
        )
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config, service).run(sockets=[listener])
    finally:
        if service.admission.computing:
            # A thread cannot be stopped, and Python would wait for it without a limit.
            logging.shutdown()
            os._exit(0)


def _collection_summary(info: StoreInfo, location: str) -> str:
    """The state of the default collection; if it is empty, how to add images."""
    if not info.images:
        return (
            f"the collection {location} is empty; add images on the web page at this URL, "
            f"or with: imagefinder add FOLDER -c {shlex.quote(location)}"
        )
    failed = f"; {info.failures:,} images could not be added" if info.failures else ""
    methods = ", ".join(sorted(info.methods))
    return (
        f"the collection {location} has {info.images:,} images ({methods}){failed}; open the URL for the web page"
    )


def _listen(host: str, port: int) -> socket.socket:
    if port > 65535:
        raise SettingsError(f"cannot listen on port {port}: the largest port number is 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror or error).split(" (while")[0]  # the message already has the address
        raise SettingsError(
            f"cannot listen on {host} port {port}: {reason}",
            hint="check whether a server is already running, or choose another address with --host and --port",
        ) from error
    # ConnectionTable inherit it. asyncio does not set it on them, and each response would wait 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener

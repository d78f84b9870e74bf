"""The middleware in front of every route: two thin layers of plain ASGI that work with streamed responses.

``RequestContextMiddleware`` is the outermost layer. It assigns the request id, adds the common response headers,
counts requests and writes the access log. ``AccessMiddleware`` decides whether a request may proceed: it checks
the host name and origin, the API key and the rate limit.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagefinder.core.errors import ImagefinderError
from imagefinder.server import request_context
from imagefinder.server.access import Authenticator, check_access, required_access
from imagefinder.server.clients import client_address, network
from imagefinder.server.errors import Problem, internal_error, problem_of
from imagefinder.server.fairness import FairShare
from imagefinder.server.logs import ACCESS
from imagefinder.server.metrics import NO_ROUTE, Metrics
from imagefinder.server.origins import OriginPolicy
from imagefinder.server.ratelimit import RateLimit
from imagefinder.server.request_context import Caller, RequestContext
from imagefinder.server.streams import EventStreams
from imagefinder.server.upload import IDLE_SECONDS

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer: with it, browsers would send a null origin for the forms of our own page.
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""Headers added to each response that does not set them itself."""

MAX_PARAMETERS = 100
"""Largest number of parameters in a URL."""

_CHECKING_THREADS = 8

_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Routes that monitoring polls every few seconds; only their errors are logged."""


class RequestContextMiddleware:
    """Adds request ids, common headers, metrics, the access log and the response to unexpected exceptions."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        started = False
        sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        context = RequestContext(
            request_context.request_id(sent), gone=lambda: scope.get(request_context.GONE, False)
        )
        token = request_context.current.set(context)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started = True
                status = 0 if context.gone() else message["status"]
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                headers += [header for header in HEADERS if header[0] not in present]
                headers.append((b"x-request-id", context.request_id.encode("ascii")))
                message["headers"] = headers
            await send(message)

        self._metrics.request_started()
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            # uvicorn logs the traceback; the client gets a problem document without it.
            if not started:
                await internal_error().response()(scope, receive, send_with_headers)
            raise
        except BaseException:
            status = status or 500
            raise
        finally:
            seconds = time.perf_counter() - start
            route = _route(scope)
            self._metrics.request_finished(scope["method"], route, status, context.code, seconds)
            if route not in _QUIET or status >= 400:
                self._log(scope, context, route, status, seconds)
            request_context.current.reset(token)

    @staticmethod
    def _log(scope: Scope, context: RequestContext, route: str, status: int, seconds: float) -> None:
        fields = {
            "request_id": context.request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "code": context.code,
            "key": context.caller.key,
            "client": client_address(scope),
        }
        ACCESS.info("request", extra={"fields": fields})


class AccessMiddleware:
    """Forwards permitted requests to the routes and refuses all others."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        origins: OriginPolicy,
        authenticator: Authenticator,
        rates: RateLimit,
        in_progress: FairShare,
        streams: EventStreams,
    ) -> None:
        """Store the parts.

        Args:
            app: The routes.
            origins: Decides which host names and origins are allowed.
            authenticator: Checks API keys.
            rates: Limits the request rate.
            in_progress: Limits the requests of each client that are in progress.
            streams: Registry of the open event streams.
        """
        self._app = app
        self._origins = origins
        self._authenticator = authenticator
        self._rates = rates
        self._in_progress = in_progress
        self._streams = streams
        # The event loop does not wait for a database.
        self._threads = ThreadPoolExecutor(_CHECKING_THREADS, "imagefinder-access") if rates.is_shared else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._identify(scope)
            client = self._admit(scope, caller)
        except ImagefinderError as error:
            await problem_of(error).response()(scope, receive, send)
            return
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        try:
            await self._forward(scope, receive, send)
        finally:
            if client:
                self._in_progress.release(client)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a permitted request to the routes."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: a coroutine runs in a task

        started = complete = False

        async def send_and_track(message: Message) -> None:
            nonlocal started, complete
            started = True
            if message["type"] == "http.response.start" and _is_stream(message):
                self._streams.add(task)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, _ReadTimeout(receive).receive, send_and_track)
        except asyncio.CancelledError:
            if not self._streams.ending or (started and task not in self._streams):
                raise
            task.uncancel()
            if complete:  # the stream has just ended by itself
                return
            if started:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await _stopping().response()(scope, receive, send)
        finally:
            self._streams.discard(task)

    async def _identify(self, scope: Scope) -> Caller:
        """The sender of a request, whose rate limit is not exceeded."""
        method, path, headers = scope["method"], scope["path"], scope["headers"]
        self._origins.check(method, path, dict(headers))
        required = required_access(method, path)
        context = request_context.current.get()

        def identify() -> Caller:
            caller = self._authenticator.identify(network(client_address(scope)), required, headers)
            if context is not None:
                context.caller = caller
            if required != "none":
                self._rates.take(caller.client)
            return caller

        if self._threads is None or required == "none":
            return identify()
        return await asyncio.get_running_loop().run_in_executor(self._threads, identify)

    def _admit(self, scope: Scope, caller: Caller) -> str:
        """Check the access of a request and count it; returns the client, or nothing for routes without limits."""
        path = scope["path"]
        required = required_access(scope["method"], path)
        if required == "none":
            return ""
        check_access(caller, required, path)
        if scope["query_string"].count(b"&") >= MAX_PARAMETERS:
            raise Problem(
                "invalid_parameter",
                f"the URL has more than {MAX_PARAMETERS} parameters",
                hint="/docs describes the parameters of each endpoint",
                limit=MAX_PARAMETERS,
            )
        if not self._in_progress.take(caller.client):
            raise Problem(
                "busy",
                f"this client has its share of requests in progress: {self._in_progress.used(caller.client)}",
                hint="wait for their responses",
                headers={"Retry-After": "1"},
                limit=self._in_progress.used(caller.client),
            )
        return caller.client


class _ReadTimeout:
    """Limits the time that a client may be idle while it sends a request."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._complete = False

    async def receive(self) -> Message:
        """The next ASGI message: a chunk of the request body or, after the last chunk, the client's disconnect.

        Raises:
            Problem: ``upload_timeout``: the client stopped sending.
        """
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                message = await self._receive()
        except TimeoutError as error:
            raise Problem(
                "upload_timeout",
                f"the client sent no data for {IDLE_SECONDS:.0f} s",
                hint="try again on a faster connection",
                headers={"Connection": "close"},
            ) from error
        self._complete = not message.get("more_body", False)
        return message


def _stopping() -> Problem:
    return Problem(
        "not_ready",
        "the server is shutting down",
        hint="try again after the server has restarted",
        headers={"Connection": "close", "Retry-After": "1"},
    )


def _is_stream(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )


def _route(scope: Scope) -> str:
    """The path template of the matched route, or ``NO_ROUTE``."""
    # Newer versions of FastAPI store the full path of a router with a prefix only here.
    context = scope.get("fastapi", {}).get("effective_route_context")
    path = getattr(context, "path_format", None) or getattr(scope.get("route"), "path_format", None)
    return str(path) if path else NO_ROUTE

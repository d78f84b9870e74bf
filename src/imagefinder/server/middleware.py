"""The middleware in front of every route: two thin layers of plain ASGI, safe for streams.

``RequestContextMiddleware`` is outermost and sees every request and every answer: it gives the request its id,
adds the headers of every answer, counts, and logs. ``AccessMiddleware`` decides whether a request may go on: by
host name and origin, by its key, and by the rate of requests of its sender.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagefinder.core.errors import ImagefinderError
from imagefinder.server import request_context
from imagefinder.server.access import Authenticator, Caller, need
from imagefinder.server.errors import Problem, internal_error, problem_of
from imagefinder.server.logs import ACCESS
from imagefinder.server.metrics import NO_ROUTE, Metrics
from imagefinder.server.origins import Origins
from imagefinder.server.ratelimit import RateLimit
from imagefinder.server.request_context import RequestContext
from imagefinder.server.upload import IDLE_SECONDS

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer: browsers would then send the origin of our own page's forms as null.
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""Added to every answer that does not have its own."""

_GRACE_SECONDS = 0.5
"""For the last event of a stream to be sent, as the server is about to stop."""

_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds for ever; logged only when something is wrong."""


class RequestContextMiddleware:
    """Request ids, headers of every answer, metrics, the access log, and the answer to unexpected errors."""

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
        this = RequestContext(
            request_context.request_id(sent), gone=lambda: scope.get(request_context.GONE, False)
        )
        token = request_context.current.set(this)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started = True
                status = 0 if this.gone() else message["status"]
                own = list(message.get("headers", ()))
                there = {name.lower() for name, _ in own}
                own += [header for header in HEADERS if header[0] not in there]
                own.append((b"x-request-id", this.request_id.encode("ascii")))
                message["headers"] = own
            await send(message)

        self._metrics.request_begins()
        try:
            await self._app(scope, receive, answer)
        except Exception:
            # The web server logs the traceback; the client gets none of it.
            if not started:
                await internal_error().response()(scope, receive, answer)
            raise
        except BaseException:
            status = status or 500
            raise
        finally:
            seconds = time.perf_counter() - start
            route = _template(scope)
            self._metrics.request_ends(scope["method"], route, status, this.code, seconds)
            if route not in _QUIET or status >= 400:
                self._log(scope, this, route, status, seconds)
            request_context.current.reset(token)

    @staticmethod
    def _log(scope: Scope, this: RequestContext, route: str, status: int, seconds: float) -> None:
        fields = {
            "request_id": this.request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "code": this.code,
            "key": this.key,
            "client": client(scope),
        }
        ACCESS.info("request", extra={"fields": fields})


class EventStreams:
    """The open streams of events, which have no end of their own; belongs to one event loop.

    Attributes:
        ending: Whether the server is about to stop.
    """

    def __init__(self) -> None:
        self.ending = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task: asyncio.Task[Any]) -> bool:
        return task in self._tasks

    def add(self, task: asyncio.Task[Any]) -> None:
        """The response of this task is a stream of events."""
        self._tasks.add(task)
        if self.ending:
            task.cancel()

    def discard(self, task: asyncio.Task[Any]) -> None:
        """This task has ended."""
        self._tasks.discard(task)

    async def end(self) -> None:
        """End all streams, as the server is about to stop: those that end by themselves at once are not cut off.

        Other requests may go on until the server cancels them; they are answered with a problem.
        """
        self.ending = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_GRACE_SECONDS)
        for task in self._tasks:
            task.cancel()


class AccessMiddleware:
    """Passes a request on to the routes, or refuses it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        origins: Origins,
        authenticator: Authenticator,
        rates: RateLimit,
        streams: EventStreams,
    ) -> None:
        """Join the rules.

        Args:
            app: The routes.
            origins: Which host names and origins are allowed.
            authenticator: Checks keys.
            rates: Limits the rate of requests.
            streams: Told which requests are streams of events.
        """
        self._app = app
        self._origins = origins
        self._doorman = authenticator
        self._rates = rates
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            scope["imagefinder.caller"] = self._enter(scope)
        except ImagefinderError as error:
            await problem_of(error).response()(scope, receive, send)
            return
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: a coroutine runs in a task

        started = complete = False

        async def answer(message: Message) -> None:
            nonlocal started, complete
            started = True
            if message["type"] == "http.response.start" and _is_stream(message):
                self._streams.add(task)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, _ReadTimeout(receive).receive, answer)
        except asyncio.CancelledError:
            if not self._streams.ending or (started and task not in self._streams):
                raise
            task.uncancel()
            if complete:  # the stream came to its own end at this moment
                return
            if started:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await _stopping().response()(scope, receive, send)
        finally:
            self._streams.discard(task)

    def _enter(self, scope: Scope) -> Caller:
        method, path, headers = scope["method"], scope["path"], scope["headers"]
        self._origins.check(method, path, dict(headers))
        caller = self._doorman.check(method, path, headers)
        this = request_context.current.get()
        if this is not None:
            this.key, this.access = caller.key, caller.access
        if need(method, path) != "none":
            self._rates.take(f"key {caller.key}" if caller.key else _network(client(scope)))
        return caller


class _ReadTimeout:
    """Limits the time that a client may send nothing."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._complete = False

    async def receive(self) -> Message:
        """The next piece of the request, or, after the last, word that the client has left.

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
                f"nothing came for {IDLE_SECONDS:.0f} s",
                hint="try again on a better connection",
                headers={"Connection": "close"},
            ) from error
        self._complete = not message.get("more_body", False)
        return message


def _stopping() -> Problem:
    return Problem(
        "not_ready",
        "the service is stopping",
        hint="ask again when it is back",
        headers={"Connection": "close", "Retry-After": "1"},
    )


def _is_stream(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )


def _template(scope: Scope) -> str:
    """The route as it was declared."""
    # A router that is included with a prefix has its whole path only here, in newer versions of FastAPI.
    context = scope.get("fastapi", {}).get("effective_route_context")
    path = getattr(context, "path_format", None) or getattr(scope.get("route"), "path_format", None)
    return str(path) if path else NO_ROUTE


def client(scope: Scope) -> str:
    """The address of the client; behind a trusted proxy the one that says."""
    address = scope.get("client")
    return address[0] if address else ""


def _network(address: str) -> str:
    """Whom a rate is counted for: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return address

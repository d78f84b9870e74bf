"""HEAD requests: answered as GET, without the body."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_IS_HEAD = "imagefinder.head"
"""Key in the ASGI scope of HEAD requests, which the endpoints see as GET."""


def is_head(request: Request) -> bool:
    """Whether the client wants the headers only. Endpoints whose body takes work then do not make it."""
    return _IS_HEAD in request.scope


def headers_only(media_type: str, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """A response whose body is not made; without ``Content-Length``, unless it is in ``headers``."""
    response = Response(None, status, headers, media_type)
    if "Content-Length" not in (headers or {}):
        del response.headers["content-length"]
    return response


class HeadMiddleware:
    """Passes HEAD requests on as GET and omits the body of the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        # A copy: the connection reads the method of its scope to know that no body follows.
        inner = {**scope, "method": "GET", _IS_HEAD: True}
        try:
            await self._app(inner, receive, send_without_body)
        finally:
            scope.update({name: value for name, value in inner.items() if name != "method"})  # for metrics and log

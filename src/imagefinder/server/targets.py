"""The target of a request: its absolute form, and the path prefix under which a reverse proxy serves this server.

Routes and access rules know paths without the prefix; the links in answers have it (``request_context.link``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from imagefinder.core.errors import SettingsError
from imagefinder.server import request_context
from imagefinder.server.access import is_local
from imagefinder.server.clients import TrustedProxies
from imagefinder.server.errors import Problem

MAX_PREFIX = 200
"""Largest length of a path prefix, characters."""

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)*")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_OWN = frozenset({"v1", "web", "docs", "docs.css", "openapi.json", "health", "metrics"})
"""First parts of the paths of this server."""

_VERBS = "GET, HEAD, PUT, POST, DELETE, OPTIONS"


def path_prefix(text: str) -> str | None:
    """A path prefix without its last slash; ``None`` if the text is not a path that is safe in links."""
    prefix = text.strip(" ").removesuffix("/")
    return prefix if len(prefix) <= MAX_PREFIX and _PREFIX.fullmatch(prefix) else None


def checked_root_path(text: str) -> str:
    """The setting ``root_path`` as a path prefix.

    Raises:
        SettingsError: it is not a path.
    """
    prefix = path_prefix(text)
    if prefix is None:
        raise SettingsError(
            f"root_path must be a path such as /images, not {text!r}",
            hint="it begins with a slash and has letters, digits, and ._~- between slashes",
        )
    return prefix


class TargetMiddleware:
    """Resolves the target of each request, and applies the headers of trusted proxies."""

    def __init__(self, app: ASGIApp, *, root_path: str, trusted_proxies: Sequence[str]) -> None:
        """Store the parts.

        Args:
            app: The next layer.
            root_path: Path prefix of requests whose proxy states none.
            trusted_proxies: Addresses and networks of proxies whose ``X-Forwarded-*`` headers are used.
        """
        self._root_path = root_path
        self._app = app
        self._trusted = TrustedProxies(trusted_proxies)
        self._forwarded = ProxyHeadersMiddleware(app, list(trusted_proxies))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response: Response | None
        try:
            response = self._resolve(scope)
        except Problem as problem:
            response = problem.response()
        if response is not None:
            await response(scope, receive, send)
        else:
            # After _resolve, because it replaces the address of the proxy by that of the client.
            await self._forwarded(scope, receive, send)  # type: ignore[arg-type]

    def _resolve(self, scope: Scope) -> Response | None:
        """Change the scope to the path that the routes know; returns the response if that ends the request."""
        if scope["method"] == "OPTIONS" and scope["path"] == "*":
            return Response(status_code=204, headers={"Allow": _VERBS})
        _make_relative(scope)
        prefix = self._prefix(scope)
        context = request_context.current.get()
        if context is not None:
            context.prefix = prefix
        raw = scope.get("raw_path") or scope["path"].encode()
        if not prefix or prefix.split("/")[1] in _OWN:
            return None
        if raw == prefix.encode() and scope["method"] in {"GET", "HEAD"}:
            # The relative URLs of the page need the slash.
            query = scope["query_string"].decode("latin-1")
            return RedirectResponse(f"{prefix}/" + (f"?{query}" if query else ""))
        if raw.startswith(f"{prefix}/".encode()):  # the proxy has left the prefix in the path
            scope["raw_path"], scope["path"] = raw[len(prefix) :], scope["path"][len(prefix) :]
        return None

    def _prefix(self, scope: Scope) -> str:
        """The path prefix: that of the proxy's header or, without one, the setting.

        Raises:
            Problem: the header of a trusted proxy is not a path.
        """
        sent = [value for name, value in scope["headers"] if name == b"x-forwarded-prefix"]
        address = scope["client"][0] if scope.get("client") else ""
        # A local proxy needs no setting: a prefix concerns only the links in the answer to its own request.
        if not sent or not (is_local(address) or address in self._trusted):
            return self._root_path
        # Each proxy on the way adds its own prefix, the outermost first.
        parts = [path_prefix(part) for part in b",".join(sent).decode("latin-1").split(",")]
        prefix = path_prefix("".join(part or "" for part in parts))
        if prefix is None or None in parts:
            raise Problem(
                "invalid_parameter",
                "the header X-Forwarded-Prefix is not a path",
                hint="configure the proxy to send the path that it adds, for example /images",
                field="X-Forwarded-Prefix",
            )
        return prefix


def _make_relative(scope: Scope) -> None:
    """Convert a target in absolute form (``GET http://host/path``) to a path and the header ``Host``.

    Raises:
        Problem: the target has no valid host name.
    """
    found = _ABSOLUTE.fullmatch(scope.get("raw_path") or b"")
    if found is None:
        return
    if not _AUTHORITY.fullmatch(found[1]):
        raise Problem(
            "invalid_parameter", "the host name in the request target is invalid", hint="send the path only"
        )
    path = found[2] or b"/"
    scope["raw_path"], scope["path"] = path, unquote(path.decode("ascii"))
    # RFC 9112, section 3.2.2: the target replaces the header.
    scope["headers"] = [*(header for header in scope["headers"] if header[0] != b"host"), (b"host", found[1])]

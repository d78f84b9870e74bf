"""The context of the current request, accessible from anywhere in its processing."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

_CLEAN = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


@dataclass(slots=True)
class RequestContext:
    """The current request and its outcome.

    Attributes:
        request_id: Id from the client if it is valid, otherwise generated.
        key: Name of the API key; empty if the request has no key.
        access: Access level of the caller: ``none``, ``read`` or ``write``.
        code: Code of the problem that was sent; empty for none.
        gone: Returns whether the client has disconnected.
        prefix: Path under which a reverse proxy serves the server, such as ``/images``; empty for none.
    """

    request_id: str = ""
    key: str = ""
    access: Literal["none", "read", "write"] = "none"
    code: str = ""
    gone: Callable[[], bool] = lambda: False
    prefix: str = ""


GONE = "imagefinder.gone"
"""Key in the ASGI scope; the connection sets it when the client disconnects."""

current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)
"""The request that the current task, or a thread working for it, is processing."""


def request_id(sent: bytes | None) -> str:
    """The request id: the client's X-Request-Id if it has only safe characters, otherwise a new one."""
    if sent is not None and _CLEAN.fullmatch(sent):
        return sent.decode("ascii")
    return secrets.token_hex(8)


def link(path: str) -> str:
    """A path of this server as the client of the current request must send it: with the prefix of its proxy."""
    context = current.get()
    return f"{context.prefix if context else ''}{path}"

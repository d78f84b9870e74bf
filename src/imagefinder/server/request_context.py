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
        client: Who sent the request, as the limits distinguish clients: a key or a network address.
        key: Name of the API key; empty if the request has no key.
        access: Access level of the caller: ``none``, ``read`` or ``write``.
        code: Code of the problem that was sent; empty for none.
        gone: Returns whether the client has disconnected.
    """

    request_id: str = ""
    client: str = ""
    key: str = ""
    access: Literal["none", "read", "write"] = "none"
    code: str = ""
    gone: Callable[[], bool] = lambda: False


GONE = "imagefinder.gone"
"""Key in the ASGI scope; the connection sets it when the client disconnects."""

current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)
"""The request that the current task, or a thread working for it, is processing."""


def request_id(sent: bytes | None) -> str:
    """The request id: the client's X-Request-Id if it has only safe characters, otherwise a new one."""
    if sent is not None and _CLEAN.fullmatch(sent):
        return sent.decode("ascii")
    return secrets.token_hex(8)


def client() -> str:
    """The client of the current request; empty outside a request."""
    context = current.get()
    return context.client if context else ""

"""What is known of the current request, from anywhere in its handling."""

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
    """The current request and its answer.

    Attributes:
        request_id: The client's, if it sent a clean one; otherwise made here.
        key: Name of the key it came with; empty without one.
        access: What it may do: ``none``, ``read`` or ``write``.
        code: Of the problem it was answered with; empty for none.
        gone: Whether its client has left.
    """

    request_id: str = ""
    key: str = ""
    access: Literal["none", "read", "write"] = "none"
    code: str = ""
    gone: Callable[[], bool] = lambda: False


GONE = "imagefinder.gone"
"""Set in the scope of a request by the connection it came by, when that is lost."""

current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)
"""The request that is handled in this task, or in a thread that works for it."""


def request_id(sent: bytes | None) -> str:
    """The id of a request: what the client sent as X-Request-Id, if that can do no harm, or a new one."""
    if sent is not None and _CLEAN.fullmatch(sent):
        return sent.decode("ascii")
    return secrets.token_hex(8)

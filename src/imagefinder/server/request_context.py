"""The current request and its caller, accessible from anywhere in its processing."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

AccessLevel = Literal["none", "read", "write"]

_CLEAN = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    Attributes:
        address: IP address of the client, or the IPv6 /64 network that one customer usually has.
        key: Name of the API key; empty if the request has no key.
        access: Access level of the caller.
        collections: Names of the collections that the caller may use; ``None`` for all.
        sha256: SHA-256 of the API key, which identifies it even if another key gets its name.
    """

    address: str = ""
    key: str = ""
    access: AccessLevel = "none"
    collections: tuple[str, ...] | None = None
    sha256: str = ""

    @property
    def client(self) -> str:
        """The unit of rate limits and fair shares: the key or, without one, the address."""
        return f"key {self.key}" if self.key else self.address

    def may_use(self, collection: str) -> bool:
        """Whether the caller may use the collection with this name."""
        return self.collections is None or collection in self.collections


@dataclass(slots=True)
class RequestContext:
    """The current request and its outcome.

    Attributes:
        request_id: Id from the client if it is valid, otherwise generated.
        caller: Sender of the request.
        code: Code of the problem that was sent; empty for none.
        gone: Returns whether the client has disconnected.
        prefix: Path under which a reverse proxy serves the server, such as ``/images``; empty for none.
    """

    request_id: str = ""
    caller: Caller = Caller()
    code: str = ""
    gone: Callable[[], bool] = lambda: False
    prefix: str = ""


GONE = "imagefinder.gone"
"""Key in the ASGI scope; the connection sets it when the client disconnects."""

current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)
"""The request that the current task, or a thread working for it, is processing."""


def caller() -> Caller | None:
    """The sender of the current request; ``None`` outside of requests, for example in a job."""
    context = current.get()
    return context.caller if context else None


def may_use(collection: str) -> bool:
    """Whether the current request may use a collection; true outside of requests."""
    sender = caller()
    return sender is None or sender.may_use(collection)


def request_id(sent: bytes | None) -> str:
    """The request id: the client's X-Request-Id if it has only safe characters, otherwise a new one."""
    if sent is not None and _CLEAN.fullmatch(sent):
        return sent.decode("ascii")
    return secrets.token_hex(8)


def link(path: str) -> str:
    """A path of this server as the client of the current request must send it: with the prefix of its proxy."""
    context = current.get()
    return f"{context.prefix if context else ''}{path}"


def client() -> str:
    """The client of the current request, as the limits distinguish clients; empty outside a request."""
    sender = caller()
    return sender.client if sender else ""

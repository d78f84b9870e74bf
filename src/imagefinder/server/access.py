"""Access control: the access level that each request requires, and the check of its API key."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings
from imagefinder.server.errors import Problem
from imagefinder.server.keys import Keys

AccessLevel = Literal["none", "read", "write"]

_LEVELS: Mapping[str, int] = {"none": 0, "read": 1, "write": 2}

_READ_VERBS = "GET|HEAD"

RULES: tuple[tuple[str, str, AccessLevel], ...] = (
    (_READ_VERBS, r"/|/web/.*|/docs|/docs\.css|/openapi\.json|/health(/.*)?", "none"),
    (_READ_VERBS, r"/.*", "read"),
    ("POST", r"/v1/collections/[^/]+/search|/v1/compare|/[^/]+-similar-images", "read"),
)
"""(HTTP methods, paths, required access). The first match applies; without a match, ``write`` is required."""

_RULES = tuple((re.compile(methods), re.compile(paths, re.DOTALL), level) for methods, paths, level in RULES)


def required_access(method: str, path: str) -> AccessLevel:
    """The access level that a request requires."""
    for methods, paths, level in _RULES:
        if methods.fullmatch(method) and paths.fullmatch(path):
            return level
    return "write"


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    Attributes:
        key: Name of the API key; empty if the request has no key.
        access: Access level of the caller.
    """

    key: str
    access: AccessLevel


def is_local(host: str) -> bool:
    """Whether a host name or address can only mean this machine (loopback)."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def keys_required(settings: Settings) -> bool:
    """Whether a server with these settings requires API keys.

    ``auto`` requires keys unless only this machine can reach the server. A public name in ``allowed_hosts``
    implies a proxy through which others can reach it.
    """
    if settings.auth == "auto":
        return not all(map(is_local, (settings.host, *settings.allowed_hosts)))
    return settings.auth == "on"


class Authenticator:
    """Checks the API key of each request."""

    def __init__(self, keys: Keys, *, required: bool) -> None:
        self._required = required
        self._keys = keys

    def check(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """The caller, if its key allows the request.

        Raises:
            Problem: ``missing_key``, ``wrong_key`` or ``read_only_key``.
            StoreError: the keys cannot be read.
        """
        if not self._required:
            return Caller("", "write")
        required = required_access(method, path)
        if required == "none":
            return Caller("", "none")
        secret = _secret(headers)
        if secret is None:
            raise Problem(
                "missing_key",
                "this service requires an API key",
                hint="send the header: Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        key = self._keys.find(secret)
        if key is None:
            raise Problem(
                "wrong_key",
                "the API key is invalid or was revoked",
                hint="on the server, list keys with: imagefinder keys list, or create one with: "
                "imagefinder keys create NAME",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        if _LEVELS[key.access] < _LEVELS[required]:
            raise Problem(
                "read_only_key",
                f"the key {key.name} allows reading and searching, not changes",
                hint="on the server, create a key with write access: imagefinder keys create NAME --write",
            )
        return Caller(key.name, key.access)


def check_before_start(settings: Settings, keys: Keys) -> None:
    """Refuse to start a server that is unusable or unsafe with these settings.

    Raises:
        SettingsError: keys are required but none exist, or any web page could send requests without a key.
        StoreError: the keys cannot be read.
    """
    if not keys_required(settings):
        if "*" in settings.cors_origins:
            raise SettingsError(
                "cors_origins = * without keys would let every web page send requests to this server",
                hint="list the allowed origins, or require keys: --auth on",
            )
        return
    if not keys.entries():
        why = "" if settings.auth == "on" else f" because other machines can reach it ({settings.host})"
        raise SettingsError(
            f"the server requires API keys{why}, but none exist yet",
            hint="create one: imagefinder keys create NAME --write  (if a proxy controls access: --auth off)",
        )


def _secret(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, secret = value.partition(b" ")
            if scheme.lower() == b"bearer":
                return secret.strip()
        if name == b"x-api-key":
            return value.strip()
    return None

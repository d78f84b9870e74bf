"""Who may do what: one table of what each request needs, and the check of its key."""

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

Need = Literal["none", "read", "write"]

_LEVELS: Mapping[str, int] = {"none": 0, "read": 1, "write": 2}

_LOOK = "GET|HEAD"

RULES: tuple[tuple[str, str, Need], ...] = (
    (_LOOK, r"/|/web/.*|/docs|/docs\.css|/openapi\.json|/health(/.*)?", "none"),
    (_LOOK, r"/.*", "read"),
    ("POST", r"/v1/collections/[^/]+/search|/v1/compare|/[^/]+-similar-images", "read"),
)
"""(HTTP methods, paths, what they need); the first that fits holds, and what fits none needs ``write``."""

_RULES = tuple((re.compile(methods), re.compile(paths, re.DOTALL), need) for methods, paths, need in RULES)


def need(method: str, path: str) -> Need:
    """The access a request needs."""
    for methods, paths, needed in _RULES:
        if methods.fullmatch(method) and paths.fullmatch(path):
            return needed
    return "write"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        key: Name of the key; empty without one.
        access: What it opens.
    """

    key: str
    access: Need


def is_local(host: str) -> bool:
    """Whether a host name or address is this machine and nothing else."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def demanded(settings: Settings) -> bool:
    """Whether a server with these settings demands keys.

    ``auto`` does, unless only this machine can reach it: what is told a public name is behind a proxy that makes
    it public.
    """
    if settings.auth == "auto":
        return not all(map(is_local, (settings.host, *settings.allowed_hosts)))
    return settings.auth == "on"


class Authenticator:
    """Looks at the key of each request."""

    def __init__(self, keys: Keys, *, demands: bool) -> None:
        self.demands = demands
        self._keys = keys

    def check(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Who asks, if they may.

        Raises:
            Problem: ``missing_key``, ``wrong_key`` or ``read_only_key``.
            StoreError: the keys cannot be read.
        """
        if not self.demands:
            return Caller("", "write")
        needed = need(method, path)
        if needed == "none":
            return Caller("", "none")
        secret = _secret(headers)
        if secret is None:
            raise Problem(
                "missing_key",
                "this service answers with a key only",
                hint="send the header: Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        key = self._keys.find(secret)
        if key is None:
            raise Problem(
                "wrong_key",
                "there is no such key, or it was revoked",
                hint="on the server: imagefinder keys list, imagefinder keys create NAME",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        if _LEVELS[key.access] < _LEVELS[needed]:
            raise Problem(
                "read_only_key",
                f"the key {key.name} may look and search, not change",
                hint="on the server: imagefinder keys create NAME --write",
            )
        return Caller(key.name, key.access)


def check_before_start(settings: Settings, keys: Keys) -> None:
    """See that a server with these settings can be used, and is no trap.

    Raises:
        SettingsError: it demands keys and there are none, or it would let pages of any origin ask it without.
        StoreError: the keys cannot be read.
    """
    if not demanded(settings):
        if "*" in settings.cors_origins:
            raise SettingsError(
                "cors_origins = * without keys would let every web page ask this server",
                hint="name the origins, or demand keys: --auth on",
            )
        return
    if not keys.entries():
        why = "" if settings.auth == "on" else f", because it can be reached from elsewhere ({settings.host})"
        raise SettingsError(
            f"the server demands keys{why}, and there are none yet",
            hint="make one: imagefinder keys create NAME --write  (or, where something else decides who may ask: "
            "--auth off)",
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

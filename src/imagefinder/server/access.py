"""Access control: the access that each request requires, and the check of its API key."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from imagefinder.core.errors import SettingsError
from imagefinder.core.service_contracts import Keys
from imagefinder.core.settings import Settings
from imagefinder.server import request_context
from imagefinder.server.errors import Problem
from imagefinder.server.ratelimit import RateLimit, SharedTokens
from imagefinder.server.request_context import AccessLevel, Caller

WRONG_KEYS_PER_MINUTE = 60
"""Largest number of requests with an invalid API key from one address; a lower rate limit applies to them too."""

_LEVELS: Mapping[str, int] = {"none": 0, "read": 1, "write": 2}

_READ_VERBS = "GET|HEAD"

RULES: tuple[tuple[str, str, AccessLevel], ...] = (
    (_READ_VERBS, r"/|/web/.*|/docs|/docs\.css|/openapi\.json|/health(/.*)?", "none"),
    (_READ_VERBS, r"/.*", "read"),
    ("POST", r"/v1/collections/[^/]+/(search|exports)|/v1/compare|/[^/]+-similar-images", "read"),
)
"""(HTTP methods, paths, required access). The first match applies; without a match, ``write`` is required."""

_RULES = tuple((re.compile(methods), re.compile(paths, re.DOTALL), level) for methods, paths, level in RULES)


_COLLECTION_PATH = re.compile(r"/v1/collections/([^/]+)(/.*)?", re.DOTALL)


def required_access(method: str, path: str) -> AccessLevel:
    """The access level that a request requires."""
    for methods, paths, level in _RULES:
        if methods.fullmatch(method) and paths.fullmatch(path):
            return level
    return "write"


def is_local(host: str) -> bool:
    """Whether a host name or address can only mean this machine (loopback)."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def only_local(settings: Settings) -> bool:
    """Whether only this machine can reach a server with these settings.

    A public name in ``allowed_hosts`` implies a proxy through which others can reach it.
    """
    return all(map(is_local, (settings.host, *settings.allowed_hosts)))


def keys_required(settings: Settings) -> bool:
    """Whether a server with these settings requires API keys.

    ``auto`` requires keys unless only this machine can reach the server.
    """
    if settings.auth == "auto":
        return not only_local(settings)
    return settings.auth == "on"


class Authenticator:
    """Identifies the sender of each request by its API key."""

    def __init__(
        self, keys: Keys, *, required: bool, requests_per_minute: int = 0, tokens: SharedTokens | None = None
    ) -> None:
        """Nothing is read yet.

        Args:
            keys: The API keys.
            required: Whether requests need a key.
            requests_per_minute: Rate limit of all requests; 0 for none.
            tokens: Rate limits that several servers share; ``None``: this server counts alone.
        """
        self._required = required
        self._keys = keys
        self._max_wrong = min(requests_per_minute or WRONG_KEYS_PER_MINUTE, WRONG_KEYS_PER_MINUTE)
        self._wrong_keys = RateLimit(self._max_wrong, shared=tokens, name="invalid keys of ")

    def identify(self, address: str, required: AccessLevel, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """The sender of a request.

        A valid key is never refused because of the invalid keys that others send from the same address.

        Args:
            address: Address of the client.
            required: The access that the request requires; keys are not read for ``none``.
            headers: Headers of the request.

        Raises:
            Problem: ``wrong_key`` or ``too_many_wrong_keys``.
            StoreError: the keys cannot be read.
        """
        if not self._required:
            return Caller(address, access="write")
        secret = _secret(headers) if required != "none" else None
        if secret is None:
            return Caller(address)
        key = self._keys.find(secret)
        if key is None:
            wait = self._wrong_keys.try_take(address)
            if wait:
                raise Problem(
                    "too_many_wrong_keys",
                    f"the limit is {self._max_wrong} requests per minute with an invalid API key from one address",
                    hint=f"try again in {wait} s, with a valid key",
                    headers={"Retry-After": str(wait)},
                    limit=self._max_wrong,
                )
            raise Problem(
                "wrong_key",
                "the API key is invalid or was revoked",
                hint="on the server, list keys with: imagefinder keys list, or create one with: "
                "imagefinder keys create NAME",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return Caller(address, key.name, key.access, key.collections, key.sha256)


def check_access(caller: Caller, required: AccessLevel, path: str) -> None:
    """Refuse a request that requires more access than its caller has, before its body is read.

    Raises:
        Problem: ``missing_key``, ``read_only_key`` or ``collection_not_allowed``.
    """
    if _LEVELS[caller.access] >= _LEVELS[required]:
        named = _COLLECTION_PATH.fullmatch(path)
        if named:
            check_collection(caller, named[1])
        return
    if not caller.key:
        raise Problem(
            "missing_key",
            "this service requires an API key",
            hint="send the header: Authorization: Bearer KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )
    raise Problem(
        "read_only_key",
        f"the key {caller.key} allows reading and searching, not changes or jobs",
        hint="on the server, create a key with write access: imagefinder keys create NAME --write",
    )


def check_collection(caller: Caller | None, name: str) -> None:
    """Refuse a request whose key is restricted to other collections.

    The answer does not depend on whether the collection exists, so that it reveals nothing about it.

    Raises:
        Problem: ``collection_not_allowed``.
    """
    if caller is not None and not caller.may_use(name):
        raise Problem(
            "collection_not_allowed",
            f"the key {caller.key} may not use the collection {name[:100]!a}",
            hint="GET /v1/info lists the collections of the key; on the server, create a key for this collection: "
            "imagefinder keys create NAME --collection COLLECTION",
            field="collection",
        )


def check_unrestricted() -> None:
    """Refuse the current request if its key is restricted to some collections.

    Raises:
        Problem: ``collection_not_allowed``.
    """
    caller = request_context.caller()
    if caller is not None and caller.collections is not None:
        raise Problem(
            "collection_not_allowed",
            f"the key {caller.key} is restricted to some collections, and the answer covers all of them",
            hint="use a key without --collection",
        )


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

"""Protection against cross-site requests and DNS rebinding.

A server on a personal machine usually requires no keys, but every web page that its user visits can send requests
to it. Two things reveal such requests: the host name (an attacker can point their own domain to 127.0.0.1), and
the headers in which browsers state the origin of a request. Other programs send no such headers and are not
affected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from imagefinder.server.access import is_local
from imagefinder.server.errors import Problem

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_GET_WITH_EFFECT = re.compile(r"/v1/collections/[^/]+/duplicates")
"""Paths where a GET request can start a job; a link on another site must not trigger it."""


class OriginPolicy:
    """Decides which host names and origins may send requests to the server."""

    def __init__(self, hosts: Sequence[str], origins: Sequence[str], *, any_host: bool) -> None:
        """Set the policy.

        Args:
            hosts: Host names of the server, in addition to those of the local machine.
            origins: OriginPolicy of other sites whose pages may send requests; ``*`` allows all.
            any_host: Whether to accept every host name. Safe if requests require a key, which other sites lack.
        """
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._any_name = any_host

    def check(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Refuse requests with a foreign host name and requests from pages of other sites.

        Args:
            method: HTTP method.
            path: Decoded path of the request.
            headers: Request headers, with names in lower case.

        Raises:
            Problem: ``unknown_host`` or ``cross_site``.
        """
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self._any_name and not self._is_allowed(host):
            raise Problem(
                "unknown_host",
                "the host name of this request is not allowed",
                hint="use the server's IP address, or add the host name to the setting allowed_hosts",
            )
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and ("*" in self._origins or origin in self._origins):
            return
        site = headers.get(b"sec-fetch-site", b"")
        # A link on another site may lead here: only the visitor sees the response.
        if site in (b"cross-site", b"same-site") and not (
            method in _SAFE_METHODS
            and headers.get(b"sec-fetch-dest") == b"document"
            and not _GET_WITH_EFFECT.fullmatch(path)
        ):
            raise _cross_site()
        if origin and method not in _SAFE_METHODS:
            page = _address(origin)
            # Behind a TLS proxy, the scheme seen here differs from that of the page.
            if page is None or page != _address(f"{origin.partition(':')[0]}://{host}"):
                raise _cross_site()

    def _is_allowed(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if is_local(name) or name in self._hosts:
            return True
        try:
            # An IP address needs no DNS lookup, so it cannot be rebound.
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _cross_site() -> Problem:
    return Problem(
        "cross_site",
        "a web page of another site sent this request",
        hint="to allow requests from that site, add its origin to the setting cors_origins",
    )


def _address(origin: str) -> tuple[str, int] | None:
    """Host and port of an origin; ``None`` if it is not a valid origin, for example ``null``."""
    try:
        parts = urlsplit(origin)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None

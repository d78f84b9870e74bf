"""Requests that a web page of a stranger makes with the visitor's browser: which are refused.

A server on one's own machine has no keys, and every page one visits can send it requests. Two things give them
away: the name the page knows the server by (an attacker can let any name of theirs point to 127.0.0.1), and the
headers by which browsers tell where a request comes from. Programs send neither, and are not affected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from imagefinder.server.access import is_local
from imagefinder.server.errors import Problem

_READING = frozenset({"GET", "HEAD", "OPTIONS"})

_WORKING = re.compile(r"/v1/collections/[^/]+/duplicates")
"""What is read but begins a job where there is no report: no link on another page may do that."""


class Origins:
    """The rules for one server."""

    def __init__(self, hosts: Sequence[str], origins: Sequence[str], *, any_name: bool) -> None:
        """Set the rules.

        Args:
            hosts: Names the server may be asked by, beside those of this machine.
            origins: Origins of other servers whose pages may ask; ``*`` is any.
            any_name: Whether every name will do: requests need a key, which no page of a stranger has.
        """
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._any_name = any_name

    def check(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> None:
        """See that no page of a stranger makes this request.

        Args:
            method: HTTP method.
            path: Of the request, decoded.
            headers: Names in lower case.

        Raises:
            Problem: ``unknown_host`` or ``cross_site``.
        """
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self._any_name and not self._known(host):
            raise Problem(
                "unknown_host",
                "the server is not known by the name this request was sent to",
                hint="ask by address, or let the setting allowed_hosts name it",
            )
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and ("*" in self._origins or origin in self._origins):
            return
        site = headers.get(b"sec-fetch-site", b"")
        # A link on another page may lead here: that shows the answer to the visitor and to nobody else.
        if site in (b"cross-site", b"same-site") and not (
            method in _READING and headers.get(b"sec-fetch-dest") == b"document" and not _WORKING.fullmatch(path)
        ):
            raise _cross_site()
        if origin and method not in _READING:
            page = _address(origin)
            # Behind a proxy with TLS the scheme here is not the one the page was loaded by.
            if page is None or page != _address(f"{origin.partition(':')[0]}://{host}"):
                raise _cross_site()

    def _known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if is_local(name) or name in self._hosts:
            return True
        try:
            # An address in numbers is not looked up, so nobody can let it point elsewhere.
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _cross_site() -> Problem:
    return Problem(
        "cross_site",
        "a page of another site made this request",
        hint="the setting cors_origins names the sites whose pages may",
    )


def _address(origin: str) -> tuple[str, int] | None:
    """Host and port of an origin; ``None`` for what is none, such as ``null``."""
    try:
        parts = urlsplit(origin)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None

"""The environment variables that programs share for proxies and certificates, checked before they are used."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from imagefinder.core.errors import SettingsError

T = TypeVar("T")

_SOCKS = {"socks": "socks5h", "socks5": "socks5h", "socks5h": "socks5h"}


def proxy_for(scheme: str, host: str) -> str:
    """The proxy of the environment for requests to a host; empty for none.

    ``HTTP_PROXY`` or ``HTTPS_PROXY`` by the scheme of the URL, else ``ALL_PROXY``; in lower case, too, which wins.
    Hosts of ``NO_PROXY`` (names, addresses, networks such as ``10.0.0.0/8``) and this machine are reached without
    one. A SOCKS proxy resolves host names itself.

    Returns:
        A URL whose scheme is ``http``, ``https`` or ``socks5h``.

    Raises:
        SettingsError: the proxy cannot be used.
    """
    proxies = urllib.request.getproxies()
    variable = f"{scheme.upper()}_PROXY" if proxies.get(scheme) else "ALL_PROXY"
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    if not proxy or _is_this_machine(host) or _is_excepted(host, proxies.get("no", "")):
        return ""
    text = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(
            f"the proxy in {variable} is not a valid URL", hint="set it to an address such as http://proxy:3128"
        )
    known = parts.scheme in ("http", "https", *_SOCKS)
    if not known:
        raise SettingsError(
            f"the proxy in {variable} has the unsupported scheme {parts.scheme!r}",
            hint=f"use an http, https or socks5 proxy, or add {host} to NO_PROXY",
        )
    if parts.scheme in _SOCKS:
        if importlib.util.find_spec("socksio") is None:
            raise SettingsError(
                f"the proxy in {variable} is a SOCKS proxy, for which the package socksio is missing",
                hint=f"pip install socksio, or set {scheme.upper()}_PROXY to an HTTP proxy, "
                f"or add {host} to NO_PROXY",
            )
        return _SOCKS[parts.scheme] + text[len(parts.scheme) :]
    return text


def tls_context(make: Callable[[], T]) -> T:
    """Call a function that loads certificate authorities, as ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` name them.

    Raises:
        SettingsError: a variable names something that does not exist or contains no certificates.
    """
    variable = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
    path = os.environ.get(variable, "")
    reason = ""
    if path and variable == "SSL_CERT_DIR" and not Path(path).is_dir():  # OpenSSL would ignore it
        reason = "no such folder"
    try:
        if not reason:
            return make()
    except ssl.SSLError:
        reason = "it contains no valid certificate"
    except OSError as error:
        reason = error.strerror or str(error)
    raise SettingsError(
        f"the certificate authorities in {variable} ({path or 'not set'}) cannot be read: {reason}",
        hint=f"unset {variable}, or set it to certificates in PEM format",
    )


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _is_excepted(host: str, exceptions: str) -> bool:
    if urllib.request.proxy_bypass(host):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return any(address in network for entry in exceptions.split(",") for network in _network(entry.strip()))


def _network(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(text.strip("[]"), strict=False)]
    except ValueError:
        return []

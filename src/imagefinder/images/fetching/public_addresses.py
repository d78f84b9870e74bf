"""Distinguish public from private IP addresses, so that untrusted URLs cannot reach internal services (SSRF)."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from imagefinder.core.errors import ForbiddenAddressError

_BLOCKED4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; also a cloud metadata service
            "127.0.0.0/8",
            "168.63.129.16/32",  # an internal cloud service with a public address
            "169.254.0.0/16",  # link-local; cloud metadata services
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)

_PUBLIC6 = IPv6Network("2000::/3")
"""The IPv6 global unicast range; private, link-local, multicast and reserved addresses are outside it."""

_BLOCKED6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))

_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet; an IPv6 address that embeds an IPv4 address counts as that.

    Args:
        address: Text form from the system resolver; an address with a zone (``%eth0``) is local.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _BLOCKED4)
    if ip.scope_id is not None:
        return False
    embedded = _embedded_ipv4(ip)
    if embedded is not None:
        return is_public(str(embedded))
    return ip in _PUBLIC6 and not any(ip in network for network in _BLOCKED6)


def require_public(address: str) -> None:
    """Reject an address that is not public; the ``check`` of ``HttpFetcher``.

    Raises:
        ForbiddenAddressError: the address is not public.
    """
    if not is_public(address):
        # The message omits the address, which would reveal the structure of the internal network.
        raise ForbiddenAddressError(
            "the URL points to an address that is not public",
            hint="use a public URL; the operator can allow private addresses with the setting fetch_private",
        )


def _embedded_ipv4(ip: IPv6Address) -> IPv4Address | None:
    """The embedded IPv4 address of a mapped, NAT64 or 6to4 address."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip in _SIX_TO_FOUR:
        return IPv4Address((int(ip) >> 80) & 0xFFFFFFFF)
    return None

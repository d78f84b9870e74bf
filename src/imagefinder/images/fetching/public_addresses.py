"""Which addresses a stranger may make this machine connect to: public ones only."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from imagefinder.core.errors import ForbiddenAddressError

_NEVER = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # behind a provider's NAT; a cloud's metadata service, too
            "127.0.0.0/8",
            "168.63.129.16/32",  # a cloud's own service at a public address
            "169.254.0.0/16",  # link-local; the metadata services of clouds
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
"""All of IPv6 that is in public use; private, link-local, multicast and reserved addresses lie outside."""

_NEVER6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))

_TRANSLATED = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; one that stands for an IPv4 address is judged by that.

    Args:
        address: As the system's resolver gives it; a zone (``%eth0``) makes it local.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NEVER)
    if ip.scope_id is not None:
        return False
    inner = _inner(ip)
    if inner is not None:
        return is_public(str(inner))
    return ip in _PUBLIC6 and not any(ip in network for network in _NEVER6)


def only_public(address: str) -> None:
    """Refuse every other address, for ``Fetcher``.

    Raises:
        ForbiddenAddressError: it is not public.
    """
    if not is_public(address):
        # Not which one it is: that would tell a stranger what the network behind looks like.
        raise ForbiddenAddressError(
            "the address leads into a network that is not public",
            hint="give an address of the public internet; the operator can allow others with fetch_private",
        )


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is meant: mapped, behind a translator (NAT64), or by 6to4."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip in _TRANSLATED:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip in _SIX_TO_FOUR:
        return IPv4Address((int(ip) >> 80) & 0xFFFFFFFF)
    return None

"""The clients of the server, as the limits distinguish them: API keys and network addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.types import Scope


def client_address(scope: Scope) -> str:
    """The IP address of the client; behind a trusted proxy, the address that the proxy reports."""
    address = scope.get("client")
    return address[0] if address else ""


def network(address: str) -> str:
    """The unit of all limits: an IPv4 address, or the IPv6 /64 network that one customer usually has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return address


class TrustedProxies:
    """The proxies of the setting ``trusted_proxies``, whose connections belong to many clients."""

    def __init__(self, proxies: Sequence[str]) -> None:
        """Parse the setting.

        Args:
            proxies: Addresses and networks; ``*`` stands for all.
        """
        self._all = "*" in proxies
        self._networks = []
        for proxy in proxies:
            try:
                self._networks.append(ipaddress.ip_network(proxy, strict=False))
            except ValueError:
                continue  # "*", or a name, which no connection comes from

    def __contains__(self, address: str) -> bool:
        if self._all:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

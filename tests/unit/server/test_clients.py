from __future__ import annotations

import pytest

from imagefinder.server.clients import TrustedProxies, network


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_the_unit_of_all_limits(address: str, counted: str) -> None:
    assert network(address) == counted


@pytest.mark.parametrize(
    ("proxies", "address", "trusted"),
    [
        (("192.0.2.1",), "192.0.2.1", True),
        (("192.0.2.1",), "192.0.2.2", False),
        (("10.0.0.0/8", "2001:db8::/32"), "10.1.2.3", True),
        (("10.0.0.0/8", "2001:db8::/32"), "2001:db8::7", True),
        (("10.0.0.0/8", "2001:db8::/32"), "11.1.2.3", False),
        (("*",), "192.0.2.1", True),
        (("proxy.example",), "192.0.2.1", False),
        ((), "127.0.0.1", False),
        (("127.0.0.1",), "", False),
    ],
)
def test_trusted_proxies(proxies: tuple[str, ...], address: str, trusted: bool) -> None:
    assert (address in TrustedProxies(proxies)) is trusted

import importlib.util
import ssl
from pathlib import Path

import pytest

from imagefinder.core import network_environment
from imagefinder.core.errors import SettingsError
from imagefinder.core.network_environment import proxy_for, tls_context

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("value", ["http://proxy:3128", "proxy:3128", "https://me:se%40cret@proxy"])
def test_the_variables(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("http", "shop.example") == ""
    monkeypatch.setenv(name, value)
    assert proxy_for("http", "shop.example") == (value if "://" in value else f"http://{value}")
    assert proxy_for("https", "shop.example") == (proxy_for("http", "x.example") if "all" in name.lower() else "")


def test_an_unusable_proxy_for_other_schemes_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://x")  # as a desktop sets it, together with the others
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    assert proxy_for("https", "shop.example") == "http://proxy:1"
    with pytest.raises(SettingsError, match="ALL_PROXY has the unsupported scheme 'nonsense'") as error:
        proxy_for("http", "shop.example")
    assert "add shop.example to NO_PROXY" in error.value.hint


@pytest.mark.parametrize("value", ["http://", "http://[::1", "http://proxy:99999", "http://proxy:x", ":80"])
def test_a_proxy_that_is_no_address(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(SettingsError, match="ALL_PROXY is not a valid URL"):
        proxy_for("http", "shop.example")


def test_a_message_does_not_contain_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("ftp://me:secret@proxy:1", "http://me:secret@proxy:x", "socks4://me:secret@proxy:1"):
        monkeypatch.setenv("ALL_PROXY", value)
        with pytest.raises(SettingsError) as error:
            proxy_for("http", "shop.example")
        assert "secret" not in f"{error.value} {error.value.hint}"


@pytest.mark.parametrize("scheme", ["socks", "socks5", "socks5h"])
def test_socks(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:pw@127.0.0.1:1080/")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert proxy_for("https", "shop.example") == "socks5h://me:pw@127.0.0.1:1080/"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="package socksio is missing") as error:
        proxy_for("https", "shop.example")
    assert "HTTPS_PROXY" in error.value.hint


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.8.8.8", "::1", "[::1]"])
def test_this_machine_is_reached_directly(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://x")
    assert proxy_for("http", host) == ""


@pytest.mark.parametrize(
    ("exceptions", "host", "excepted"),
    [
        ("*", "shop.example", True),
        ("shop.example", "shop.example", True),
        ("other.example, .shop.example", "img.shop.example", True),
        ("shop.example", "workshop.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8,nonsense/99", "11.1.2.3", False),
        ("10.0.0.0/8", "shop.example", False),
        ("fd00::/8", "fd12::1", True),
        ("192.168.1.7", "192.168.1.7", True),
        ("", "shop.example", False),
    ],
)
def test_exceptions(exceptions: str, host: str, excepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, exceptions)
        assert proxy_for("http", host) == ("" if excepted else "http://proxy:1")
        monkeypatch.delenv(name)


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpcore2

    assert isinstance(tls_context(httpcore2.default_ssl_context), ssl.SSLContext)
    (tmp_path / "text.pem").write_text("no certificate")
    for name, path, reason in [
        ("SSL_CERT_FILE", tmp_path / "nowhere.pem", "No such file"),
        ("SSL_CERT_FILE", tmp_path / "text.pem", "it contains no valid certificate"),
        ("SSL_CERT_FILE", tmp_path, "Is a directory|it contains no valid certificate"),
        ("SSL_CERT_DIR", tmp_path / "nowhere", "no such folder"),
    ]:
        monkeypatch.setenv(name, str(path))
        with pytest.raises(SettingsError, match=rf"in {name} \({path}\) cannot be read: ({reason})") as error:
            network_environment.tls_context(httpcore2.default_ssl_context)
        assert f"unset {name}" in error.value.hint
        monkeypatch.delenv(name)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert isinstance(tls_context(httpcore2.default_ssl_context), ssl.SSLContext)

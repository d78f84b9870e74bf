from __future__ import annotations

import socket

import pytest

from imagefinder.core.errors import SettingsError
from imagefinder.core.records import MethodInfo, StoreInfo
from imagefinder.server.app import _collection_summary, _listen


def test_a_port_in_use_is_an_error_with_a_next_step() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(SettingsError, match=r"in use$") as caught:
            _listen("127.0.0.1", taken.getsockname()[1])
        assert "--port" in caught.value.hint


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("no-such-host.invalid", 0)])
def test_an_invalid_address_is_an_error(host: str, port: int) -> None:
    with pytest.raises(SettingsError, match="cannot listen on"):
        _listen(host, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_port_0_selects_a_free_port(host: str) -> None:
    with _listen(host, 0) as listener:
        assert listener.getsockname()[1] > 0


def test_responses_do_not_wait_for_acknowledgements() -> None:
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (0, ("is empty", "on the web page", "imagefinder add FOLDER -c '/my images/c'")),
        (1200, ("1,200 images (sift)", "3 images could not be added")),
    ],
)
def test_the_startup_log_describes_the_collection(images: int, words: tuple[str, ...]) -> None:
    methods = {"sift": MethodInfo("f", images, images, 1)} if images else {}
    summary = _collection_summary(StoreInfo("x", 1, images, 3, methods, 1), "/my images/c")
    assert all(word in summary for word in words), summary

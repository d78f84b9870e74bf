import pytest

from imagefinder.core.addresses import is_web_address


@pytest.mark.parametrize("text", ["http://h/a.jpg", "https://h", "HTTP://h/a.jpg", "Https://h"])
def test_web_addresses(text):
    assert is_web_address(text)


@pytest.mark.parametrize(
    "text", ["", "http:/h", "ftp://h", "file:///a.jpg", "a/http://h", " http://h", "httpx://h"]
)
def test_other_strings(text):
    assert not is_web_address(text)

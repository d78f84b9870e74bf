import pytest

from imagefinder.core.errors import SettingsError


@pytest.fixture
def served(monkeypatch):
    """The settings that the service was started with."""
    started = []
    monkeypatch.setattr("imagefinder.server.app.serve", started.append)
    return started


def test_flags_become_settings(call, served, tmp_path):
    assert call("serve", "--host", "0.0.0.0", "--port", "8080", "-c", tmp_path / "c").code == 0
    assert (served[0].host, served[0].port, served[0].collection) == ("0.0.0.0", 8080, tmp_path / "c")


def test_without_flags_the_settings_hold(call, served, monkeypatch):
    monkeypatch.setenv("IMAGEFINDER_PORT", "7000")
    assert call("serve").code == 0
    assert (served[0].host, served[0].port) == ("127.0.0.1", 7000)


def test_an_address_that_cannot_be_listened_on(call, monkeypatch):
    def serve(settings):
        raise SettingsError("cannot listen on 1.2.3.4:5000", hint="choose another one")

    monkeypatch.setattr("imagefinder.server.app.serve", serve)
    answer = call("serve")
    assert (answer.code, answer.err) == (2, "error: cannot listen on 1.2.3.4:5000\nhint: choose another one\n")

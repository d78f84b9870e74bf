import tomllib

import pytest

from imagefinder.core.errors import SettingsError


@pytest.fixture
def served(monkeypatch):
    """A list of the settings with which the service was started."""
    started = []
    monkeypatch.setattr("imagefinder.server.app.serve", started.append)
    return started


def test_options_override_settings(call, served, tmp_path):
    assert call("serve", "--host", "0.0.0.0", "--port", "8080", "-c", tmp_path / "c").code == 0
    assert (served[0].host, served[0].port, served[0].collection) == ("0.0.0.0", 8080, str(tmp_path / "c"))


def test_without_options_the_settings_apply(call, served, monkeypatch):
    monkeypatch.setenv("IMAGEFINDER_PORT", "7000")
    assert call("serve").code == 0
    assert (served[0].host, served[0].port) == ("127.0.0.1", 7000)


def test_an_address_that_cannot_be_used(call, monkeypatch):
    def serve(settings):
        raise SettingsError("cannot listen on 1.2.3.4:5000", hint="choose another one")

    monkeypatch.setattr("imagefinder.server.app.serve", serve)
    answer = call("serve")
    assert (answer.code, answer.err) == (2, "error: cannot listen on 1.2.3.4:5000\nhint: choose another one\n")


def test_print_config_prints_the_effective_settings_and_starts_nothing(call, served, monkeypatch, tmp_path):
    file = tmp_path / "server.toml"
    file.write_text('port = 6000\nallowed_hosts = ["a.example"]\n')
    monkeypatch.setenv("IMAGEFINDER_QUEUE", "7")
    answer = call("serve", "--config", file, "--auth", "on", "--print-config")
    assert (answer.code, answer.err, served) == (0, "", [])
    values = tomllib.loads(answer.out)
    assert (values["port"], values["allowed_hosts"], values["queue"], values["auth"]) == (
        6000,
        ["a.example"],
        7,
        "on",
    )
    assert f"# from: file {file}\nport = 6000\n" in answer.out
    assert "# from: environment variable IMAGEFINDER_QUEUE\nqueue = 7\n" in answer.out
    assert '# from: command line\nauth = "on"\n' in answer.out
    file.write_text(answer.out)
    assert call("serve", "--config", file).code == 0
    assert (served[0].port, served[0].queue, served[0].auth) == (6000, 7, "on")


def test_the_config_file_may_be_given_before_or_after_the_command(call, served, tmp_path):
    for name, port in (("a.toml", 1), ("b.toml", 2)):
        (tmp_path / name).write_text(f"port = {port}")
    assert call("--config", tmp_path / "a.toml", "serve").code == 0
    assert call("--config", tmp_path / "a.toml", "serve", "--config", tmp_path / "b.toml").code == 0
    assert [settings.port for settings in served] == [1, 2]


def test_a_public_service_without_keys_suggests_creating_one(call, monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEFINDER_STATE", str(tmp_path))
    answer = call("serve", "--host", "0.0.0.0", "--port", "0", "-c", tmp_path / "c")
    assert answer.code == 2
    assert "imagefinder keys create NAME --write" in answer.err
    assert not (tmp_path / "c").exists()

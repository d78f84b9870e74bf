from pathlib import Path

import pytest

from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings


def test_later_sources_win(tmp_path):
    file = tmp_path / "imagefinder.toml"
    file.write_text('port = 6000\nhost = "0.0.0.0"\nbatch_size = 4\ncollection = "/a"\n')
    environment = {"IMAGEFINDER_PORT": "7000", "IMAGEFINDER_BATCH_SIZE": "8", "PATH": "x"}
    settings = Settings.load(environment=environment, file=file, overrides={"batch_size": 16, "port": None})
    assert (settings.port, settings.host, settings.batch_size) == (7000, "0.0.0.0", 16)
    assert settings.collection == Path("/a")


def test_the_environment_can_name_the_file(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("fetch_timeout = 3")
    assert Settings.load(environment={"IMAGEFINDER_CONFIG": str(file)}).fetch_timeout == 3.0


def test_home_is_expanded():
    assert Settings.load(environment={"IMAGEFINDER_COLLECTION": "~/x"}).collection == Path.home() / "x"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"IMAGEFINDER_PORT": "http"}, "IMAGEFINDER_PORT: port must be int, not 'http'"),
        ({"IMAGEFINDER_BATCH_SIZE": "0"}, "batch_size must be at least 1, not 0"),
        ({"IMAGEFINDER_PROT": "1"}, "there is no setting 'prot'"),
        ({"IMAGEFINDER_CONFIG": "/nowhere/x.toml"}, "cannot read the settings file /nowhere/x.toml"),
    ],
)
def test_mistakes_are_named(environment, message):
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment=environment)
    assert message in str(caught.value)


def test_a_broken_file_is_named(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("port = ")
    with pytest.raises(SettingsError, match=r"s\.toml is not valid TOML"):
        Settings.load(environment={}, file=file)


def test_every_setting_is_described():
    rows = Settings().describe()
    assert len(rows) == len(Settings.__slots__)
    assert all(name and value and text for name, value, text in rows)


def test_variables_of_container_platforms_are_not_settings():
    links = {
        "IMAGEFINDER_PORT": "tcp://10.0.0.7:5000",
        "IMAGEFINDER_SERVICE_HOST": "10.0.0.7",
        "IMAGEFINDER_SERVICE_PORT_HTTP": "5000",
        "IMAGEFINDER_PORT_5000_TCP_ADDR": "10.0.0.7",
    }
    assert Settings.load(environment=links) == Settings()


@pytest.mark.parametrize(
    ("text", "value"), [("false", False), ("No", False), ("0", False), ("TRUE", True), ("1", True)]
)
def test_switches(text, value):
    assert Settings.load(environment={"IMAGEFINDER_ISOLATE": text}).isolate is value


def test_a_switch_that_is_neither():
    with pytest.raises(SettingsError, match="isolate must be bool, not 'perhaps'"):
        Settings.load(environment={"IMAGEFINDER_ISOLATE": "perhaps"})

import dataclasses
import tomllib
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings


def test_later_sources_win(tmp_path):
    file = tmp_path / "imagefinder.toml"
    file.write_text('port = 6000\nhost = "0.0.0.0"\nbatch_size = 4\ncollection = "/a"\n')
    environment = {"IMAGEFINDER_PORT": "7000", "IMAGEFINDER_BATCH_SIZE": "8", "PATH": "x"}
    settings = Settings.load(environment=environment, file=file, overrides={"batch_size": 16, "port": None})
    assert (settings.port, settings.host, settings.batch_size) == (7000, "0.0.0.0", 16)
    assert settings.collection == "/a"


def test_the_environment_can_name_the_file(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("fetch_timeout = 3")
    assert Settings.load(environment={"IMAGEFINDER_CONFIG": str(file)}).fetch_timeout == 3.0


def test_home_is_expanded():
    for setting in ("collection", "models"):
        chosen = Settings.load(environment={f"IMAGEFINDER_{setting.upper()}": "~/x"})
        assert getattr(chosen, setting) == type(getattr(chosen, setting))(Path.home() / "x")


def test_a_collection_is_named_by_a_path_or_a_url(tmp_path):
    for value in (tmp_path / "a b", str(tmp_path / "a b"), (tmp_path / "a b").as_uri()):
        loaded = Settings.load(environment={}, overrides={"collection": value})
        for settings in (Settings(collection=value), loaded):
            assert settings.collection == str(tmp_path / "a b")
            assert settings.folder("collection") == tmp_path / "a b"
    with pytest.raises(SettingsError, match="collection must be text"):
        Settings.load(environment={}, overrides={"collection": 3})


def test_the_password_of_a_collection_is_not_printed():
    settings = Settings(collection="postgresql://ann:s3cret@db.example/shop")
    for text in (settings.to_toml({}), str(settings.describe())):
        assert "s3cret" not in text
        assert "postgresql://***@db.example/shop" in text
    with pytest.raises(SettingsError, match="not in a folder") as caught:
        settings.folder("collection")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"IMAGEFINDER_PORT": "http"}, "IMAGEFINDER_PORT: port must be a whole number, not 'http'"),
        ({"IMAGEFINDER_BATCH_SIZE": "0"}, "batch_size must be at least 1, not 0"),
        ({"IMAGEFINDER_PRECISION": "f16"}, "precision must be one of auto, f32, bf16, int8, not 'f16'"),
        ({"IMAGEFINDER_PROT": "1"}, "unknown setting 'prot'"),
        ({"IMAGEFINDER_CONFIG": "/nowhere/x.toml"}, "cannot read the settings file /nowhere/x.toml"),
    ],
)
def test_errors_name_the_setting(environment, message):
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment=environment)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "text", "value"),
    [
        ('["a.example", "b.example"]', "a.example, b.example", ("a.example", "b.example")),
        ('["a.example"]', "a.example", ("a.example",)),
        ("[]", "", ()),
    ],
)
def test_lists(tmp_path, toml, text, value):
    file = tmp_path / "s.toml"
    file.write_text(f"allowed_hosts = {toml}")
    assert Settings.load(environment={}, file=file).allowed_hosts == value
    assert Settings.load(environment={"IMAGEFINDER_ALLOWED_HOSTS": text}).allowed_hosts == value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"auth": "maybe"}, "auth must be one of auto, on, off, not 'maybe'"),
        ({"log_format": ""}, "log_format must be one of text, json, not ''"),
        ({"request_seconds": float("nan")}, "request_seconds must be at least 0, not nan"),
        ({"allowed_hosts": 3}, "allowed_hosts must be list of str, not 3"),
    ],
)
def test_invalid_values_are_rejected_by_name(values, message):
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment={}, overrides=values)
    assert message in str(caught.value)


def test_origins_of_values(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("port = 1\nhost = '::1'\nqueue = 9")
    chosen, origins = Settings.load_with_origins(
        environment={"IMAGEFINDER_PORT": "2", "IMAGEFINDER_HOST": "::1"}, file=file, overrides={"port": 3}
    )
    assert (chosen.port, chosen.queue) == (3, 9)
    assert origins == {
        "port": "command line",
        "host": "environment variable IMAGEFINDER_HOST",
        "queue": f"file {file}",
    }
    text = chosen.to_toml(origins)
    assert f"# from: file {file}\nqueue = 9\n" in text
    assert "# from: default\nbatch_size = 16\n" in text


@given(
    st.builds(
        Settings,
        host=st.text(),
        allowed_hosts=st.lists(st.text()).map(tuple),
        port=st.integers(0, 2**40),
        request_seconds=st.floats(0, 10**9),
        collection=st.text(min_size=1).filter(lambda text: "://" not in text),
        auth=st.sampled_from(["auto", "on", "off"]),
    )
)
def test_toml_round_trip(settings):
    values = tomllib.loads(settings.to_toml({"host": "a\nport = 3"}))
    assert list(values) == [item.name for item in dataclasses.fields(Settings)]
    again = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    paths = {name: Path(again[name]) for name, kind in get_type_hints(Settings).items() if kind is Path}
    assert Settings(**{**again, **paths}) == settings


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
def test_booleans(text, value):
    assert Settings.load(environment={"IMAGEFINDER_ISOLATE": text}).isolate is value


def test_invalid_booleans():
    with pytest.raises(SettingsError, match="isolate must be true or false"):
        Settings.load(environment={"IMAGEFINDER_ISOLATE": "perhaps"})


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e400", "1e308", "9" * 30])
@pytest.mark.parametrize("name", ["shutdown_seconds", "request_seconds", "decode_memory", "port"])
def test_numbers_that_nothing_can_use_are_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.load(environment={f"IMAGEFINDER_{name.upper()}": text})


@pytest.mark.parametrize("name", ["cp93", "base64", "utf-16", ""])
def test_an_encoding_that_names_cannot_have(name):
    with pytest.raises(SettingsError, match="zip_encoding: unknown encoding"):
        Settings(zip_encoding=name)
    assert Settings(zip_encoding="cp932").zip_encoding == "cp932"


def test_the_parameters_of_an_object_store_are_not_shown():
    settings = Settings(objects="s3://bucket/p?secret_access_key=hidden")
    assert "hidden" not in str(settings.describe())
    assert "hidden" not in settings.to_toml({})
    assert 'objects = "s3://bucket/p?..."' in settings.to_toml({})


def test_a_database_of_collections_contains_the_default_one() -> None:
    url = "postgresql://ann:s3cret@db/images?sslmode=require"
    settings, origins = Settings.load_with_origins(environment={"IMAGEFINDER_COLLECTIONS": url})
    assert (settings.database, settings.collection) == (
        url,
        "postgresql://ann:s3cret@db/images/default?sslmode=require",
    )
    assert origins["collection"] == "environment variable IMAGEFINDER_COLLECTIONS"
    assert "s3cret" not in settings.to_toml(origins) + str(settings.describe())
    named = Settings.load(environment={"IMAGEFINDER_COLLECTIONS": url}, overrides={"collection": "/x"})
    assert named.collection == "/x"
    assert Settings.load(environment={}).database == ""

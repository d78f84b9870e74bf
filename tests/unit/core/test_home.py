from pathlib import Path
from types import SimpleNamespace

import pytest

from imagefinder.core import home
from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings


@pytest.fixture
def no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is not in the user database."""

    def missing(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", missing)


@pytest.mark.parametrize("value", [None, "", "relative", "./x"])
def test_without_a_usable_variable_the_user_database_is_asked(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pwd.getpwuid", lambda number: SimpleNamespace(pw_dir="/users/me"))
    monkeypatch.delenv("HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("HOME", value)
    assert home.home_folder() == Path("/users/me")
    assert home.expand("~/pictures") == Path("/users/me/pictures")
    monkeypatch.setenv("HOME", "/elsewhere")
    assert home.expand("~/pictures") == Path("/elsewhere/pictures")


@pytest.mark.usefixtures("no_entry")
@pytest.mark.parametrize("value", ["", "relative"])
def test_no_home_folder(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", value)
    assert home.home_folder() is None
    assert home.expand("~/pictures") == Path("~/pictures")
    assert home.expand("/pictures") == Path("/pictures")
    assert home.expand("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    assert home.check(Path("/pictures"), "x", hint="") == Path("/pictures")
    with pytest.raises(SettingsError, match="HOME is not set") as error:
        home.check(home.expand("~/pictures"), "x", hint="set Y")
    assert error.value.hint == "set Y"


@pytest.mark.usefixtures("no_entry")
def test_settings_need_no_home_folder_until_a_folder_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "ignored/because/relative")
    settings = Settings.load(environment={"IMAGEFINDER_STATE": "~/state"})
    assert settings.describe()
    for name in ("collection", "collections", "models", "state"):
        with pytest.raises(SettingsError, match=f"setting {name} .*~/") as error:
            settings.folder(name)
        assert f"IMAGEFINDER_{name.upper()} or XDG_DATA_HOME" in error.value.hint
    assert Settings(collection=Path("/c")).folder("collection") == Path("/c")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert Settings().folder("models") == Path("/data/imagefinder/models")

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from imagefinder.core import registry
from imagefinder.core.errors import SettingsError


def test_built_ins_are_registered_as_entry_points():
    assert "sift" in registry.names(registry.METHODS)
    assert {"embedded", "memory"} <= set(registry.names(registry.STORES))
    assert callable(registry.load(registry.METHODS, "sift"))


def test_unknown_name():
    with pytest.raises(KeyError):
        registry.load(registry.METHODS, "telepathy")


def test_a_broken_plugin_is_named(monkeypatch):
    broken = EntryPoint("broken", "no_such_package:thing", registry.METHODS)
    monkeypatch.setattr(registry, "_installed", lambda _: EntryPoints([broken]))
    with pytest.raises(SettingsError, match=r"broken \(no_such_package:thing.*cannot be loaded"):
        registry.load(registry.METHODS, "broken")


def test_a_package_installed_meanwhile_is_found_on_its_path(tmp_path, monkeypatch):
    registry.names(registry.METHODS)
    folder = tmp_path / "late-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[imagefinder.methods]\nlate = late:method\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "late" in registry.names(registry.METHODS)

from importlib.metadata import EntryPoint

import pytest

from imagefinder.core import registry
from imagefinder.core.errors import SettingsError


def test_built_ins_are_registered_as_entry_points():
    assert {"sift", "resnet50", "beit", "efficientnet-lite0"} <= set(registry.names(registry.METHODS))
    assert {"embedded", "memory"} <= set(registry.names(registry.STORES))
    assert callable(registry.load(registry.METHODS, "sift"))


def test_unknown_name():
    with pytest.raises(KeyError):
        registry.load(registry.METHODS, "telepathy")


def test_a_broken_plugin_is_named(monkeypatch):
    broken = EntryPoint("broken", "no_such_package:thing", registry.METHODS)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [broken])
    with pytest.raises(SettingsError, match=r"broken \(no_such_package:thing.*cannot be loaded"):
        registry.load(registry.METHODS, "broken")

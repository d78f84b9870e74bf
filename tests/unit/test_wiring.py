"""Which store a location opens."""

import sys
from dataclasses import replace

import pytest

import imagefinder
from imagefinder import wiring
from imagefinder.core import registry
from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings
from imagefinder.stores.memory import MemoryStore


def test_paths_and_file_urls_open_the_same_collection(tmp_path):
    folder = tmp_path / "a collection"
    with imagefinder.open(folder) as one, imagefinder.open(folder.as_uri(), create=False) as other:
        assert one.info().location == other.info().location == str(folder)
        assert one.settings == other.settings


def test_the_setting_store_is_that_of_paths(tmp_path):
    with imagefinder.open(tmp_path / "c", settings=Settings(store="memory")) as collection:
        assert collection.info().location == "memory"
    with pytest.raises(SettingsError, match="unknown store 'memroy'") as caught:
        imagefinder.open(tmp_path / "c", settings=Settings(store="memroy"))
    assert "memory" in caught.value.hint
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("scheme", ["postgres", "s3", "embedded", "https"])
def test_another_kind_of_collection_is_refused_without_its_password(tmp_path, monkeypatch, scheme):
    monkeypatch.chdir(tmp_path)
    location = f"{scheme}://ann:s3cret@db.example:5432/shop?password=s3cret"
    for use in (
        lambda: imagefinder.open(location),
        lambda: wiring.check_collection(Settings(collection=location), repair=True),
    ):
        with pytest.raises(SettingsError) as caught:
            use()
        assert caught.value.message == (
            f"unknown kind of collection: {scheme.lower()}://..., imagefinder opens folders and postgresql://..."
        )
        assert "s3cret" not in str(caught.value) + caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_database_needs_packages(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("imagefinder.stores.distributed")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match="not installed: psycopg") as caught:
        imagefinder.open("PostgreSQL://ann:s3cret@db.example:5432/main/shop")
    assert "imagefinder[cluster]" in caught.value.hint
    assert "s3cret" not in str(caught.value) + caught.value.hint


def test_a_migration_is_that_of_a_folder():
    with pytest.raises(SettingsError, match="'postgresql' has no format versions"):
        wiring.migrate_collection(Settings(collection="postgresql://db/shop"))


def test_the_scheme_names_the_store_of_a_plug_in(monkeypatch):
    opened = []

    def make(location, settings, create):
        opened.append((location, settings.collection, create))
        return MemoryStore()

    monkeypatch.setattr(registry, "load", lambda group, name: {(registry.STORES, "toy"): make}[group, name])
    settings = Settings(store="embedded")
    with imagefinder.open("toy://host/a//b", settings=settings, create=False) as collection:
        assert collection.settings == replace(settings, collection="toy://host/a//b")
    assert opened == [("toy://host/a//b", "toy://host/a//b", False)]

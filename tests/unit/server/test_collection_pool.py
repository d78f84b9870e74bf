from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from imagefinder.core.errors import CollectionMovedError, ImagefinderError, StoreError
from imagefinder.core.settings import Settings
from imagefinder.server.catalogue.folders import FolderCatalogue
from imagefinder.server.collection_pool import DEFAULT, CollectionPool
from imagefinder.server.errors import Problem
from imagefinder.stores.embedded.schema import FILE_NAME
from imagefinder.wiring import open_collection


class Opener:
    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(self, settings: Settings, create: bool) -> Any:
        self.opened.append(Path(settings.collection).name)
        return open_collection(settings, create=create)


@pytest.fixture
def opener() -> Opener:
    return Opener()


def pool(settings: Settings, opener: Opener) -> CollectionPool:
    catalogue = FolderCatalogue(Path(settings.collections))
    return CollectionPool(open_collection(settings, create=True), settings, opener, catalogue)


@pytest.fixture
def collections(tmp_path: Path, opener: Opener) -> Any:
    settings = Settings(collection=tmp_path / "mine", collections=tmp_path / "others")
    collections = pool(settings, opener)
    yield collections
    collections.close()


def code_of(call: Any) -> str:
    with pytest.raises((Problem, ImagefinderError)) as caught:
        call()
    return caught.value.code


def test_create_find_and_delete(collections: Any, tmp_path: Path) -> None:
    assert collections.names() == [DEFAULT]
    made, new = collections.create("shop")
    assert new
    assert collections.create("shop") == (made, False)
    assert collections.get("shop") is made
    assert collections.names() == [DEFAULT, "shop"]
    assert (tmp_path / "others" / "shop" / "collection.sqlite").exists()
    collections.delete("shop")
    assert collections.names() == [DEFAULT]
    assert list((tmp_path / "others").iterdir()) == []
    assert code_of(lambda: collections.get("shop")) == "unknown_collection"
    with pytest.raises(StoreError):
        made.images()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../mine", "a/b", "A", "-a", "_a", "a.b", "ä", "a" * 64, "a\n", "a\0", "%2e%2e", ".deleted-1"],
)
def test_no_name_escapes_the_folder(collections: Any, name: str, opener: Opener, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    assert code_of(lambda: collections.get(name)) == "unknown_collection"
    assert code_of(lambda: collections.create(name)) == "invalid_parameter"
    assert code_of(lambda: collections.delete(name)) == "unknown_collection"
    assert opener.opened == []
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_default_collection_cannot_be_deleted(collections: Any) -> None:
    assert collections.get(DEFAULT).info().images == 0
    assert code_of(lambda: collections.delete(DEFAULT)) == "collection_protected"
    assert code_of(lambda: collections.create(DEFAULT)) == "invalid_parameter"


def test_a_symbolic_link_can_be_used_but_not_deleted(collections: Any, tmp_path: Path) -> None:
    collections.create("shop")
    (tmp_path / "others" / "linked").symlink_to(tmp_path / "others" / "shop")
    assert collections.get("linked").info().images == 0
    assert code_of(lambda: collections.delete("linked")) == "collection_protected"


def test_other_folders_are_not_collections(collections: Any, tmp_path: Path) -> None:
    (tmp_path / "others" / "empty").mkdir(parents=True)
    (tmp_path / "others" / "file").write_text("x")
    assert code_of(lambda: collections.get("empty")) == "unknown_collection"
    assert code_of(lambda: collections.get("file")) == "unknown_collection"


def test_the_number_of_open_collections_is_limited(
    collections: Any, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collections, "_max_open", 2)
    collection = collections.create("a")[0]
    for name in "bcd":
        collections.create(name)
    gc.collect()
    assert collections.get("a") is collection
    opener.opened.clear()
    collections.get("b")
    assert opener.opened == ["b"]
    assert collection.info().images == 0


def test_a_collection_in_memory_stays_open(tmp_path: Path, opener: Opener) -> None:
    settings = Settings(store="memory", collections=tmp_path / "others")
    collections = pool(settings, opener)
    made, _ = collections.create("a")
    del made
    gc.collect()
    assert collections.names() == ["a", DEFAULT]
    collections.get("a")
    collections.delete("a")
    assert collections.names() == [DEFAULT]
    collections.close()
    assert not (tmp_path / "others").exists()


def test_the_number_of_collections_is_limited(collections: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagefinder.server.collection_pool.MAX_COLLECTIONS", 1)
    collections.create("a")
    assert code_of(lambda: collections.create("b")) == "too_many_collections"
    assert not collections.create("a")[1]


def test_leftovers_of_deletions_are_removed(collections: Any, tmp_path: Path) -> None:
    collections.create("a")
    (tmp_path / "others" / ".deleted-1234").mkdir()
    (tmp_path / "others" / ".deleted-1234" / "collection.sqlite").write_text("x")
    assert collections.names() == ["a", DEFAULT]
    collections.remove_leftovers()
    assert [path.name for path in (tmp_path / "others").iterdir()] == ["a"]


def test_a_closed_pool_opens_nothing(collections: Any) -> None:
    made = collections.create("a")[0]
    collections.close()
    collections.close()
    with pytest.raises(StoreError):
        made.images()
    with pytest.raises(StoreError):
        collections.get("default").images()


def test_a_moved_default_collection_is_refused_until_it_is_back(collections: Any, tmp_path: Path) -> None:
    default = collections.get(DEFAULT)
    (tmp_path / "mine").rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(CollectionMovedError):
            collections.get(DEFAULT)
        with pytest.raises(CollectionMovedError):
            collections.current_default()
    (tmp_path / "mine").mkdir()
    with pytest.raises(CollectionMovedError):
        collections.get(DEFAULT)
    assert list((tmp_path / "mine").iterdir()) == []
    (tmp_path / "mine").rmdir()
    (tmp_path / "away").rename(tmp_path / "mine")
    assert collections.get(DEFAULT) is default


def test_a_replaced_default_collection_is_opened_after_one_error(collections: Any, tmp_path: Path) -> None:
    """The request that notices it fails, because its client may rely on the former state."""
    default = collections.get(DEFAULT)
    default.backup(tmp_path / "backup")
    (tmp_path / "mine").rename(tmp_path / "away")
    (tmp_path / "backup").rename(tmp_path / "mine")
    with pytest.raises(CollectionMovedError):
        collections.get(DEFAULT)
    restored = collections.get(DEFAULT)
    assert restored is not default
    assert restored.info().images == 0
    with pytest.raises(CollectionMovedError):
        default.info()


def test_a_half_copied_collection_is_not_opened(collections: Any, tmp_path: Path) -> None:
    collections.get(DEFAULT).backup(tmp_path / "backup")
    (tmp_path / "mine").rename(tmp_path / "away")
    (tmp_path / "mine").mkdir()
    file, data = tmp_path / "mine" / FILE_NAME, (tmp_path / "backup" / FILE_NAME).read_bytes()
    for size in (0, 50, 4096, len(data) // 2, len(data) - 8192):
        file.write_bytes(data[:size])
        with pytest.raises(StoreError):
            collections.get(DEFAULT)
    file.write_bytes(data)
    with pytest.raises(CollectionMovedError):
        collections.get(DEFAULT)
    assert collections.get(DEFAULT).check().sound


def test_named_collections_that_are_moved_or_replaced(collections: Any, tmp_path: Path) -> None:
    shop = collections.create("shop")[0]
    shop.backup(tmp_path / "backup")
    folder = tmp_path / "others" / "shop"
    folder.rename(tmp_path / "away")
    assert code_of(lambda: collections.get("shop")) == "unknown_collection"
    (tmp_path / "backup").rename(folder)
    assert collections.get("shop") is not shop
    (folder / FILE_NAME).unlink()
    with pytest.raises(CollectionMovedError):
        collections.get("shop")
    assert code_of(lambda: collections.get("shop")) == "unknown_collection"
    made, new = collections.create("shop")
    assert new
    assert made.info().images == 0

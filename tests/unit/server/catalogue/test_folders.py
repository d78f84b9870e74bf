from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.errors import CollectionProtectedError
from imagefinder.server.catalogue.folders import FolderCatalogue
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.testing.services import CatalogueSuite


class TestFolderCatalogue(CatalogueSuite):
    @pytest.fixture
    def make_catalogue(self, tmp_path: Path) -> Callable[[], FolderCatalogue]:
        return lambda: FolderCatalogue(tmp_path / "collections")

    @pytest.fixture
    def open_store(self) -> Callable[[str, bool], Store]:
        return lambda location, create: EmbeddedStore(Path(location), create=create, cache_bytes=0)


def test_a_link_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "collections"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    catalogue = FolderCatalogue(folder)
    assert catalogue.names() == ["linked"]
    with pytest.raises(CollectionProtectedError):
        catalogue.check_deletable("linked")


def test_what_an_interrupted_deletion_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".deleted-0123"
    left.mkdir()
    (left / "collection.sqlite").write_bytes(b"")
    catalogue = FolderCatalogue(tmp_path)
    assert catalogue.names() == []
    catalogue.remove_leftovers()
    assert not left.exists()

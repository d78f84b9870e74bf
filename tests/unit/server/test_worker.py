from __future__ import annotations

from pathlib import Path

import pytest

from imagefinder.core.errors import CollectionNotFoundError
from imagefinder.core.settings import Settings
from imagefinder.server.catalogue.folders import FolderCatalogue
from imagefinder.server.worker import OpenCollections
from imagefinder.wiring import open_collection


def test_collections_stay_open_until_they_are_replaced(tmp_path: Path) -> None:
    catalogue = FolderCatalogue(tmp_path)
    settings = Settings(threads=1, isolate=False)
    collections = OpenCollections(settings, catalogue)
    with pytest.raises(CollectionNotFoundError):
        collections.get("shop")

    def create() -> None:
        open_collection(Settings(collection=catalogue.location("shop"), threads=1), create=True).close()

    create()
    opened = collections.get("shop")
    assert collections.get("shop") is opened
    catalogue.delete("shop")
    with pytest.raises(CollectionNotFoundError):
        collections.get("shop")
    create()
    again = collections.get("shop")
    assert again is not opened
    assert again.info().images == 0
    collections.close()

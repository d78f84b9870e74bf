"""Tests for the contract of catalogues; subclass ``CatalogueSuite`` in your own tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagefinder.core.contracts import Store
from imagefinder.core.errors import CollectionNotFoundError
from imagefinder.core.service_contracts import Catalogue

MakeCatalogue = Callable[[], Catalogue]
OpenStore = Callable[[str, bool], Store]


class CatalogueSuite:
    """Provide the fixtures ``make_catalogue`` and ``open_store``; every test then runs on your catalogue."""

    @pytest.fixture
    def make_catalogue(self) -> MakeCatalogue:
        """Open a new catalogue; each call opens the same one, as another process would."""
        raise NotImplementedError("provide a fixture named make_catalogue")

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Open the store at a location; create it if the flag is true."""
        raise NotImplementedError("provide a fixture named open_store")

    def test_collections_are_created_at_their_locations(
        self, make_catalogue: MakeCatalogue, open_store: OpenStore
    ) -> None:
        """Each process sees the collection that was created at the location of a name."""
        catalogue = make_catalogue()
        assert catalogue.names() == []
        assert not catalogue.exists("shop")
        with pytest.raises(CollectionNotFoundError):
            open_store(catalogue.location("shop"), False)
        for name in ("shop", "a-1_b"):
            open_store(catalogue.location(name), True).close()
        for seen in (catalogue, make_catalogue()):
            assert seen.names() == ["a-1_b", "shop"]
            assert seen.exists("shop")
            assert not seen.exists("sho")
            assert open_store(seen.location("shop"), False).info().images == 0

    def test_a_deleted_collection_is_gone(self, make_catalogue: MakeCatalogue, open_store: OpenStore) -> None:
        """Its name can be used again, for an empty collection; another collection is unchanged."""
        catalogue = make_catalogue()
        for name in ("shop", "other"):
            store = open_store(catalogue.location(name), True)
            store.put_derived("report", name.encode())
            store.close()
        catalogue.check_deletable("shop")
        catalogue.delete("shop")
        assert catalogue.names() == make_catalogue().names() == ["other"]
        with pytest.raises(CollectionNotFoundError):
            open_store(catalogue.location("shop"), False)
        again = open_store(catalogue.location("shop"), True)
        assert again.derived("report") is None
        kept = open_store(catalogue.location("other"), False).derived("report")
        assert kept is not None
        assert kept.data == b"other"

    def test_leftovers_can_be_removed_at_any_time(
        self, make_catalogue: MakeCatalogue, open_store: OpenStore
    ) -> None:
        """Complete collections stay."""
        catalogue = make_catalogue()
        catalogue.remove_leftovers()
        open_store(catalogue.location("shop"), True).close()
        catalogue.remove_leftovers()
        assert catalogue.names() == ["shop"]

"""Listings of images: status and pages."""

from __future__ import annotations

from typing import Any

import pytest

from imagefinder.core import filters
from imagefinder.core.contracts import Store
from imagefinder.core.errors import MethodNotIndexedError
from imagefinder.core.filters import contains_text
from imagefinder.core.listing import Selection
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import (
    METHODS,
    ODD_IDS,
    entry,
)


class ListingSuite(StoreFixtures):
    """Tests of ``status``, ``images``, ``count`` and ``matching``."""

    def test_status(self, store: Store) -> None:
        """Existing images are reported, also for more ids than a database accepts in one statement."""
        store.put([entry("a", 1, methods=["points"]), entry("b", 2)])
        many = [f"unknown {number}" for number in range(40_000)]
        found = store.status(["b", *many, "a", "b"])
        assert set(found) == {"a", "b"}
        assert found["a"].methods == {"points"}
        assert found["b"].methods == set(METHODS)
        assert (found["a"].sha256, found["a"].stamp) == (f"{1:064x}", "1000:1")
        assert found["a"].uri == "file:///images/1.jpg"
        assert store.status([]) == {}

    def test_pages(self, store: Store) -> None:
        """Pages follow one another in order of code points, without gaps or overlaps."""
        ids = [*ODD_IDS, *(f"image {number}" for number in range(30))]
        store.put([entry(image_id, seed, methods=[]) for seed, image_id in enumerate(ids)])
        for size in (1, 7, 100):
            pages: list[str] = []
            while page := store.images(after=pages[-1] if pages else "", limit=size):
                assert len(page) <= size
                pages += [record.id for record in page]
            assert pages == sorted(ids)
        assert store.images(limit=0) == []
        assert [record.id for record in store.images(after="image 5", limit=2)] == ["image 6", "image 7"]
        assert store.images(after="\U0010ffff") == []

    def test_filters(self, store: Store) -> None:
        """Pages, counts, ids and features are those of the matching images, however the store evaluates JSON."""
        values: list[Any] = [
            *(0, 1, 1.0, -1.5, 2**53 + 1, 2**63, 2**70, 1e300, True, False, None, "", "1", "a", "A", "b\0c", "ä"),
            *([], ["a", 1], [[1]], {}, {"n": 1}, {"n": {"n": "a"}}, {"a": 1, "n": "b"}),
        ]
        for seed, value in enumerate(values):
            store.put([entry(f"{seed:02}", seed, methods=["vector"], metadata={"n": value, 'k"\\.[0]': value})])
        store.put([entry("99", 99, methods=[], metadata={})])
        deep: dict[str, Any] = {}
        for _ in range(400):
            deep = {"n": [deep]}
        store.put([entry("98", 98, methods=["vector"], metadata=deep)])
        all_records = store.images(limit=1000)
        changes = store.changes("vector", None)
        assert store.count() == len(all_records) == len(changes.new) + 1
        operands: list[Any] = [*values, 2**53, -(2**63), 1e-300]
        conditions: list[Any] = [{"n": {"eq": operand}} for operand in operands]
        for sign in ("gt", "gte", "lt", "lte"):
            numbers = [v for v in operands if isinstance(v, int | float | str) and not isinstance(v, bool)]
            conditions += [{"n": {sign: operand}} for operand in numbers]
        conditions += [{"n": {"in": operands[first : first + 3]}} for first in range(len(operands))]
        conditions += [{"n": {"in": []}}, {"n": {"contains": "A"}}, {"n.n": 1}, {"n.n.n": "a"}]
        conditions += [{key: {"exists": there}} for key in ("n", "n.n", "m") for there in (True, False)]
        conditions += [{r'k"\\\.[0]': 1}, {"not": {"n": 1}}, {"any": [{"n": 1}, {"n": "a"}]}, {}]
        conditions += [{"all": [{"n": {"gte": 0}}, {"not": {"n": {"gt": 1}}}]}, {"n": "a", "not": {"n": "a"}}]
        for condition in conditions:
            where = filters.parse(condition)
            expected = [record.id for record in all_records if where.matches(record.metadata)]
            found: list[str] = []
            while page := store.images(after=found[-1] if found else "", limit=5, where=where):
                found += [record.id for record in page]
            assert found == expected, condition
            assert store.count(where) == len(expected), condition
            assert store.matching(where).keys() == set(expected), condition
            some = store.matching(where, ["98", "01", "gone", "", "01"])
            assert some.keys() == {"98", "01"} & set(expected), condition
            keys, block = store.load("vector", changes.new, where=where)
            assert [*block.ids] == sorted(set(expected) - {"99"}), condition
            assert set(keys.tolist()) <= set(changes.new.tolist())
        assert store.images(where=filters.parse({}), limit=0) == []
        assert store.matching(filters.parse({}), []) == {}
        with pytest.raises(TypeError):
            store.matching(filters.parse({}), "01")
        with pytest.raises(MethodNotIndexedError):
            store.load("unregistered", changes.new, where=filters.parse({}))

    def test_pages_with_a_text(self, store: Store) -> None:
        """The text is found in ids and metadata, case-insensitively, also combined with other conditions."""
        store.put(
            [
                entry("Cat.jpg", 1, methods=[], source="s"),
                entry("dog.jpg", 2, methods=[], metadata={"tags": ["near a CAT"]}),
                entry("Größe", 3, methods=[], metadata={"n": {"text": "100 %"}}, source="s"),
                entry("cat", 4, methods=[], metadata={"cat": "key only"}),
            ]
        )

        def found(contains: str, **rest: Any) -> list[str]:
            return [record.id for record in store.images(contains=contains, **rest)]

        assert found("cat") == ["Cat.jpg", "cat", "dog.jpg"]
        assert found("GRÖSSE") == ["Größe"]
        assert found("%") == ["Größe"]
        assert found("_") == []
        assert found("cat", source="s") == ["Cat.jpg"]
        assert found("cat", after="Cat.jpg", limit=1) == ["cat"]
        assert found("cat", where=filters.parse({"tags": {"exists": True}})) == ["dog.jpg"]

    def test_any_text_is_found(self, store: Store) -> None:
        """Texts with characters that databases or JSON treat specially."""
        store.put([entry(image_id, seed, methods=[]) for seed, image_id in enumerate(ODD_IDS)])
        texts = ["a%b", "a_b", "a!b", 'a"b', "a\\b", "A\0b", "a\nb", "\u017ftraße", "\u212a", "x" * 300, "K"]
        store.put([entry(f"m{seed}", seed, methods=[], metadata={"t": [text]}) for seed, text in enumerate(texts)])
        records = store.images(limit=1000)
        for text in (*texts, *ODD_IDS, *'%_!"\\kKsS\0n/', "inside", "strasse", "b\0", "\\u", "\\n", "303"):
            expected = [one.id for one in records if contains_text(text, one.id, one.searchable)]
            assert [one.id for one in store.images(contains=text, limit=1000)] == expected, text
            assert [one.id for one in store.listing(Selection(contains=text), limit=1000)] == expected, text

    def test_pages_of_a_source(self, store: Store) -> None:
        """Pages contain only images that were added from this source."""
        store.put([entry(f"{number}", number, source=f"s{number % 2}") for number in range(10)])
        assert [record.id for record in store.images(source="s1", limit=3)] == ["1", "3", "5"]
        assert [record.id for record in store.images(source="s1", after="5")] == ["7", "9"]
        assert store.images(source="s") == []
        assert store.images(source="") == []

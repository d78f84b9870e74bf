"""Sorted listings of images, and their groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from imagefinder.core import filters
from imagefinder.core.contracts import Store
from imagefinder.core.errors import InputError
from imagefinder.core.file_metadata import NO_FILE_METADATA, FileMetadata
from imagefinder.core.listing import (
    EVERYTHING,
    GROUPS,
    SORTS,
    Group,
    ListPosition,
    Order,
    Selection,
    group_values,
    listing_row,
)
from imagefinder.core.records import Entry
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import ODD_IDS, entry

ORDERS = [Order(sort, descending) for sort in SORTS for descending in (False, True)]

_FOLDERS = ("", "a", "a/b", "a/b/c", "a b", "a/b0", "ab", "é", "nul\0")

SELECTIONS = [
    EVERYTHING,
    *(Selection(folder=folder) for folder in (*_FOLDERS[1:], "unknown", "a/", "%", "_")),
    *(Selection(taken=taken) for taken in ("2024", "2024-05", "2024-05-03", "1970", "2024-05-03T10", "%")),
    Selection(formats=("JPEG",)),
    Selection(formats=("JPEG", "PNG"), cameras=("Canon EOS R5",)),
    Selection(cameras=("",), ratings=(0, 5)),
    Selection(places=("Zürich", "Oslo", "Rome, Italy")),
    Selection(tags=("cat",)),
    Selection(tags=("cat", "ä")),
    Selection(tags=("nul\0tag",)),
    Selection(folder="a", taken="2024", formats=("JPEG",), ratings=(1, 2, 3, 4, 5), tags=("cat",)),
    Selection(where=filters.parse({"n": {"gte": 3}})),
    Selection(contains="IMG_1"),
    Selection(folder="a", tags=("cat",), where=filters.parse({"n": {"lt": 30}}), contains="img"),
]


def library() -> list[Entry]:
    """Images in folders, with and without metadata, some of them alike."""
    found = [entry(image_id, seed, methods=[]) for seed, image_id in enumerate(ODD_IDS)]
    for n in range(40):
        folder = _FOLDERS[n % len(_FOLDERS)]
        metadata: dict[str, Any] = {"n": n}
        of_file: dict[str, Any] = {}
        if n % 3:
            of_file["exif"] = {"taken": f"2024-0{n % 5 + 1}-0{n % 7 + 1}T10:{n % 4:02}:00+02:00"}
        if n % 4:
            of_file["exif"] = {**of_file.get("exif", {}), "camera": ("Canon EOS R5", "Pixel 8 ", "é")[n % 3]}
        if n % 5 == 0:
            of_file |= {"xmp": {"rating": n % 7 - 1}, "iptc": {"city": ("Zürich", "Rome", "Oslo")[n % 3]}}
        if n % 6 == 0:
            of_file["iptc"] = {**of_file.get("iptc", {}), "keywords": ["ä", "keyword"], "country": "Italy"}
        if n % 2:
            metadata["tags"] = [["cat", "ä", "cat"], "dog", ["nul\0tag", 7, ""], ["ä", "cat"]][n // 2 % 4]
        found.append(
            entry(
                f"{folder}/IMG_{n}.jpg" if folder else f"img_{n:03}.JPG",
                100 + n,
                methods=[],
                size_bytes=1000 + n // 4,
                format=("JPEG", "PNG", "HEIC")[n % 3],
                stamp=f"1000:{1_700_000_000 + n // 2 * 100_000}000000000:0:{n}" if n % 2 else "",
                metadata=metadata,
                file_metadata=FileMetadata(of_file, "1") if of_file else NO_FILE_METADATA,
            )
        )
    return found


class SortedListingSuite(StoreFixtures):
    """Tests of ``listing`` and ``groups``."""

    @pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.sort} {order.descending}")
    def test_sorted_pages(self, store: Store, order: Order) -> None:
        """Pages follow one another without gaps or overlaps, for every selection, also from the middle."""
        store.put(library())
        records = store.images(limit=1000)
        for selection in SELECTIONS:
            expected = [
                one.id for one in records if selection.accepts(listing_row(one)) and selection.accepts_record(one)
            ]
            positions = {one.id: order.position(one) for one in records}
            expected.sort(key=lambda i: (positions[i].value, i), reverse=order.descending)
            found: list[str] = []
            while page := store.listing(selection, order, after=positions[found[-1]] if found else None, limit=9):
                found += [record.id for record in page]
            assert found == expected, selection
            page = store.listing(selection, order, offset=5, limit=4)
            assert [record.id for record in page] == expected[5:9], selection
            assert page == [record for record_id in expected[5:9] for record in records if record.id == record_id]

    @pytest.mark.parametrize("by", GROUPS)
    def test_groups(self, store: Store, by: Any) -> None:
        """Groups are counted, for every selection and page by page."""
        store.put(library())
        records = store.images(limit=1000)
        for selection in SELECTIONS:
            values = Counter(
                value
                for one in records
                if selection.accepts(listing_row(one)) and selection.accepts_record(one)
                for value in group_values(listing_row(one), by)
            )
            expected = [Group(value, number) for value, number in sorted(values.items())]
            assert store.groups(by, selection) == expected, selection
            found: list[Group] = []
            while page := store.groups(by, selection, after=found[-1].value if found else None, limit=2):
                found += page
            assert found == expected, selection

    def test_stacks(self, store: Store) -> None:
        """A collapsed listing has the image with the smallest id of each stack; ``stack`` lists all."""

        def put(image_id: str, stack: str, camera: str = "") -> None:
            of_file = FileMetadata({"exif": {"camera": camera}} if camera else {}, "1", stack)
            store.put([entry(image_id, 1, methods=[], metadata={"n": 1}, file_metadata=of_file)])

        put("é", "s", "C")
        for image_id, stack in [("c", "s"), ("b", "t"), ("a", ""), ("d", "")]:
            put(image_id, stack)
        collapsed = Selection(collapsed=True)

        def ids(selection: Selection, **rest: Any) -> list[str]:
            return [record.id for record in store.listing(selection, **rest)]

        assert ids(collapsed) == ["a", "b", "c", "d"]
        assert ids(collapsed, order=Order("taken", descending=True)) == ["d", "c", "b", "a"]
        assert ids(collapsed, offset=2, limit=1) == ["c"]
        assert ids(replace(collapsed, where=filters.parse({"n": 1}))) == ["a", "b", "c", "d"]
        assert ids(replace(collapsed, cameras=("C",))) == []
        assert [one.images for one in store.groups("year", collapsed)] == [4]
        assert ids(Selection(stack="s")) == ["c", "é"]
        assert ids(Selection(stack="s", where=filters.parse({"n": 1}), collapsed=True)) == ["c"]
        assert ids(Selection(stack="gone")) == []
        assert [one.images for one in store.groups("format", Selection(stack="t"))] == [1]
        store.delete(["c"])
        assert ids(collapsed) == ["a", "b", "d", "é"]
        put("0", "s")
        assert ids(collapsed) == ["0", "a", "b", "d"]

    def test_listings_follow_changes(self, store: Store) -> None:
        """Every kind of change shows in listings, and a cursor stays valid."""
        order = Order("taken")
        images = [
            entry(f"{n}", n, methods=[], metadata={"exif": {"taken": f"2020-01-0{n}"}, "tags": ["old"]})
            for n in range(1, 7)
        ]
        store.put(images)
        first = store.listing(order=order, limit=3)
        after = order.position(first[-1])
        store.delete(["1", "3"])
        store.put([entry("0", 0, methods=[], metadata={"exif": {"taken": "2020-01-01"}})])
        store.put([entry("9", 9, methods=[], metadata={"exif": {"taken": "2020-01-05T12:00:00"}, "tags": "new"})])
        assert [one.id for one in store.listing(order=order, after=after)] == ["4", "5", "9", "6"]
        store.put([entry("5", 5, methods=[], metadata={"exif": {"taken": "2021-01-01"}})])
        assert [one.id for one in store.listing(order=order)] == ["0", "2", "4", "9", "6", "5"]
        assert store.groups("tag") == [Group("new", 1), Group("old", 3)]
        store.put([entry("t", 1, methods=[], stamp="1:1600000000000000000:1:1")])
        assert store.groups("year", after="2020") == [Group("2021", 1)]
        store.touch("t", uri="file:///elsewhere", stamp="1:1700000000000000000:1:1")
        assert store.groups("year", after="2020") == [Group("2021", 1), Group("2023", 1)]
        assert [one.id for one in store.listing(Selection(taken="2023"))] == ["t"]
        store.put_file_metadata({"t": FileMetadata({"exif": {"taken": "1999-12-31T23:59:59Z"}}, "1")})
        assert [one.id for one in store.listing(order=order, limit=1)] == ["t"]
        store.put_file_metadata({"t": NO_FILE_METADATA})
        assert [one.id for one in store.listing(Selection(taken="2023"))] == ["t"]
        store.delete([str(n) for n in range(10)])
        assert [one.id for one in store.listing()] == ["t"]
        assert store.groups("tag") == []

    def test_limits_of_listings(self, store: Store) -> None:
        """Empty pages, offsets beyond the end and texts that are not Unicode."""
        store.put([entry("a", 1, methods=[])])
        assert store.listing(limit=0) == []
        assert store.listing(offset=5) == []
        assert store.listing(offset=2**70, limit=2**70) == []
        assert store.groups("format", limit=0) == []
        assert [one.id for one in store.listing(after=ListPosition("", ""))] == ["a"]
        with pytest.raises(InputError):
            store.listing(order=Order("name"), after=ListPosition("\ud800", "a"))
        with pytest.raises(InputError):
            store.groups("tag", after="\ud800")

    def test_listings_of_another_process(self, store: Store, other: Store) -> None:
        """A second object sees the images that the first has put, and the other way round."""
        store.put([entry("a", 1, methods=[])])
        assert [one.id for one in other.listing(order=Order("name"))] == ["a"]
        other.put([entry("b", 2, methods=[], format="PNG")])
        assert store.groups("format") == [Group("JPEG", 1), Group("PNG", 1)]

    def test_metadata_are_edited(self, store: Store) -> None:
        """Edited metadata are stored, listed and filtered; an error changes nothing."""
        store.put([entry(f"{n}", n, metadata={"n": n, "tags": ["a"]}) for n in range(5)])
        store.put([entry("nul\0", 9, metadata={"text": "nul\0"})])
        records = store.images()

        def edit(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
            return metadata if metadata.get("n") == 3 else {**metadata, "tags": ["b", "é"]}

        assert store.edit_metadata(["1", "3", "nul\0", "unknown", "1"], edit) == 2
        assert store.get("1").metadata == {"n": 1, "tags": ["b", "é"]}
        assert store.groups("tag") == [Group("a", 4), Group("b", 2), Group("é", 2)]
        assert [one.id for one in store.listing(Selection(tags=("é",)))] == ["1", "nul\0"]
        assert store.matching(filters.parse({"tags": "b"})).keys() == {"1", "nul\0"}
        changed = {one.id: one for one in store.images()}
        assert all(replace(changed[one.id], metadata=one.metadata) == one for one in records)
        assert store.check() == []
        assert store.edit_metadata([], edit) == 0
        with pytest.raises(InputError):
            store.edit_metadata(["0", "1"], lambda old: {"n": float("nan")} if old["n"] else {})
        assert store.get("0").metadata == {"n": 0, "tags": ["a"]}

"""File metadata of images: stored, filtered and counted by stacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagefinder.core import filters
from imagefinder.core.contracts import Store
from imagefinder.core.errors import InputError
from imagefinder.core.file_metadata import NO_FILE_METADATA, FileMetadata
from imagefinder.core.records import Entry
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import MakeStore, entry

_SAMPLE = FileMetadata(
    {
        "exif": {"taken": "2024-07-01T12:30:05.120+02:00", "camera": "Canon EOS R5", "latitude": 48.8583701},
        "iptc": {"title": "Größe \U0001f600", "keywords": ["a", "日本"], "city": "Paris"},
        "xmp": {"rating": 5},
    },
    stamp="1:abc",
    stack="s1",
    burst="b1",
)


def _with(image_id: str, seed: int, found: FileMetadata, **values: Any) -> Entry:
    return entry(image_id, seed, methods=[], file_metadata=found, **values)


class FileMetadataSuite(StoreFixtures):
    """Tests of ``ImageRecord.file_metadata`` and ``StoreFileMetadata``."""

    def test_file_metadata_are_stored_with_the_image(
        self, store: Store, tmp_path: Path, make_store: MakeStore
    ) -> None:
        """They are read back with every record, and dropped when an image is put without them."""
        store.put([_with("a", 1, _SAMPLE), entry("b", 2)])
        assert store.get("a").file_metadata == _SAMPLE
        assert store.get("b").file_metadata == NO_FILE_METADATA
        assert [record.file_metadata for record in store.images()] == [_SAMPLE, NO_FILE_METADATA]
        assert store.copies(f"{1:064x}")[0].file_metadata == store.entry("a").image.file_metadata == _SAMPLE
        assert {i: one.file_stamp for i, one in store.status(["a", "b"]).items()} == {"a": "1:abc", "b": ""}
        assert store.get("a").metadata == {}
        if self.persistent:
            store = make_store(tmp_path / "store")
            assert store.get("a").file_metadata == _SAMPLE
        store.touch("a", uri="file:///new", stamp="2")
        assert store.get("a").file_metadata == _SAMPLE
        store.put([entry("a", 1)])
        assert store.get("a").file_metadata == NO_FILE_METADATA
        assert store.check() == []

    def test_file_metadata_are_replaced_alone(self, store: Store) -> None:
        """Features, metadata and the time of adding stay; unknown ids are ignored."""
        store.put([entry("a", 1, metadata={"x": 1}), entry("b", 2)])
        before, digests = store.entry("a"), store.digests(["a", "b"])
        cursor = store.changes("points", None).cursor
        store.put_file_metadata({"a": _SAMPLE, "gone": _SAMPLE})
        assert store.get("a") == replace(before.image, file_metadata=_SAMPLE)
        assert not store.changes("points", cursor).any
        assert store.digests(["a", "b"]).keys() == digests.keys()
        assert {i for i, digest in store.digests(["a", "b"]).items() if digest != digests[i]} == {"a"}
        other = FileMetadata({"exif": {"camera": "x"}}, "2")
        store.put_file_metadata({"a": other})
        assert store.get("a").file_metadata == other
        assert store.stacked(["s1"]) == {}
        store.put_file_metadata({"a": NO_FILE_METADATA})
        assert store.digests(["a", "b"]) == digests
        assert store.count() == 2
        assert store.check() == []

    @pytest.mark.parametrize("wrong", [{"exif": {"taken": "a\0b"}}, {"exif": {1j: 2}}, {"exif": {"a": "\ud800"}}])
    def test_invalid_file_metadata(self, store: Store, wrong: Any) -> None:
        """Nothing is stored."""
        store.put([entry("a", 1)])
        with pytest.raises(InputError):
            store.put_file_metadata({"a": FileMetadata(wrong, "1")})
        with pytest.raises(InputError):
            store.put([_with("b", 2, FileMetadata(wrong, "1"))])
        assert store.get("a").file_metadata == NO_FILE_METADATA
        assert store.count() == 1

    def test_filters_see_file_metadata(self, store: Store) -> None:
        """Filters apply to both; metadata of a user, from an earlier version, count before those of the file."""
        store.put(
            [
                _with("a", 1, _SAMPLE, metadata={"shop": "north"}),
                _with("b", 2, FileMetadata({"exif": {"taken": "2023"}, "xmp": {"rating": 3}}, "1")),
                entry("c", 3, methods=[], metadata={"exif": {"taken": "mine"}}),
                _with("d", 4, _SAMPLE, metadata={"exif": "mine"}),
                entry("e", 5, methods=[]),
            ]
        )
        cases: list[tuple[Any, list[str]]] = [
            ({"exif.taken": {"gte": "2024"}}, ["a", "c"]),
            ({"exif.taken": "mine"}, ["c"]),
            ({"exif": "mine"}, ["d"]),
            ({"xmp.rating": {"gte": 4}}, ["a", "d"]),
            ({"xmp.rating": {"in": [3, 4]}}, ["b"]),
            ({"iptc.keywords": "日本", "shop": "north"}, ["a"]),
            ({"iptc.title": {"contains": "GRÖSSE"}}, ["a", "d"]),
            ({"exif.camera": {"exists": True}}, ["a"]),
            ({"exif.camera": {"exists": False}}, ["b", "c", "d", "e"]),
            ({"not": {"exif.camera": "Canon EOS R5"}}, ["b", "c", "d", "e"]),
            ({"any": [{"exif.latitude": {"gt": 48.0}}, {"exif.taken": "2023"}]}, ["a", "b"]),
        ]
        for condition, expected in cases:
            where = filters.parse(condition)
            assert [record.id for record in store.images(where=where)] == expected, condition
            assert store.matching(where).keys() == set(expected), condition
            assert store.count(where) == len(expected), condition

    def test_text_is_searched_in_file_metadata_without_places(self, store: Store) -> None:
        """A search for a text finds titles and keywords, but does not reveal a place."""
        store.put([_with("x1", 1, _SAMPLE), entry("x2", 2, methods=[], metadata={"note": "paris"})])
        assert [record.id for record in store.images(contains="grösse")] == ["x1"]
        assert [record.id for record in store.images(contains="paris")] == ["x2"]
        assert store.images(contains="48.8") == []

    def test_stacks(self, store: Store) -> None:
        """Images with the same stack count as one, also among the matching ones."""
        ids = {"a": "s1", "b": "s1", "c": "s2", "d": "", "e": "s1"}
        store.put(
            [
                _with(
                    i, seed, FileMetadata({"xmp": {"rating": seed}}, "1", stack, f"b{seed % 2}" if stack else "")
                )
                for seed, (i, stack) in enumerate(ids.items())
            ]
        )
        store.put([entry("f", 9, methods=[])])
        assert store.stacks([*ids, "f", "gone", ""]) == {i: stack for i, stack in ids.items() if stack}
        assert (store.stacks([]), store.stacked([]), store.burst([])) == ({}, {}, {})
        assert store.stacked(["s1", "s3", "", "s1"]) == {"s1": ["a", "b", "e"]}
        assert store.burst(["b0", ""]) == {"b0": ["a", "c", "e"]}
        assert (store.count(), store.count(stacks=True)) == (6, 4)
        where = filters.parse({"xmp.rating": {"gte": 1}})
        assert (store.count(where), store.count(where, stacks=True)) == (4, 3)
        assert store.matching(where) == {"b": "s1", "c": "s2", "d": "", "e": "s1"}
        store.put_file_metadata({"e": FileMetadata({}, "1", "s2")})
        store.delete(["a"])
        assert store.stacked(["s1", "s2"]) == {"s1": ["b"], "s2": ["c", "e"]}
        assert (store.count(), store.count(stacks=True)) == (5, 4)
        store.put_file_metadata({f"new {n}": FileMetadata({}, "1", "s1") for n in range(3)})
        assert store.count(stacks=True) == 4

    def test_stacks_of_several_writers_are_counted(self, store: Store, other: Store) -> None:
        """Both see the changes of each other, in whatever order they are made."""
        for number in range(6):
            writer, reader = (store, other) if number % 2 else (other, store)
            writer.put([_with(f"{number}", number, FileMetadata({}, "1", f"s{number // 3}"))])
            assert reader.count(stacks=True) == number // 3 + 1
        store.put_file_metadata({"5": FileMetadata({}, "1", "s0")})
        other.put_file_metadata({"4": NO_FILE_METADATA})
        assert (store.count(stacks=True), other.count(stacks=True)) == (3, 3)
        store.delete(["0", "1", "2"])
        assert (store.count(stacks=True), other.count(stacks=True)) == (3, 3)
        other.delete(["3", "4"])
        assert (store.count(stacks=True), store.check()) == (1, [])

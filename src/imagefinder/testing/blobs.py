"""Tests for the contract of object stores; subclass ``BlobsSuite`` in your own tests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagefinder.core.blobs import Blobs
from imagefinder.core.errors import StoreError

MakeBlobs = Callable[[], Blobs]


class BlobsSuite:
    """Tests that all object stores pass.

    A subclass defines the fixture ``make_blobs``, a function that opens one empty object store, repeatedly.
    """

    @pytest.fixture
    def blobs(self, make_blobs: MakeBlobs) -> Blobs:
        """One object store."""
        return make_blobs()

    def test_objects_are_returned_as_they_were_stored(self, blobs: Blobs) -> None:
        """Objects are returned byte by byte, also empty ones."""
        objects = {"a/1": b"one", "a/2": b"", "b.c_d-e": bytes(range(256)) * 1000}
        blobs.put_new(objects)
        assert blobs.get_many(list(objects)) == objects
        assert blobs.get_many([]) == {}
        blobs.put_new({})

    def test_names_that_do_not_exist_are_left_out(self, blobs: Blobs) -> None:
        """``get_many`` leaves out unknown names, and returns a repeated name once."""
        blobs.put_new({"a/1": b"one"})
        assert blobs.get_many(["a/2", "a/1", "a/1", "b"]) == {"a/1": b"one"}

    def test_other_openers_see_the_same_objects(self, make_blobs: MakeBlobs) -> None:
        """Two openers of one place see the same objects."""
        one, other = make_blobs(), make_blobs()
        one.put_new({"a": b"1"})
        assert other.get_many(["a"]) == {"a": b"1"}
        assert one.location == other.location

    def test_an_object_is_never_overwritten(self, blobs: Blobs) -> None:
        """Other content under an existing name is an error."""
        blobs.put_new({"a": b"1"})
        with pytest.raises(StoreError, match="other content"):
            blobs.put_new({"a": b"2"})
        assert blobs.get_many(["a"]) == {"a": b"1"}

    def test_storing_the_same_again_has_no_effect(self, blobs: Blobs) -> None:
        """A repeated ``put_new`` succeeds."""
        blobs.put_new({"a": b"1"})
        blobs.put_new({"a": b"1", "b": b"2"})
        assert blobs.get_many(["a", "b"]) == {"a": b"1", "b": b"2"}

    def test_of_many_writers_of_one_name_one_is_first(self, blobs: Blobs) -> None:
        """Exactly one of several concurrent writers of a name succeeds."""

        def put(data: bytes) -> bool:
            try:
                blobs.put_new({"name": data})
            except StoreError:
                return False
            return True

        contents = [str(number).encode() * 100 for number in range(8)]
        with ThreadPoolExecutor(8) as threads:
            stored = list(threads.map(put, contents))
        assert sum(stored) == 1
        assert blobs.get_many(["name"]) == {"name": contents[stored.index(True)]}

    def test_many_objects_at_once(self, blobs: Blobs) -> None:
        """One call stores, reads or deletes hundreds of objects."""
        objects = {f"{number % 7:02x}/{number}": str(number).encode() * 5000 for number in range(200)}
        blobs.put_new(objects)
        assert blobs.get_many(list(objects)) == objects
        assert sorted(blobs.names()) == sorted(objects)
        blobs.delete(list(objects))
        assert list(blobs.names()) == []

    def test_deleted_objects_are_gone(self, blobs: Blobs) -> None:
        """Deletion ignores unknown names, and frees the name."""
        blobs.put_new({"a": b"1", "b": b"2"})
        blobs.delete(["a", "never"])
        blobs.delete([])
        assert blobs.get_many(["a", "b"]) == {"b": b"2"}
        assert list(blobs.names()) == ["b"]
        blobs.put_new({"a": b"3"})
        assert blobs.get_many(["a"]) == {"a": b"3"}

    def test_a_prefix_is_a_path(self, blobs: Blobs) -> None:
        """A prefix consists of whole parts of a path."""
        blobs.put_new({"a/1": b"", "a/b/2": b"", "ab/3": b"", "c": b""})
        assert sorted(blobs.names("a")) == ["a/1", "a/b/2"]
        assert sorted(blobs.names("a/b")) == ["a/b/2"]
        assert sorted(blobs.names("ab")) == ["ab/3"]
        assert list(blobs.names("d")) == []
        assert sorted(blobs.names()) == ["a/1", "a/b/2", "ab/3", "c"]

    def test_the_age_of_objects(self, blobs: Blobs) -> None:
        """``older_than`` leaves out young objects."""
        blobs.put_new({"a": b"1"})
        assert list(blobs.names(older_than=0)) == ["a"]
        assert list(blobs.names(older_than=3600)) == []

    @pytest.mark.parametrize(
        "name", ["", "/a", "a/", "a//b", "../a", "a/../b", "A", "a b", "ä", ".a", "a/.b", "a\n", "a" * 401]
    )
    def test_malformed_names_are_refused(self, blobs: Blobs, name: str) -> None:
        """Malformed names raise ``ValueError`` in every method."""
        with pytest.raises(ValueError, match="not a valid name"):
            blobs.put_new({name: b""})
        with pytest.raises(ValueError, match="not a valid name"):
            blobs.get_many([name])
        with pytest.raises(ValueError, match="not a valid name"):
            blobs.delete([name])
        if name:
            with pytest.raises(ValueError, match="not a valid name"):
                list(blobs.names(name))
        assert list(blobs.names()) == []

    def test_the_longest_name(self, blobs: Blobs) -> None:
        """A name may have 400 characters."""
        name = "/".join(["a" * 99] * 4)
        blobs.put_new({name: b"1"})
        assert blobs.get_many([name]) == {name: b"1"}
        assert list(blobs.names()) == [name]

    def test_it_may_be_closed_repeatedly(self, blobs: Blobs) -> None:
        """``close`` may be repeated; then calls raise an error."""
        blobs.put_new({"a": b"1"})
        blobs.close()
        blobs.close()
        with pytest.raises(StoreError, match="closed"):
            blobs.get_many(["a"])

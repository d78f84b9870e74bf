from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.portion import Lacking, Portion, is_portable, portions
from imagefinder.indexing.source_item import SourceEnd, SourceItem, file_uri

URL = SourceItem("ä\0", "https://example.org/a.png", "list:shop", "", {"price": 1.5, "tags": ["x"]})


def test_a_portion_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "cat \udcff.png"
    path.write_bytes(b"bytes")
    item = SourceItem("cat", file_uri(path), "file:///x", "5:1:2:3")
    found = Portion.from_bytes(Portion((URL, item)).to_bytes(), TRUSTED)
    assert (found.items, found.lacking) == ((URL, item), None)
    assert found.items[0].read is None
    read = found.items[1].read
    assert read is not None
    assert read(100) == b"bytes"
    lacking = Lacking(frozenset({"ä\0", "cat#page=2"}), frozenset({"cat"}))
    assert Portion.from_bytes(Portion((URL, item), lacking).to_bytes(), TRUSTED).lacking == lacking
    assert lacking.of("cat") == Lacking(frozenset({"cat#page=2"}), frozenset({"cat"}))
    assert lacking.of("ä\0") == Lacking(frozenset({"ä\0"}), frozenset())


def test_files_outside_the_allowed_folders_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    data = Portion((SourceItem("a", file_uri(secret)),)).to_bytes()
    read = Portion.from_bytes(data, Guard(within=(str(tmp_path / "images"),))).items[0].read
    assert read is not None
    with pytest.raises(SourceError, match="outside the allowed folders"):
        read(100)
    with pytest.raises(ValueError, match="a file that may be read"):
        Portion.from_bytes(data, Guard(local_files=False))


@pytest.mark.parametrize(
    "document",
    [
        b"", b"x", b"{}", b"[]", b"[[[]], null]", b"[[], [1, 2]]", b'[[["a", "https://x/", "", "", []]], null]',
        b'[[[1, "https://x/", "", "", {}]], null]', b'[[["a", "archive:file:///x.zip!/a", "", "", {}]], null]',
        b'[[["a", "ftp://x/", "", "", {}]], null]', b"[" * 100_000,
    ],
)  # fmt: skip
def test_damaged_portions(document: bytes) -> None:
    with pytest.raises(ValueError, match="damaged portion"):
        Portion.from_bytes(zlib.compress(document), TRUSTED)
    with pytest.raises(ValueError, match="damaged portion"):
        Portion.from_bytes(document, TRUSTED)


def test_items_are_collected_in_order() -> None:
    items = [SourceItem(str(number), "https://x/") for number in range(5)]
    failure, end = Failure("f", "", "c", "m"), SourceEnd("s", True, 5, 0)
    found = list(portions(iter([*items[:3], failure, *items[3:], end]), 2))
    assert [one if not isinstance(one, Portion) else [item.id for item in one.items] for one in found] == [
        ["0", "1"],
        failure,
        ["2", "3"],
        end,
        ["4"],
    ]


def test_what_another_process_can_read() -> None:
    assert is_portable(URL)
    assert is_portable(SourceItem("a", "file:///a"))
    assert not is_portable(SourceItem("a", "archive:file:///a.zip!/a"))

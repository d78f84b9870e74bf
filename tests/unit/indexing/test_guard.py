"""Access limits for untrusted sources."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.indexing.discover import discover
from imagefinder.indexing.guard import TRUSTED, Guard
from imagefinder.indexing.source_item import SourceItem, read_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with images and with links to a file and a folder outside."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "deep").mkdir(parents=True)
    outside.mkdir()
    (root / "a.jpg").write_bytes(b"a")
    (root / "deep" / "b.jpg").write_bytes(b"b")
    (outside / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "root-too").mkdir()
    (root / "file.jpg").symlink_to(outside / "secret.jpg")
    (root / "folder").symlink_to(outside)
    (root / "inside.jpg").symlink_to(root / "deep" / "b.jpg")
    return root


def guarded(root: Path) -> Guard:
    return Guard(within=(str(root),))


def test_links_that_point_outside_are_skipped(root: Path) -> None:
    found = [item.id for item in discover([root], guard=guarded(root)) if isinstance(item, SourceItem)]
    assert found == ["a.jpg", "deep/b.jpg", "inside.jpg"]
    everything = [item.id for item in discover([root]) if isinstance(item, SourceItem)]
    assert everything == ["a.jpg", "deep/b.jpg", "file.jpg", "folder/secret.jpg", "inside.jpg"]


@pytest.mark.parametrize(
    "source", ["../outside", "folder", "file.jpg", "../root-too", "..", "../outside/secret.jpg"]
)
def test_sources_outside_are_rejected(root: Path, source: str) -> None:
    with pytest.raises(SourceError, match="outside the allowed folders"):
        discover([root / source], guard=guarded(root))


def test_a_link_created_after_discovery_is_not_followed(root: Path) -> None:
    guard = guarded(root)
    found = {item.id: item for item in discover([root], guard=guard) if isinstance(item, SourceItem)}
    (root / "a.jpg").unlink()
    (root / "a.jpg").symlink_to(root.parent / "outside" / "secret.jpg")
    (root / "deep" / "b.jpg").rename(root / "deep" / "secret.jpg")
    (root / "deep").rename(root / "gone")
    (root / "deep").symlink_to(root.parent / "outside")
    for image_id in ("a.jpg", "deep/b.jpg"):
        read = found[image_id].read
        assert read is not None
        with pytest.raises(SourceError):
            read(100)


def test_files_inside_are_read(root: Path) -> None:
    assert read_file(str(root / "inside.jpg"), 10, guarded(root)) == b"b"
    assert read_file(str(root / "a.jpg"), 10, Guard(within=("/",))) == b"a"


def test_a_pipe_does_not_block(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    with pytest.raises(SourceError, match="pipe"):
        read_file(str(root / "pipe.jpg"), 10, guarded(root))


def test_a_list_reaches_only_allowed_files(root: Path) -> None:
    (root / "list.csv").write_text("url,id\na.jpg,1\nfolder/secret.jpg,2\n../outside/secret.jpg,3\n")
    items = list(discover([root / "list.csv"], guard=guarded(root)))
    assert [item.id for item in items if isinstance(item, SourceItem)] == ["1"]
    assert [item.id for item in items if isinstance(item, Failure)] == ["2", "3"]


def test_a_single_file_can_be_allowed(root: Path) -> None:
    narrow = Guard(within=(str(root / "deep" / "b.jpg"),))
    assert read_file(str(root / "deep" / "b.jpg"), 10, narrow) == b"b"
    assert not narrow.allows(str(root / "a.jpg"))


def test_the_trusted_guard_allows_everything(root: Path) -> None:
    assert read_file(str(root / "file.jpg"), 10, TRUSTED) == b"secret"

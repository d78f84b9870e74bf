import os
import time

import pytest

from imagefinder.core.errors import ObjectsUnavailableError
from imagefinder.stores.distributed.folder_objects import FolderObjects


def test_a_missing_folder_is_an_error_and_not_created(tmp_path):
    """It may be a file system that is not mounted: objects written below it would be lost."""
    folder = tmp_path / "not mounted"
    blobs = FolderObjects(folder)
    for call in (
        lambda: blobs.put_new({"a": b"1"}),
        lambda: blobs.get_many(["a"]),
        lambda: blobs.delete(["a"]),
        lambda: list(blobs.names()),
    ):
        with pytest.raises(ObjectsUnavailableError, match="not mounted does not exist") as caught:
            call()
        assert caught.value.retryable
    assert not folder.exists()


def test_an_error_of_the_file_system_has_a_code(tmp_path):
    (tmp_path / "a").write_bytes(b"a file where a folder should be")
    blobs = FolderObjects(tmp_path)
    with pytest.raises(ObjectsUnavailableError, match="cannot be used"):
        blobs.put_new({"a/b": b"1"})


def test_drafts_of_killed_processes_are_not_listed_and_deleted_when_old(tmp_path):
    blobs = FolderObjects(tmp_path)
    blobs.put_new({"a/1": b"1"})
    young, old = tmp_path / "a" / ".new-1", tmp_path / "a" / ".new-2"
    young.write_bytes(b"")
    old.write_bytes(b"")
    os.utime(old, (time.time() - 7200,) * 2)
    assert list(blobs.names()) == ["a/1"]
    assert young.exists()
    assert not old.exists()


def test_no_draft_remains(tmp_path):
    blobs = FolderObjects(tmp_path)
    blobs.put_new({"a/1": b"1", "b": b"2"})
    blobs.put_new({"a/1": b"1"})
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["1", "b"]

import errno
import json
import os

import pytest

import imagefinder
from imagefinder.core.errors import SourceError
from imagefinder.core.settings import Settings
from imagefinder.dedup import moving
from imagefinder.dedup.moving import LOG, move_spare

from .test_proposals import picture, write


@pytest.fixture
def collection():
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        yield collection


@pytest.fixture
def folder(tmp_path, collection):
    folder = tmp_path / "pictures"
    folder.mkdir()
    write(folder, a=picture(), bb=picture(), ccc=picture())
    collection.add(folder, methods=["sift"])
    return folder


def move(collection, report, target):
    return move_spare(report.groups, report.states, collection.get, target)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def no_links(*_):
    raise OSError(errno.EXDEV, "another file system")


@pytest.mark.parametrize("link", [os.link, no_links])
def test_files_are_moved_and_logged(collection, folder, tmp_path, monkeypatch, link):
    monkeypatch.setattr(moving.os, "link", link)
    report = collection.duplicates(kinds=["identical"])
    moved = move(collection, report, tmp_path / "spare")
    assert (set(moved.moved), moved.kept_back) == ({"bb.jpg", "ccc.jpg"}, {})
    assert names(folder) == ["a.jpg"]
    entries = [json.loads(line) for line in (tmp_path / "spare" / LOG).read_text().splitlines()]
    assert [entry["id"] for entry in entries] == ["bb.jpg", "ccc.jpg"]
    assert entries[0]["from"] == (folder / "bb.jpg").as_uri()
    assert {entry["kept"] for entry in entries} == {(folder / "a.jpg").as_uri()}
    new = tmp_path / "spare" / str(folder / "bb.jpg").lstrip("/")
    assert (new.read_bytes(), new.as_uri()) == (picture(), moved.moved["bb.jpg"])


def test_the_report_is_checked_again(collection, folder, tmp_path):
    report = collection.duplicates()
    write(folder, bb=picture(2))
    assert set(move(collection, report, tmp_path / "spare").kept_back) == {"bb.jpg"}
    assert names(folder) == ["a.jpg", "bb.jpg"]


def test_without_the_file_that_stays_nothing_is_moved(collection, folder, tmp_path):
    report = collection.duplicates()
    (folder / "a.jpg").unlink()
    moved = move(collection, report, tmp_path / "spare")
    assert (moved.moved, set(moved.kept_back)) == ({}, {"bb.jpg", "ccc.jpg"})
    assert names(folder) == ["bb.jpg", "ccc.jpg"]


def test_a_report_used_twice(collection, folder, tmp_path):
    report = collection.duplicates()
    move(collection, report, tmp_path / "spare")
    (folder / "a.jpg").rename(folder / "bb.jpg")
    assert move(collection, report, tmp_path / "spare").moved == {}
    assert names(folder) == ["bb.jpg"]


def test_nothing_is_overwritten(collection, folder, tmp_path):
    target = tmp_path / "spare" / str(folder / "bb.jpg").lstrip("/")
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    moved = move(collection, collection.duplicates(), tmp_path / "spare")
    assert list(moved.moved) == ["ccc.jpg"]
    assert "exists already" in moved.kept_back["bb.jpg"]
    assert target.read_bytes() == b"mine"
    assert names(folder) == ["a.jpg", "bb.jpg"]


@pytest.mark.parametrize("link", [os.link, no_links])
def test_a_file_replaced_at_the_last_moment(collection, folder, tmp_path, monkeypatch, link):
    report = collection.duplicates()

    def replacing(source, destination):
        (folder / "new").write_bytes(picture(3))
        (folder / "new").replace(source)
        link(source, destination)

    monkeypatch.setattr(moving.os, "link", replacing)
    moved = move(collection, report, tmp_path / "spare")
    assert (moved.moved, set(moved.kept_back)) == ({}, {"bb.jpg", "ccc.jpg"})
    assert (folder / "bb.jpg").read_bytes() == picture(3)
    assert [path for path in (tmp_path / "spare").rglob("*.jpg") if path.is_file()] == []


def test_a_move_that_fails_leaves_the_file(collection, folder, tmp_path, monkeypatch):
    report = collection.duplicates()

    def unlink(path):
        if os.fspath(path).startswith(str(folder)):
            raise PermissionError(errno.EACCES, "Permission denied")
        return remove(path)

    remove = os.unlink
    monkeypatch.setattr(moving.os, "unlink", unlink)
    moved = move(collection, report, tmp_path / "spare")
    assert moved.kept_back["bb.jpg"] == "it cannot be moved: Permission denied"
    assert names(folder) == ["a.jpg", "bb.jpg", "ccc.jpg"]
    assert list((tmp_path / "spare").rglob("*.jpg")) == []


def test_a_folder_of_the_collection_is_rejected(collection, folder):
    with pytest.raises(SourceError, match="is inside"):
        move(collection, collection.duplicates(), folder / "spare")
    assert names(folder) == ["a.jpg", "bb.jpg", "ccc.jpg"]


def test_a_folder_that_cannot_be_written(collection, folder, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match="cannot move files to"):
        move(collection, collection.duplicates(), tmp_path / "file")

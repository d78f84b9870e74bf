"""Files that were moved, renamed, copied, exchanged or removed, and images that were removed."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from indexing_world import World, outcome, png, write

from imagefinder.core.records import ImageRecord
from imagefinder.indexing.known_images import has_moved
from imagefinder.indexing.missing import is_gone
from imagefinder.indexing.source_item import SourceItem, file_stamp, file_uri, inode_of, is_same_stamp


def extracted(world: World) -> int:
    return sum(world.mean.batches)


def annotate(world: World, image_id: str) -> None:
    entry = world.store.entry(image_id)
    world.store.put([replace(entry, image=replace(entry.image, metadata={"note": image_id}))])


def test_renamed_files_keep_features_and_metadata(world: World, pics: Path) -> None:
    world.add(pics)
    annotate(world, "3.png")
    (pics / "3.png").rename(pics / "renamed.png")
    (pics / "sub").mkdir()
    (pics / "4.png").rename(pics / "sub" / "4.png")
    report = world.add(pics)
    assert (outcome(report), report.moved) == ((0, 0, 8, 0, 0), 2)
    assert (extracted(world), world.decoded) == (0, [])
    assert set(world.ids()) == {*(f"{n}.png" for n in (0, 1, 2, 5, 6, 7, 8, 9)), "renamed.png", "sub/4.png"}
    record = world.store.get("renamed.png")
    assert (record.metadata, record.uri) == ({"note": "3.png"}, file_uri(pics / "renamed.png"))
    assert world.add(pics).unchanged == 10


def test_a_renamed_folder(world: World, pics: Path) -> None:
    """The ids change, because the folder is below the source; with --prune nothing is left to remove."""
    album = pics / "album"
    for n in range(20, 27):
        write(album / f"{n}.png", png(n))
    world.add(pics)
    album.rename(pics / "new name")
    report = world.add(pics, prune=True)
    assert (outcome(report), report.moved, extracted(world)) == ((0, 0, 10, 0, 0), 7, 0)
    assert "new name/23.png" in world.ids()


def test_a_source_that_moved_below_another(world: World, pics: Path, tmp_path: Path) -> None:
    """Its old folder is gone, but the inodes show that it is not merely on a disk that is not mounted."""
    world.add(pics)
    new = tmp_path / "library"
    new.mkdir()
    pics.rename(new / "pics")
    report = world.add(new)
    assert (report.added, report.moved, extracted(world)) == (0, 10, 0)
    assert sorted(world.ids()) == [f"pics/{n}.png" for n in range(10)]


def test_copies_on_an_unmounted_disk_stay(world: World, pics: Path, tmp_path: Path) -> None:
    """Their folder is missing or empty; the copies elsewhere are images of their own."""
    disk = tmp_path / "disk"
    shutil.copytree(pics, disk / "backup")
    world.add(disk)
    for unmount in (lambda: disk.rename(tmp_path / "elsewhere"), disk.mkdir):
        unmount()
        target = tmp_path / f"here-{disk.exists()}"
        shutil.copytree(pics, target / "x")
        report = world.add(target)
        assert report.moved == 0
        assert extracted(world) == 0
        assert len([i for i in world.ids() if i.startswith("backup/")]) == 10


def test_a_copy_is_an_image_of_its_own(world: World, pics: Path) -> None:
    world.add(pics)
    annotate(world, "3.png")
    shutil.copy(pics / "3.png", pics / "copy.png")
    report = world.add(pics)
    assert (outcome(report), report.moved, extracted(world)) == ((1, 0, 10, 0, 0), 0, 0)
    assert world.store.get("copy.png").metadata == {}
    assert world.store.get("3.png").metadata == {"note": "3.png"}
    assert world.colours()["copy.png"] == world.colours()["3.png"]


def test_one_file_moved_and_copied(world: World, pics: Path) -> None:
    """One of the new files takes the place of the old one."""
    world.add(pics)
    shutil.copy(pics / "3.png", pics / "b.png")
    (pics / "3.png").rename(pics / "a.png")
    for batch_size in (1, 4):
        world.settings = replace(world.settings, batch_size=batch_size)
        report = world.add(pics)
    assert set(world.ids()) == {"a.png", "b.png", *(f"{n}.png" for n in range(10) if n != 3)}
    assert report.unchanged == 11


@pytest.mark.parametrize("how", ["cp -p", "mv"])
def test_exchanged_files_of_one_size_and_time(world: World, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "f"
    for name, colour in (("a", 10), ("b", 99)):
        file = write(folder / f"{name}.png", png(colour))
        os.utime(file, (1, 1))
    assert len({file.stat().st_size for file in folder.iterdir()}) == 1
    world.add(folder)
    a, b, spare = folder / "a.png", folder / "b.png", tmp_path / "spare"
    if how == "mv":
        a.rename(spare)
        b.rename(a)
        spare.rename(b)
    else:
        shutil.copy2(a, spare)
        shutil.copy2(b, a)
        shutil.copy2(spare, b)
    assert world.add(folder).replaced == 2
    assert world.colours() == {"a.png": 99, "b.png": 10}


def test_content_is_verified_on_request(world: World, pics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For changes that no property of the file shows, as on file systems without inodes and change times."""
    world.add(pics)
    stamp = world.store.get("3.png").stamp
    old = (pics / "3.png").read_bytes()
    write(pics / "3.png", png(300))
    assert len((pics / "3.png").read_bytes()) == len(old)
    world.store.touch("3.png", uri=file_uri(pics / "3.png"), stamp=file_stamp((pics / "3.png").stat()))
    assert world.add(pics).unchanged == 10
    report = world.add(pics, verify_content=True)
    assert (report.replaced, report.unchanged, extracted(world)) == (1, 9, 1)
    assert world.colours()["3.png"] == 300
    assert world.store.get("3.png").stamp != stamp


def test_stamps_of_earlier_versions(world: World, pics: Path) -> None:
    """They have neither change time nor inode; verifying the content adds them."""
    world.add(pics)
    record = world.store.get("3.png")
    old = ":".join(record.stamp.split(":")[:2])
    world.store.touch("3.png", uri=record.uri, stamp=old)
    assert world.add(pics).unchanged == 10
    assert world.store.get("3.png").stamp == old
    assert world.add(pics, verify_content=True).unchanged == 10
    assert world.store.get("3.png").stamp == record.stamp


def test_stamps() -> None:
    assert is_same_stamp("1:2:3:4", "1:2:3:4")
    assert is_same_stamp("1:2", "1:2:3:4")
    assert is_same_stamp("1:abc", "1:abc")
    for stored, current in (
        ("", ""),
        ("", "1:2:3:4"),
        ("1:2:3:4", "1:2:3:5"),
        ("1:2", "1:22:3:4"),
        ("1:2:3:4", "1:2"),
    ):
        assert not is_same_stamp(stored, current)
    assert inode_of("1:2:3:4") == inode_of("1:2:9:4") == "1:2:4"
    assert inode_of("1:2:3:0") == inode_of("1:2") == inode_of("") == ""


def test_removed_images_stay_removed(world: World, pics: Path) -> None:
    world.add(pics)
    world.store.delete(["3.png", "4.png", "5.png"], remember=True)
    (pics / "4.png").rename(pics / "renamed.png")  # it is still the image that was removed
    os.utime(pics / "5.png")
    report = world.add(pics)
    assert (outcome(report), report.excluded, extracted(world)) == ((0, 0, 7, 0, 0), 3, 0)
    assert len(world.ids()) == 7
    removals = world.store.removals()
    assert [removal.id for removal in removals] == ["3.png", "5.png", "renamed.png"]
    assert removals[2].uri == file_uri(pics / "renamed.png")
    shutil.copy(pics / "renamed.png", pics / "copy.png")  # another file, although its bytes were removed
    assert world.add(pics).added == 1
    (pics / "3.png").rename(pics / "new.png")
    report = world.add(pics, include_removed=True)
    assert (report.added, report.excluded) == (3, 0)
    assert world.store.removals() == []
    assert world.add(pics).unchanged == 11


def test_a_removal_does_not_hide_other_files(world: World, pics: Path, tmp_path: Path) -> None:
    """Neither another copy, nor a file of the same name in another source, nor a file that was pruned."""
    shutil.copy(pics / "3.png", pics / "copy.png")
    world.add(pics)
    world.store.delete(["3.png"], remember=True)
    other = write(tmp_path / "other" / "3.png", png(500))
    assert world.add(other.parent).added == 1
    (pics / "9.png").rename(tmp_path / "9.png")
    assert world.add(pics, prune=True).removed == 1
    (tmp_path / "9.png").rename(pics / "9.png")
    report = world.add(pics)
    assert (report.added, report.excluded) == (1, 1)
    assert {"copy.png", "9.png"} <= set(world.ids())


def test_has_moved_and_is_gone(tmp_path: Path) -> None:
    file = write(tmp_path / "a.png", b"x")
    new = SourceItem("b.png", file_uri(tmp_path / "b.png"), stamp=file_stamp(file.stat()))
    record = ImageRecord("a.png", file_uri(file), "", 1, 1, 1, "", stamp="1:1:1:1")
    assert not is_gone(record.uri)
    assert not has_moved(record, new)
    for uri in ("", "https://example.org/a.png"):
        assert not is_gone(uri)
    file.rename(tmp_path / "b.png")
    assert is_gone(record.uri)
    assert is_gone(file_uri(tmp_path / "b.png" / "inside a file.png"))
    assert has_moved(record, new)
    (tmp_path / "b.png").unlink()
    assert not has_moved(record, new)  # the folder is empty: perhaps its disk is not mounted
    archive = f"archive:{file_uri(tmp_path / 'x.zip')}!/a.png"
    assert is_gone(archive)

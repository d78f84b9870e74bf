"""Removal of images that their sources no longer contain."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from indexing_world import World, outcome, png, write

from imagefinder.indexing import pruning


def test_prune_removes_images_missing_from_the_source(world: World, pics: Path, tmp_path: Path) -> None:
    write(tmp_path / "other/o.png", png(99))
    single = write(tmp_path / "single.png", png(98))
    world.add(pics, tmp_path / "other", single)
    (pics / "3.png").unlink()
    (pics / "4.png").rename(pics / "44.png")
    (tmp_path / "other/o.png").unlink()
    single.unlink()
    report = world.add(pics)
    assert (outcome(report), report.moved) == ((0, 0, 8, 0, 0), 1)
    report = world.add(pics, prune=True)
    assert outcome(report) == (0, 0, 9, 0, 1)
    assert report.notes == ()
    assert set(world.ids()) == {*(f"{n}.png" for n in (0, 1, 2, 5, 6, 7, 8, 9, 44)), "o.png", "single.png"}


def test_prune_of_many_pages(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_PAGE_IMAGES", 5)
    for n in range(33):
        write(tmp_path / "p" / f"{n}.png", png(n))
    world.add(tmp_path / "p")
    kept = {"0.png", "17.png", "9.png"}
    for file in (tmp_path / "p").iterdir():
        if file.name not in kept:
            file.unlink()
    assert world.add(tmp_path / "p", prune=True).removed == 30
    assert set(world.ids()) == kept


def test_prune_spares_a_source_that_was_not_read_completely(
    world: World, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pics / "locked/x.png", png(50))
    world.add(pics)
    (pics / "3.png").unlink()
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = world.add(pics, prune=True)
    assert outcome(report) == (0, 0, 9, 1, 0)
    assert len(report.notes) == 1
    assert pics.as_uri() in report.notes[0]
    assert len(world.ids()) == 11
    monkeypatch.undo()
    assert outcome(world.add(pics, prune=True)) == (0, 0, 10, 0, 1)
    assert world.store.failures() == []


def test_prune_spares_an_empty_source(world: World, pics: Path) -> None:
    world.add(pics)
    shutil.rmtree(pics)
    pics.mkdir()
    report = world.add(pics, prune=True)
    assert outcome(report) == (0, 0, 0, 0, 0)
    assert "mounted" in report.notes[0]
    assert len(world.ids()) == 10


def test_prune_frees_an_id_for_another_source(world: World, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write(a / "x.png", png(1))
    write(a / "z.png", png(2))
    world.add(a)
    (a / "x.png").unlink()
    write(b / "x.png", png(3))
    assert outcome(world.add(a, b, prune=True)) == (0, 0, 1, 1, 1)
    assert outcome(world.add(a, b, prune=True)) == (1, 0, 1, 0, 0)
    assert world.colours() == {"x.png": 3, "z.png": 2}


def emptied(folder: Path) -> None:
    """As an unmounted disk leaves its mount point."""
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("vanish", [shutil.rmtree, emptied])
def test_prune_refuses_when_a_whole_folder_has_vanished(world: World, pics: Path, vanish: Any) -> None:
    for n in range(3):
        write(pics / f"holiday/day {n}/{n}.png", png(60 + n))
    world.add(pics)
    before = set(world.ids())
    (pics / "3.png").unlink()
    vanish(pics / "holiday/day 1")
    report = world.add(pics, prune=True)
    assert report.removed == 0
    assert before <= set(world.ids())
    (note,) = report.notes
    assert f"{pics / 'holiday/day 1'} (1 in the collection)" in note
    assert "--force-prune" in note
    forced = world.add(pics, prune=True, force_prune=True)
    assert (forced.removed, forced.notes) == (2, ())
    assert not {"holiday/day 1/1.png", "3.png"} & set(world.ids())
    assert {"holiday/day 0/0.png", "holiday/day 2/2.png"} <= set(world.ids())


def test_the_images_of_a_renamed_folder_are_kept(world: World, pics: Path) -> None:
    write(pics / "holiday/a.png", png(60))
    world.add(pics)
    (pics / "holiday").rename(pics / "journey")
    report = world.add(pics, prune=True)
    assert (report.removed, report.added, "journey/a.png" in world.ids()) == (0, 0, True)


def test_the_highest_folder_that_has_vanished_is_named(world: World, pics: Path) -> None:
    for n in range(3):
        write(pics / f"holiday/day {n}/{n}.png", png(60 + n))
    world.add(pics)
    shutil.rmtree(pics / "holiday")
    (note,) = world.add(pics, prune=True).notes
    assert f"{pics / 'holiday'} (3 in the collection)" in note


def test_a_folder_with_other_files_is_pruned(world: World, pics: Path) -> None:
    write(pics / "holiday/a.png", png(60))
    (pics / "holiday/notes.txt").write_text("still here")
    world.add(pics)
    (pics / "holiday/a.png").unlink()
    assert world.add(pics, prune=True).removed == 1


def test_an_empty_source_is_pruned_by_force(world: World, pics: Path) -> None:
    world.add(pics)
    shutil.rmtree(pics)
    pics.mkdir()
    assert world.add(pics, prune=True).removed == 0
    assert world.add(pics, prune=True, force_prune=True).removed == 10
    assert world.ids() == []

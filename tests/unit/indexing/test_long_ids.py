"""Images whose ids would be too long: recorded as failures, without harm to the other images of the source."""

import zipfile
from pathlib import Path

import pytest
from indexing_world import World, outcome, png, write

from imagefinder.core import metadata
from imagefinder.core.errors import InputError
from imagefinder.core.metadata import MAX_ID_BYTES
from imagefinder.indexing.discover import discover
from imagefinder.indexing.guard import TRUSTED
from imagefinder.indexing.pages import PageLimits, with_pages
from imagefinder.stores.embedded import EmbeddedStore

FOLDER = "/".join(["d" * 199] * 5)
"""A folder of 999 bytes."""


def check_failures(world: World, names: list[str]) -> None:
    failures = world.store.failures()
    assert sorted(failure.uri.rpartition("/")[2] for failure in failures) == sorted(names)
    for failure in failures:
        assert failure.code == InputError.code
        assert "bytes; the limit is 1,024" in failure.message
        assert len(failure.id.encode()) <= MAX_ID_BYTES
    assert len({failure.id for failure in failures}) == len(names)


def test_in_a_folder(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number, name in enumerate(["x" * 20 + ".png", "x" * 21 + ".png", "y" * 21 + ".png", "é" * 11 + ".png"]):
        write(root / FOLDER / name, png(number))
    write(root / "z.png", png(9))
    assert outcome(world.add(root)) == (2, 0, 0, 3, 0)
    assert world.ids() == [f"{FOLDER}/{'x' * 20}.png", "z.png"]
    check_failures(world, ["x" * 21 + ".png", "y" * 21 + ".png", "%C3%A9" * 11 + ".png"])
    assert len(world.decoded) == 2
    again = world.add(root, prune=True)
    assert (again.unchanged, again.removed, len(again.failures), again.failed_before) == (2, 0, 3, 3)
    (root / FOLDER / ("x" * 21 + ".png")).rename(root / "short.png")
    assert world.add(root).added == 1
    check_failures(world, ["y" * 21 + ".png", "%C3%A9" * 11 + ".png"])


def test_in_a_list_and_in_an_archive(world: World, tmp_path: Path) -> None:
    write(tmp_path / "a.png", png(1))
    listed = write(tmp_path / "l.csv", f"url,id\na.png,{'i' * 1025}\na.png,{'i' * 1024}\n".encode())
    assert outcome(world.add(listed)) == (1, 0, 0, 1, 0)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("n" * 1021 + ".png", png(2))
        archive.writestr("n" * 60_000 + ".png", png(3))
        archive.writestr("good.png", png(4))
    assert outcome(world.add(tmp_path / "z.zip")) == (1, 0, 0, 2, 0)
    assert world.ids() == ["good.png", "i" * 1024]


def test_the_address_of_an_image(world: World) -> None:
    url = "http://localhost:1/" + "q" * 2000
    (failure,) = world.add(url).failures
    assert failure.uri == url
    assert "by a list, with a shorter id" in failure.message


def test_further_pages_of_a_file(world: World, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / FOLDER / ("t" * 19 + ".tiff")
    path.parent.mkdir(parents=True)
    pages = [Image.new("RGB", (8, 8), (red, 0, 0)) for red in (10, 20)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    items = with_pages(discover([tmp_path]), PageLimits(10, 1), TRUSTED)
    report = world.add(items=items)
    assert (report.added, len(report.failures)) == (1, 1)
    assert report.failures[0].uri.endswith(".tiff#page=2")


def test_an_image_that_is_stored_under_a_longer_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found, listed and removed; unchanged, it is no failure, and pruning keeps it."""
    root, name = tmp_path / "root", f"{FOLDER}/{'x' * 40}.png"
    write(root / name, png(1))
    write(root / "z.png", png(2))
    store = EmbeddedStore(tmp_path / "collection", create=True, cache_bytes=0)
    world = World(store)  # type: ignore[arg-type]  # any store will do
    monkeypatch.setattr(metadata, "MAX_ID_BYTES", 8192)  # as in earlier versions
    assert world.add(root).added == 2
    monkeypatch.undo()
    assert world.add(root, prune=True).unchanged == 2
    write(root / name, png(3))
    report = world.add(root, prune=True)
    assert (report.unchanged, report.removed, len(report.failures)) == (1, 0, 1)
    assert world.colours() == {name: 1, "z.png": 2}
    entry = store.entry(name)
    with pytest.raises(InputError, match="the limit is 1,024"):
        store.put([entry])
    assert store.delete([name], remember=True) == 1
    assert world.add(root).excluded == 1
    assert [removal.id for removal in store.removals()] == [name]
    store.close()

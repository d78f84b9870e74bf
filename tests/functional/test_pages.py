"""Pages of TIFF files and frames of animations, as a user adds, finds and removes them."""

import zipfile

import pytest
from PIL import Image

import imagefinder
from imagefinder.core.settings import Settings
from imagefinder.testing.extractors import textured_image

PAGES = [Image.fromarray(textured_image(seed, 160, 200)) for seed in range(1, 7)]


def save(path, pictures, **options):
    first, *others = (picture.copy() for picture in pictures)  # saving leaves options in an image
    first.save(path, save_all=True, append_images=others, **options)


def opened(folder, **changes):
    return imagefinder.open(settings=Settings(collection=folder / "c", isolate=False, **changes))


def ids(collection):
    return [image.id for image in collection.images()]


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    save(source / "sc#n.tif", PAGES[:4], compression="tiff_lzw")
    save(source / "moving.gif", PAGES[4:], duration=100)
    for number in range(6):
        Image.fromarray(textured_image(50 + number, 160, 200)).save(source / f"other-{number}.png")
    return tmp_path


def test_each_page_is_an_image(folder):
    source = folder / "src"
    with opened(folder) as collection:
        report = collection.add(source, methods=["sift"])
        assert (report.added, report.failed) == (11, 0)
        assert "files with pages or frames that were not added: 1" in report.notes[0]  # the animation
        assert ids(collection)[-4:] == ["sc#n.tif", *(f"sc#n.tif#page={page}" for page in (2, 3, 4))]
        assert collection.add(source, methods=["sift"]).unchanged == 11

        page = folder / "page.png"
        save(page, PAGES[2:3])
        hit = collection.search(page, method="sift", k=1).hits[0]
        assert (hit.id, hit.decision) == ("sc#n.tif#page=3", "match")
        assert collection.search(f"{source / 'sc#n.tif'}#page=3", method="sift", k=1).hits[0].id == hit.id
        whole = collection.search(source / "sc#n.tif", method="sift", k=2).hits
        assert (whole[0].id, whole[0].relation) == ("sc#n.tif", "identical")
        assert collection.search(id="sc#n.tif#page=3", method="sift", k=1).hits[0].relation != "identical"

        assert collection.get("sc#n.tif#page=3").uri.endswith("/sc%23n.tif#page=3")
        with collection.original("sc#n.tif#page=3") as file:
            assert file.read() == (source / "sc#n.tif").read_bytes()
        assert collection.explain(page, "sc#n.tif#page=3", method="sift").evidence.inliers > 20
        assert not any(group.spare for group in collection.duplicates().groups)

        for copy in ("copy.tif", "copy2.tif"):
            (source / copy).write_bytes((source / "sc#n.tif").read_bytes())
        collection.add(source, methods=["sift"])
        groups = collection.duplicates().groups
        assert {name for group in groups for name in group.spare} <= {"copy.tif", "copy2.tif", "sc#n.tif"}
        for copy in ("copy.tif", "copy2.tif"):
            (source / copy).unlink()

        save(source / "sc#n.tif", PAGES[:2])
        report = collection.add(source, methods=["sift"], prune=True)
        assert (report.replaced, report.removed) == (2, 10)
        collection.remove(["sc#n.tif#page=2"])
        assert collection.add(source, methods=["sift"]).added == 0


def test_frames_and_limits(folder):
    with opened(folder, animation_frames=2, max_pages=2) as collection:
        report = collection.add(folder / "src", methods=["sift"])
        found = ids(collection)
        assert [name for name in found if name.startswith("moving")] == ["moving.gif", "moving.gif#page=2"]
        assert [name for name in found if name.startswith("sc")] == ["sc#n.tif", "sc#n.tif#page=2"]
        assert "not added: 1;" in report.notes[0]


def test_archives_say_that_further_pages_are_not_added(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(folder / "src" / "sc#n.tif", "scan.tif")
    with opened(folder) as collection:
        report = collection.add(folder / "a.zip", methods=["sift"])
        assert report.added == 1
        assert "max_pages" in report.notes[0]


def test_a_file_named_like_a_page(folder):
    odd = folder / "plain#page=2"
    save(odd, PAGES[:1], format="PNG")
    with opened(folder) as collection:
        assert collection.add(odd, methods=["sift"]).added == 1
        hit = collection.search(odd, method="sift", k=1).hits[0]
        assert (hit.id, hit.relation) == ("plain#page=2", "identical")

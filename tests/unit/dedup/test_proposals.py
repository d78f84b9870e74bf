"""Which files of a collection are spare: files are added and changed, and duplicates searched again."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagefinder
from imagefinder.core.errors import SourceError
from imagefinder.core.settings import Settings
from imagefinder.dedup import originals
from imagefinder.dedup.proposals import recheck
from imagefinder.testing.extractors import textured_image


def picture(seed=1, form="JPEG", **options):
    buffer = io.BytesIO()
    image = textured_image(seed, 120, 160)
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, form, **({"quality": 92} | options))
    return buffer.getvalue()


@pytest.fixture
def collection():
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        yield collection


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


def write(folder, **files):
    for name, data in files.items():
        (folder / f"{name}.jpg").write_bytes(data)


def identical(collection):
    """The only group of identical images: kept image, spare images, reasons of the others."""
    (group,) = collection.duplicates(kinds=["identical"]).groups
    return group.ids[0], group.spare, dict(group.reasons)


def test_two_files(collection, folder):
    write(folder, a=picture(), bb=picture(), ccc=picture())
    collection.add(folder, methods=["sift"])
    assert identical(collection) == ("a.jpg", ("bb.jpg", "ccc.jpg"), {})


def test_of_three_copies_one_has_vanished(collection, folder):
    write(folder, a=picture(), bb=picture(), ccc=picture())
    collection.add(folder, methods=["sift"])
    (folder / "a.jpg").unlink()
    assert identical(collection) == ("bb.jpg", ("ccc.jpg",), {"a.jpg": "its file no longer exists"})
    (folder / "bb.jpg").unlink()
    assert identical(collection)[:2] == ("ccc.jpg", ())


@pytest.mark.parametrize("data", [b"", b"no image", picture(2)])
def test_a_file_that_has_changed(collection, folder, data):
    write(folder, a=picture(), bb=picture(), ccc=picture())
    collection.add(folder, methods=["sift"])
    status = (folder / "a.jpg").stat()
    (folder / "a.jpg").write_bytes(data.ljust(status.st_size)[: status.st_size])
    os.utime(folder / "a.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    reason = "its file has changed since it was added; add it again"
    assert identical(collection) == ("bb.jpg", ("ccc.jpg",), {"a.jpg": reason})


def test_all_files_have_changed(collection, folder):
    write(folder, a=picture(), bb=picture())
    collection.add(folder, methods=["sift"])
    write(folder, a=picture(3), bb=picture(4))
    assert identical(collection)[1] == ()


def test_a_folder_in_place_of_a_file(collection, folder):
    write(folder, a=picture(), bb=picture())
    collection.add(folder, methods=["sift"])
    (folder / "a.jpg").unlink()
    (folder / "a.jpg").mkdir()
    assert identical(collection) == ("bb.jpg", (), {"a.jpg": "it is not a regular file any more"})


def test_a_file_that_cannot_be_read(collection, folder, monkeypatch):
    write(folder, a=picture(), bb=picture())
    collection.add(folder, methods=["sift"])
    read = originals.read_file

    def failing(path, max_bytes):
        if path.endswith("a.jpg"):
            raise SourceError(f"{path} cannot be read: Permission denied")
        return read(path, max_bytes)

    monkeypatch.setattr(originals, "read_file", failing)
    assert identical(collection) == ("bb.jpg", (), {"a.jpg": "its file cannot be read"})


def test_links(collection, folder):
    write(folder, long_name=picture())
    (folder / "album").mkdir()
    (folder / "album" / "s.jpg").symlink_to(folder / "long_name.jpg")
    os.link(folder / "long_name.jpg", folder / "h.jpg")
    collection.add(folder, methods=["sift"])
    assert identical(collection) == (
        "h.jpg",
        (),
        {"album/s.jpg": "it is the same file as h.jpg", "long_name.jpg": "it is the same file as h.jpg"},
    )


def test_a_hard_link_and_a_copy(collection, folder):
    write(folder, a=picture(), zz=picture())
    os.link(folder / "zz.jpg", folder / "zzz.jpg")
    collection.add(folder, methods=["sift"])
    kept, spare, reasons = identical(collection)
    assert (kept, spare) == ("a.jpg", ())
    assert "hard links" in reasons["zz.jpg"]


def test_a_link_to_a_file_that_is_not_in_the_collection(collection, folder, tmp_path):
    (tmp_path / "elsewhere.jpg").write_bytes(picture())
    (folder / "l.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    write(folder, copy=picture())
    collection.add(folder, methods=["sift"])
    assert identical(collection) == ("copy.jpg", (), {"l.jpg": "it is a symbolic link"})
    (tmp_path / "elsewhere.jpg").unlink()
    assert identical(collection) == ("copy.jpg", (), {"l.jpg": "its file no longer exists"})


def test_a_link_to_a_folder(collection, folder, tmp_path):
    write(folder, a=picture())
    (tmp_path / "other").symlink_to(folder)
    collection.add_items([])
    collection.put("first", picture(), uri=(folder / "a.jpg").as_uri())
    collection.put("second", picture(), uri=(tmp_path / "other" / "a.jpg").as_uri())
    assert identical(collection) == ("first", (), {"second": "it is the same file as first"})


def test_overlapping_sources_and_lists(collection, folder):
    (folder / "2024").mkdir()
    write(folder / "2024", p=picture())
    (folder / "list.csv").write_text("url,id\n2024/p.jpg,1\n2024/p.jpg,200\n")
    collection.add(folder, folder / "2024", folder / "list.csv", methods=["sift"])
    kept, spare, reasons = identical(collection)
    assert (kept, spare) == ("1", ())
    assert reasons == dict.fromkeys(["200", "p.jpg", "2024/p.jpg"], "it is the same file as 1")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("", "it was added as data, without a file"),
        ("https://example.org/a.jpg", "it was not added from a file on this machine"),
        ("a.jpg", "it was not added from a file on this machine"),
        ("file:a.jpg", "it was not added from a file on this machine"),
        ("file://other.example/a.jpg", "it was not added from a file on this machine"),
        ("file:///nowhere/a.jpg", "its file no longer exists"),
        ("archive:file:///a.zip!/a.jpg", "it is inside an archive"),
        ("file:///a%00b.jpg", "its file no longer exists"),
    ],
)
def test_images_without_a_file_of_their_own(collection, folder, uri, reason):
    write(folder, long_name=picture())
    collection.add(folder, methods=["sift"])
    collection.put("a", picture(), uri=uri)
    assert identical(collection) == ("long_name.jpg", (), {"a": reason})


def test_a_uri_with_a_host_and_escapes(collection, folder):
    (folder / "a b%.jpg").write_bytes(picture())
    collection.put("a", picture(), uri=(folder / "a b%.jpg").as_uri().replace("file://", "file://localhost"))
    collection.put("b", picture(), uri=(folder / "a b%.jpg").as_uri())
    assert identical(collection) == ("a", (), {"b": "it is the same file as a"})


def test_an_archive_twice(collection, folder):
    for name in ("a.zip", "b.zip"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(f"{name}.jpg", picture())
    write(folder, long_name=picture())
    collection.add(folder / "a.zip", folder / "b.zip", folder, methods=["sift"])
    kept, spare, reasons = identical(collection)
    assert (kept, spare) == ("long_name.jpg", ())
    assert set(reasons.values()) == {"it is inside an archive"}


@pytest.mark.parametrize(
    ("beside", "word"),
    [("a.NEF", "camera raw"), ("A.cr3", "camera raw"), ("a.MOV", "Live Photo"), ("a.heic", "a HEIC and a JPEG")],
)
def test_files_that_belong_to_another_one(collection, folder, beside, word):
    write(folder, a=picture())
    (folder / "copies").mkdir()
    write(folder / "copies", a=picture())
    (folder / "copies" / beside).write_bytes(b"not read")
    collection.add(folder, methods=["sift"])
    # What stays in any case is also what is kept.
    assert identical(collection) == ("copies/a.jpg", ("a.jpg",), {})
    (folder / beside).write_bytes(b"not read")
    kept, spare, reasons = identical(collection)
    assert (kept, spare) == ("a.jpg", ())
    assert word in reasons["copies/a.jpg"]
    (folder / "copies" / beside).unlink()
    assert identical(collection) == ("a.jpg", ("copies/a.jpg",), {})


def test_the_better_file_is_kept(collection, folder):
    (folder / "a.png").write_bytes(picture())
    (folder / "the right name.jpg").write_bytes(picture())
    collection.add(folder, methods=["sift"])
    assert identical(collection) == ("the right name.jpg", ("a.png",), {})


def edited(collection):
    (group,) = collection.duplicates(kinds=["edited copies"]).groups
    return group.ids[0], group.spare, dict(group.reasons)


def others(folder):
    for seed in range(20, 26):
        write(folder, **{f"other{seed}": picture(seed)})


def test_an_edited_copy_is_spare(collection, folder):
    others(folder)
    (folder / "long name.png").write_bytes(picture(form="PNG"))
    write(folder, a=picture(quality=50))
    collection.add(folder, methods=["sift"])
    assert edited(collection) == ("long name.png", ("a.jpg",), {})
    (folder / "long name.png").unlink()
    assert edited(collection) == ("a.jpg", (), {"long name.png": "its file no longer exists"})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("frames", "2 frames or pages"),
        ("transparency", "transparency was not compared"),
        ("CMYK", "compared as 8-bit RGB"),
        ("motion photo", "can contain more"),
        ("profile", "colour profile"),
    ],
)
def test_more_than_was_compared_is_never_spare(collection, folder, change, word):
    others(folder)
    Image.fromarray(textured_image(1, 240, 320)).save(folder / "large.png")
    image = Image.fromarray(textured_image(1, 240, 320)).resize((200, 150))
    if change == "frames":
        image.save(folder / "a.webp", save_all=True, append_images=[image.rotate(180)], lossless=True)
    elif change == "transparency":
        image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda value: 255 - value // 9))
        image.save(folder / "a.png")
    elif change == "CMYK":
        image.convert("CMYK").save(folder / "a.jpg", quality=95)
    elif change == "profile":
        image.save(folder / "a.jpg", quality=95, icc_profile=b"wide gamut")
    else:
        image.save(folder / "a.jpg", quality=90)
        with (folder / "a.jpg").open("ab") as file:
            file.write(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    collection.add(folder, methods=["sift"])
    kept, spare, reasons = edited(collection)
    assert (kept, spare) == ("large.png", ())
    (reason,) = reasons.values()
    assert word in reason


def test_a_file_that_vanishes_during_the_run(collection, folder):
    write(folder, a=picture(), bb=picture(), ccc=picture())
    collection.add(folder, methods=["sift"])

    def progress(stage, done, total):
        if stage == "check" and done == total:
            (folder / "a.jpg").unlink()

    (group,) = collection.duplicates(kinds=["identical"], progress=progress).groups
    assert (group.spare, group.reasons["a.jpg"]) == ((), "its file no longer exists")


def test_a_later_look_at_a_report(collection, folder):
    write(folder, a=picture(), bb=picture(), ccc=picture())
    collection.add(folder, methods=["sift"])
    report = collection.duplicates()
    (group,) = report.groups
    look = lambda: recheck(group, report.states, collection.get)  # noqa: E731 - short
    assert look() == group
    (folder / "bb.jpg").unlink()
    assert look() == replace(group, spare=("ccc.jpg",), reasons={"bb.jpg": "its file no longer exists"})
    write(folder, a=picture())
    assert look().spare == ()
    assert set(look().reasons) == {"a.jpg", "bb.jpg", "ccc.jpg"}
    collection.remove("a.jpg")
    assert look().reasons["a.jpg"] == "it is no longer in the collection"


def test_a_kept_file_is_in_no_proposal_of_the_same_bytes(collection, folder):
    """Deleting every spare file leaves a file of each picture."""
    others(folder)
    Image.fromarray(textured_image(1, 240, 320)).save(folder / "large.png")
    small = Image.fromarray(textured_image(1, 240, 320)).resize((240, 180))
    for name in ("s.jpg", "s1.jpg", "s22.jpg"):
        small.save(folder / name)
    os.link(folder / "s.jpg", folder / "s333.jpg")
    collection.add(folder, methods=["sift"])
    spare = {image_id for group in collection.duplicates().groups for image_id in group.spare}
    for image_id in spare:
        (folder / image_id).unlink()
    assert (folder / "large.png").exists()
    assert {Path(name).suffix for name in spare} == {".jpg"}


def test_versions_of_one_picture_are_not_proposed(collection, folder):
    """An edited copy by its name is not a copy to delete; the same bytes are."""
    (folder / "IMG_1.jpg").write_bytes(picture())
    (folder / "IMG_1-edited.jpg").write_bytes(picture(quality=60))
    (folder / "small.jpg").write_bytes(picture(quality=70))
    collection.add(folder, methods=["sift"])
    (group,) = collection.duplicates(kinds=["edited copies"]).groups
    assert (group.ids[0], group.spare) == ("IMG_1.jpg", ("small.jpg",))
    assert "another version of IMG_1.jpg in the same stack" in group.reasons["IMG_1-edited.jpg"]
    (folder / "IMG_1-edited.jpg").write_bytes(picture())
    collection.add(folder)
    kept, spare, reasons = identical(collection)
    assert ({kept, *spare}, reasons) == ({"IMG_1.jpg", "IMG_1-edited.jpg"}, {})

import io
import json
from pathlib import Path

import pytest
from indexing_world import World, outcome
from PIL import Image

from imagefinder.core.errors import DecodeTimeoutError
from imagefinder.core.file_metadata import NO_FILE_METADATA
from imagefinder.indexing.file_metadata import MAX_BYTES, NO_SIDECARS, READER, SidecarFinder
from imagefinder.indexing.guard import Guard
from imagefinder.indexing.source_item import file_uri

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{}"/></rdf:RDF></x:xmpmeta>"""


def picture(number, taken=""):
    exif = Image.Exif()
    if taken:
        exif[271], exif[272] = "Maker", "Model"
        exif.get_ifd(0x8769)[36867], exif.get_ifd(0x8769)[37521] = taken, "5"
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, number // 256, 9)).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


@pytest.fixture
def world():
    return World()


@pytest.fixture
def pics(tmp_path) -> Path:
    folder = tmp_path / "pics"
    folder.mkdir()
    return folder


def found(folder: Path, name: str) -> list[str]:
    return [Path(path).name for path in SidecarFinder().find(file_uri(folder / name)).paths]


@pytest.mark.parametrize(
    ("name", "sidecars"),
    [
        ("IMG_1.jpg", ["IMG_1.jpg.xmp", "IMG_1.xmp", "IMG_1.jpg.json"]),
        ("IMG_1.JPG", ["IMG_1.jpg.xmp", "IMG_1.xmp", "IMG_1.jpg.json"]),
        ("IMG_1.dng", ["IMG_1.xmp"]),
        ("IMG_2.jpg", ["IMG_2.jpg.supplemental-metadata.json"]),
        ("IMG_2-edited.jpg", ["IMG_2.jpg.supplemental-metadata.json"]),
        ("IMG_3(2).jpg", ["IMG_3.jpg(2).json"]),
        ("IMG_3.jpg", []),
        (
            "a-very-long-name-of-an-image-from-a-phone-0001.jpg",
            ["a-very-long-name-of-an-image-from-a-phone-0001.json"],
        ),
        ("PXL_20240701_123456789.PORTRAIT.jpg", ["PXL_20240701_123456789.PORTRAIT.jpg.supplemen.json"]),
    ],
)
def test_sidecar_files_are_found_by_name(pics, name, sidecars):
    for one in ("IMG_1.jpg.xmp", "IMG_1.xmp", "IMG_1.jpg.json", "other.json", "IMG_3.jpg(2).json", "x.mov"):
        (pics / one).touch()
    for one in ("IMG_2.jpg.supplemental-metadata.json", "PXL_20240701_123456789.PORTRAIT.jpg.supplemen.json"):
        (pics / one).touch()
    (pics / "a-very-long-name-of-an-image-from-a-phone-0001.json").touch()
    assert found(pics, name) == sidecars


def test_images_that_are_no_files_have_none(pics):
    finder = SidecarFinder()
    assert finder.find("https://example.org/IMG_1.jpg") == finder.find("") == NO_SIDECARS
    assert finder.find(file_uri(pics / "gone" / "x.jpg")) == NO_SIDECARS
    (pics / "x.xmp").touch()
    assert SidecarFinder(Guard(within=("/nowhere",))).find(file_uri(pics / "x.jpg")) == NO_SIDECARS


def test_file_metadata_are_stored_and_refreshed_without_decoding(world, pics):
    (pics / "a.jpg").write_bytes(picture(1, "2024:07:01 12:30:05"))
    (pics / "b.jpg").write_bytes(picture(2))
    assert outcome(world.add(pics)) == (2, 0, 0, 0, 0)
    before = world.store.get("a.jpg").file_metadata
    assert before.properties == {"exif": {"taken": "2024-07-01T12:30:05.500", "camera": "Maker Model"}}
    assert before.stamp == READER
    assert world.add(pics).refreshed == 0
    (pics / "a.xmp").write_text(XMP.format(4))
    (pics / "a.mov").touch()
    report = world.add(pics)
    assert (outcome(report), report.refreshed, world.decoded) == ((0, 0, 2, 0, 0), 1, [])
    assert world.store.get("a.jpg").file_metadata.properties == {
        **before.properties,
        "xmp": {"rating": 4},
        "live": {"video": "a.mov"},
    }
    assert world.add(pics).refreshed == 0
    (pics / "a.xmp").write_text(XMP.format(2))
    assert world.add(pics).refreshed == 1
    assert world.store.get("a.jpg").file_metadata.properties["xmp"] == {"rating": 2}
    (pics / "a.xmp").unlink()
    assert world.add(pics).refreshed == 1
    assert "xmp" not in world.store.get("a.jpg").file_metadata.properties
    (pics / "a.jpg").write_bytes(picture(3, "2025:01:01 00:00:00"))
    assert outcome(world.add(pics)) == (0, 1, 1, 0, 0)
    assert world.store.get("a.jpg").file_metadata.properties["exif"]["taken"] == "2025-01-01T00:00:00.500"


def test_images_of_earlier_versions_get_theirs_with_the_next_run(world, pics):
    for number in range(5):
        (pics / f"{number}.jpg").write_bytes(picture(number, "2024:07:01 12:30:05"))
    world.add(pics)
    world.store.put_file_metadata(dict.fromkeys(world.ids(), NO_FILE_METADATA))
    report = world.add(pics)
    assert (report.unchanged, report.refreshed, world.decoded, world.mean.batches) == (5, 5, [], [])
    assert all(record.file_metadata.properties for record in world.store.images())
    assert report.stacked == 4  # a burst


def test_stacks_are_counted(world, pics):
    for number, name in enumerate(
        ["IMG_1.jpg", "IMG_1.dng.jpg", "IMG_1-edited.jpg", "IMG_E2222.jpg", "IMG_2222.jpg"]
    ):
        (pics / name).write_bytes(picture(number))
    report = world.add(pics)
    assert (report.added, report.stacked) == (5, 2)
    assert world.store.count(stacks=True) == 3


def test_a_moved_image_has_the_stack_of_its_new_folder(world, pics):
    (pics / "a").mkdir()
    (pics / "b").mkdir()
    (pics / "a" / "IMG_1.jpg").write_bytes(picture(1))
    (pics / "b" / "IMG_1-edited.jpg").write_bytes(picture(2))
    assert world.add(pics).stacked == 0
    (pics / "a" / "IMG_1.jpg").rename(pics / "b" / "IMG_1.jpg")
    assert world.add(pics).moved == 1
    assert world.store.count(stacks=True) == 1


def test_unreadable_metadata_never_fail_an_image(world, pics):
    (pics / "a.jpg").write_bytes(picture(1))
    (pics / "a.xmp").write_bytes(b"<" * (MAX_BYTES + 1))
    (pics / "a.jpg.xmp").mkdir()
    (pics / "a.jpg.json").write_text(json.dumps({"description": "text"}))
    assert outcome(world.add(pics)) == (1, 0, 0, 0, 0)
    assert world.store.get("a.jpg").file_metadata.properties == {"iptc": {"caption": "text"}}

    def slow(data, sidecars=()):
        raise DecodeTimeoutError("too long")

    (pics / "b.jpg").write_bytes(picture(2))
    assert outcome(world.add(pics, read_metadata=slow)) == (1, 0, 1, 0, 0)
    assert world.store.get("b.jpg").file_metadata.properties == {}


def test_metadata_of_the_user_stay(world, pics):
    (pics / "a.jpg").write_bytes(picture(1, "2024:07:01 12:30:05"))
    (pics.parent / "list.csv").write_text("url,id,shop\npics/a.jpg,a,north\n")
    world.add(pics.parent / "list.csv")
    record = world.store.get("a")
    assert record.metadata == {"shop": "north"}
    assert record.file_metadata.properties["exif"]["camera"] == "Maker Model"
    (pics.parent / "list.csv").write_text("url,id,exif\npics/a.jpg,b,mine\n")
    report = world.add(pics.parent / "list.csv")
    assert "reserved" in report.failures[0].message

import pytest

from imagefinder.core.file_metadata import FileMetadata
from imagefinder.indexing.stacks import burst_of, count_stacked, merge_bursts, stack_of
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.stores.samples import entry, register

TOGETHER = [
    ("IMG_1234.CR2", "IMG_1234.JPG"),
    ("IMG_1234.HEIC", "img_1234.jpeg"),
    ("IMG_1234.HEIC", "IMG_E1234.HEIC"),
    ("IMG_1234.jpg", "IMG_1234-edited.jpg"),
    ("IMG_1234.jpg", "IMG_1234-bearbeitet.jpg"),
    ("IMG_1234(1).jpg", "IMG_1234-edited(1).jpg"),
    ("caf\u00e9-modifi\u00e9.jpg", "cafe\u0301.jpg"),
    ("PXL_20240701_123456789.RAW-01.COVER.jpg", "PXL_20240701_123456789.RAW-02.ORIGINAL.dng"),
    ("PXL_20240701_123456789.jpg", "PXL_20240701_123456789.MP.jpg"),
    ("00000IMG_00000_BURST20190101123456789_COVER.jpg", "00007IMG_00007_BURST20190101123456789.jpg"),
    ("IMG_20190101_123456_BURST001_COVER.jpg", "IMG_20190101_123456_BURST014.jpg"),
    ("20240701_123456_001.jpg", "20240701_123456_012.jpg"),
    ("scan.png", "scan-edited.png"),
]
APART = [
    ("IMG_1234.jpg", "IMG_1235.jpg"),
    ("IMG_1234.jpg", "IMG_1234(1).jpg"),
    ("0001.jpg", "0001.png"),
    ("logo.svg", "logo.gif"),
    ("a/IMG_1.jpg", "b/IMG_1.jpg"),
    ("me-edited-by-me.jpg", "me.jpg"),
    ("scan.tif", "scan.tif#page=2"),
    (".jpg", "x.jpg"),
    ("Montage-editing.jpg", "Montage.jpg"),
]


@pytest.mark.parametrize(("one", "other"), TOGETHER)
def test_versions_of_one_picture_have_the_same_stack(one, other):
    assert stack_of(one, "") == stack_of(other, "")
    assert stack_of("x", f"file:///photos/{one}") == stack_of("y", f"file:///photos/{other}")


@pytest.mark.parametrize(("one", "other"), APART)
def test_other_pictures_have_another_stack(one, other):
    assert stack_of(one, "") != stack_of(other, "")


def test_the_stack_follows_from_the_uri_if_there_is_one():
    assert stack_of("1", "file:///a/IMG_1.jpg") == stack_of("2", "file:///a/IMG_1.dng")
    assert stack_of("IMG_1.jpg", "file:///a/IMG_1.jpg") != stack_of("IMG_1.jpg", "file:///b/IMG_1.jpg")
    assert stack_of("bad \\xff.jpg", "file:///a/%FF.jpg") == stack_of("bad", "file:///a/%FF.dng")


def test_web_addresses_join_nothing():
    for address in ("https://shop.example/product/7", "https://shop.example/a.jpg", "s3://shop/a.jpg"):
        assert stack_of("1", address) != stack_of("2", address)
        burst = {"exif.taken": "2024-07-01T12:30:05.120", "exif.camera": "R5"}
        assert burst_of("a/1", address, burst) != burst_of("b/2", address, burst)
    assert stack_of("a.jpg", "https://x.example/1") == stack_of("a.heic", "https://x.example/2")
    member = "archive:/a.zip#photos/IMG_1"
    assert stack_of("1", f"{member}.jpg") == stack_of("2", f"{member}.dng")


def test_bursts_are_images_of_one_camera_within_a_second():
    def burst(taken="2024-07-01T12:30:05.120+02:00", camera="R5", folder="a", **more):
        properties = {"exif.taken": taken, "exif.camera": camera, **more}
        return burst_of("x", f"file:///{folder}/x.jpg", {k: v for k, v in properties.items() if v})

    assert burst() == burst("2024-07-01T12:30:05.980+02:00") != ""
    assert len({burst(), burst("2024-07-01T12:30:06.120+02:00"), burst(camera="R6"), burst(folder="b")}) == 4
    for taken in ("2024-07-01T12:30:05", "2024-07-01T12:30:05.000", "2024-07-01", ""):
        assert burst(taken) == ""
    assert burst(camera="") == ""
    assert burst(burst="id") == burst("", burst="id") != burst(burst="other")


def test_bursts_are_merged_with_their_versions():
    """Raw and JPEG of all images of a burst, whatever the order in which they were added."""
    store = MemoryStore()
    register(store)

    def put(name, burst=""):
        found = FileMetadata({}, "1", stack_of(name, ""), burst)
        store.put([entry(name, len(name), methods=[], file_metadata=found)])

    put("1.jpg", "b")
    put("2.jpg", "b")
    put("2.dng")
    put("3.jpg", "c")
    merge_bursts(store, {"b", "c", "unknown"})
    assert store.count(stacks=True) == 2
    assert count_stacked(store) == 2
    put("4.jpg", "b")
    put("4.dng")
    put("2.jpg", "b")  # it was replaced
    assert store.count(stacks=True) == 4
    merge_bursts(store, {"b"})
    assert store.count(stacks=True) == 2
    assert {*store.stacked([store.get("1.jpg").file_metadata.stack])} == {store.get("4.dng").file_metadata.stack}
    merge_bursts(store, set())

from __future__ import annotations

import pytest

from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.listing import MAX_NAME, Group, listing_row, merged, name_key, taken_at
from imagefinder.core.records import ImageRecord


def record(image_id: str = "a", stamp: str = "", taken: object = None, added_at: float = 0.0) -> ImageRecord:
    said = FileMetadata({"exif": {"taken": taken}}, "made") if taken else FileMetadata()
    return ImageRecord(image_id, "", "", 1, 1, 1, "JPEG", stamp=stamp, added_at=added_at, file_metadata=said)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (
            record(taken="2024-05-01T10:20:30+02:00", stamp="1:1700000000000000000:1:1"),
            ("2024-05-01T10:20:30", "metadata"),
        ),
        (record(taken="2024-05-01"), ("2024-05-01T00:00:00", "metadata")),
        (record(taken="0000-00-00", added_at=86400), ("1970-01-02T00:00:00", "added")),
        (record(taken=["2024"], added_at=86400), ("1970-01-02T00:00:00", "added")),
        (record(stamp="1:1700000000000000000:1:1"), ("2023-11-14T22:13:20", "file")),
        (record(stamp="10:abcdef01", added_at=1.5), ("1970-01-01T00:00:01", "added")),
        (record(stamp=f"1:{10**30}:1:1"), ("1970-01-01T00:00:00", "file")),
        (record(stamp="1:-5:1:1", added_at=2), ("1970-01-01T00:00:02", "added")),
    ],
)
def test_time_taken(image: ImageRecord, expected: tuple[str, str]) -> None:
    assert taken_at(image) == expected


def test_names_sort_by_numbers_and_without_case() -> None:
    names = ["b/IMG_2.jpg", "img_10.jpg", "a/IMG_009.JPG", "Zebra.png", "äpfel.png", "apfel.png", "img_2a.jpg"]
    assert sorted(names, key=name_key) == [
        *("apfel.png", "b/IMG_2.jpg", "img_2a.jpg", "a/IMG_009.JPG", "img_10.jpg", "Zebra.png", "äpfel.png"),
    ]
    assert len(name_key("1a" * 500)) == MAX_NAME
    assert name_key("x/scan.tif#page=3") == name_key("scan.tif")


def test_folders_of_ids() -> None:
    assert [listing_row(record(i)).folder for i in ("a", "b/a", "b/c/a", "/a", "b//a")] == [
        "",
        "b",
        "b/c",
        "",
        "b/",
    ]


def test_groups_are_merged_into_longer_periods() -> None:
    days = [("2024-05-01", 2), ("2023-12-31", 1), ("2024-05-09", 3), ("2024-06-01", 1)]
    assert merged(days, "month", None, None) == [Group("2023-12", 1), Group("2024-05", 5), Group("2024-06", 1)]
    assert merged(days, "year", "2023", 1) == [Group("2024", 6)]
    assert merged(days, "day", "2024-05-01", 1) == [Group("2024-05-09", 3)]

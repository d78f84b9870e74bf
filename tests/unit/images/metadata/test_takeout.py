import json

import pytest

from imagefinder.images.metadata import takeout


def read(**content):
    found = takeout.properties(json.dumps(content).encode())
    return {name: value for name, value in found.items() if value is not None}


def test_a_file_of_takeout():
    assert read(
        title="IMG_1.jpg",
        description="Am Meer",
        photoTakenTime={"timestamp": "1719829805", "formatted": "01.07.2024"},
        geoData={"latitude": 48.85837, "longitude": 2.294481, "altitude": 35.0},
        geoDataExif={"latitude": 1.0, "longitude": 2.0, "altitude": 0.0},
    ) == {
        "exif.taken": "2024-07-01T10:30:05+00:00",
        "iptc.caption": "Am Meer",
        "exif.latitude": 48.85837,
        "exif.longitude": 2.294481,
        "exif.altitude": 35.0,
    }
    assert read(geoData={"latitude": 0.0, "longitude": 0.0}, geoDataExif={"latitude": 1, "longitude": 2}) == {
        "exif.latitude": 1.0,
        "exif.longitude": 2.0,
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"photoTakenTime": 5, "geoData": [], "description": {}}',
        b'{"photoTakenTime": {"timestamp": "9999999999999999"}, "geoData": {"latitude": "x", "longitude": NaN}}',
        b"[" * 100_000,
        b'{"description": "' + b"x" * takeout.MAX_BYTES + b'"}',
    ],
)
def test_damaged_files_have_none(data):
    assert not any(value is not None for value in takeout.properties(data).values())

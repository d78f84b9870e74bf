import pytest

from imagefinder.images.metadata import values


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024:07:01 12:30:05", "2024-07-01T12:30:05"),
        ("2024-07-01T12:30:05.12345+02:00", "2024-07-01T12:30:05.123+02:00"),
        ("2024-07-01T12:30:05Z", "2024-07-01T12:30:05+00:00"),
        ("2024-07-01T12:30", "2024-07-01T12:30:00"),
        ("20240701 123005+0200", "2024-07-01T12:30:05+02:00"),
        ("2024-07-01", "2024-07-01"),
        ("0000:00:00 00:00:00", None),
        ("2024:13:01 00:00:00", None),
        ("    :  :     :  :  ", None),
        ("2024:02:30 00:00:00", None),
        ("2024-07-01T12:30:05+99:00", "2024-07-01T12:30:05"),
        ("yesterday", None),
        ("2" * 1000, None),
        (None, None),
        (20240701, None),
    ],
)
def test_time(given, expected):
    assert values.time(given) == expected


def test_time_with_its_parts_apart():
    assert values.time("2024:07:01 12:30:05", offset="-05:30", fraction="7") == "2024-07-01T12:30:05.700-05:30"
    assert values.time("2024:07:01 12:30:05", offset="   :  ", fraction="x") == "2024-07-01T12:30:05"
    assert (
        values.time("2024:07:01 12:30:05", offset="+02:00\0", fraction="120\0\0")
        == "2024-07-01T12:30:05.120+02:00"
    )


@pytest.mark.parametrize(
    ("local", "utc", "offset"),
    [
        ("2024-07-01T12:30:05", "2024-07-01T10:30:01", "+02:00"),
        ("2024-07-01T12:30:05.500", "2024-07-01T06:45:00", "+05:45"),
        ("2024-07-01T23:30:00", "2024-07-02T08:30:00", "-09:00"),
        ("2024-07-01T12:00:00", "2024-07-01T12:00:00", "+00:00"),
        ("2024-07-01T12:30:05", "2024-07-01T10:36:00", None),  # the position is minutes old
        ("2024-07-01T12:30:05", "2024-06-01T10:30:00", None),
        ("2024-07-01T12:30:05+02:00", "2024-07-01T10:30:05", None),
        ("2024-07-01", "2024-07-01T10:30:05", None),
        ("2024-07-01T12:30:05", None, None),
    ],
)
def test_offset_from_the_time_of_the_position(local, utc, offset):
    assert values.offset_between(local, utc) == offset


def test_texts_are_cleaned_and_cut():
    assert values.text(" a\0b\x07\ud800\n") == "ab"
    assert (
        values.text("Gr\u00f6\u00dfe".encode())
        == values.text("Gr\u00f6\u00dfe".encode("cp1252"))
        == "Gr\u00f6\u00dfe"
    )
    assert values.text("x" * 10_000) == "x" * values.TEXT
    assert values.text(" \0 ") is values.text(5) is values.text(None) is None
    assert values.texts(["a", "b", "a", "", 5]) == ["a", "b"]
    assert len(values.texts(map(str, range(1000))) or ()) == values.KEYWORDS
    assert values.texts([]) is None


@pytest.mark.parametrize("given", ["nan", "inf", None, "x", [], 91, 10**400])
def test_numbers_out_of_range(given):
    assert values.number(given, -90, 90, 6) is None


def test_ratings_and_places():
    assert [values.rating(one) for one in ("5", -1, 0, 6, "x", 3.2)] == [5, -1, None, None, None, 3]
    assert values.coordinates(0.0, 0.0, 5.0) == values.coordinates(None, 1.0, None) == {}
    assert values.coordinates(0.0, 1.0, None) == {
        "exif.latitude": 0.0,
        "exif.longitude": 1.0,
        "exif.altitude": None,
    }
    assert str(values.number(-0.0000001, -90, 90, 6)) == "0.0"


@pytest.mark.parametrize(
    ("make", "model", "expected"),
    [
        ("Canon", "Canon EOS R5", "Canon EOS R5"),
        ("NIKON CORPORATION", "NIKON D850", "NIKON D850"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        (None, "X100", "X100"),
        ("Leica", None, "Leica"),
        (None, None, None),
    ],
)
def test_camera(make, model, expected):
    assert values.camera(make, model) == expected

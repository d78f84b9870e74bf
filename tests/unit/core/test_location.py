import os
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.core.errors import SettingsError
from imagefinder.core.location import as_location, child, parent, scheme_of, shown


@pytest.mark.parametrize(
    ("location", "scheme"),
    [
        ("photos", ""),
        ("/data/photos", ""),
        ("C:\\photos", ""),
        ("c:/photos", ""),
        ("C://photos", ""),
        ("shop: summer", ""),
        ("a:b", ""),
        ("folder/x://y", ""),
        ("file:///data", "file"),
        ("postgresql://db/shop", "postgresql"),
        ("PostgreSQL://db/shop", "postgresql"),
        ("postgresql+ssl://", "postgresql+ssl"),
        ("éa://x", ""),
    ],
)
def test_the_scheme_of_a_location(location, scheme):
    assert scheme_of(location) == scheme


@pytest.mark.parametrize("path", ["/a b/ä#?%2F", "/a\nb", "/x:/y", "/\udce9"])
@pytest.mark.skipif(os.name == "nt", reason="paths of POSIX")
def test_a_file_url_is_its_path(path):
    quoted = Path(path).as_uri()
    for text in (quoted, quoted.replace("file:///", "file:/"), quoted.replace("file:///", "FILE://LocalHost/")):
        assert as_location(text) == path
    assert as_location(path) == as_location(Path(path)) == path


def test_paths_are_normalised_and_urls_are_not():
    assert as_location("a//b/") == os.path.join("a", "b")  # noqa: PTH118 - the expected text
    assert as_location("~/x") == str(Path.home() / "x")
    assert as_location("") == "."
    assert as_location("s3://a//b/~") == "s3://a//b/~"


@pytest.mark.parametrize("url", ["file://server/share", "file://", "file://x", "FILE://~/x"])
def test_a_file_url_of_no_folder_is_refused(url):
    with pytest.raises(SettingsError, match="does not name a folder on this machine") as caught:
        as_location(url)
    assert "file:///FOLDER" in caught.value.hint


@given(st.text())
def test_a_normal_form_stays_as_it_is(text):
    try:
        normal = as_location(text)
    except SettingsError:
        return
    assert as_location(normal) == normal


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("/data/a@b?c", "/data/a@b?c"),
        (str(PureWindowsPath("C:\\a@b")), "C:\\a@b"),
        ("postgresql://db:5432/shop", "postgresql://db:5432/shop"),
        ("postgresql://ann:PASS@db:5432/shop", "postgresql://***@db:5432/shop"),
        ("postgresql://ann@db/shop?password=PASS", "postgresql://***@db/shop?..."),
        ("postgresql://ann:PA@SS@db/shop", "postgresql://***@db/shop"),
        ("postgresql://ann:PA/SS@db/shop", "postgresql://..."),
        ("postgresql://ann:PA?SS@db/shop", "postgresql://..."),
        ("postgresql://db/shop?password=PA@SS", "postgresql://..."),
        ("x://", "x://"),
    ],
)
def test_passwords_are_not_shown(location, text):
    assert shown(location) == text


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("postgresql://h/db", "postgresql://h/db/shop"),
        ("postgresql://h/db/", "postgresql://h/db/shop"),
        ("postgresql://u:p@h,i:5/db?sslmode=require", "postgresql://u:p@h,i:5/db/shop?sslmode=require"),
    ],
)
def test_a_name_in_a_url(location: str, expected: str) -> None:
    assert child(location, "shop") == expected
    above, name = parent(expected)
    assert (above, name) == (location.replace("db/", "db"), "shop")


def test_a_name_in_a_folder() -> None:
    assert child("/data/collections", "shop") == str(Path("/data/collections/shop"))

"""Names in zip archives as other programs write them."""

import struct
import unicodedata
import zipfile
import zlib

import pytest

from imagefinder.indexing.zip_names import member_name

NAME = "Größe/Übung.jpg"


def member(raw: bytes, *, flag: bool = False, extra: bytes = b"", system: int = 3) -> zipfile.ZipInfo:
    """A member as ``zipfile`` reads it."""
    info = zipfile.ZipInfo(raw.decode("utf-8" if flag else "cp437"))
    info.flag_bits, info.extra, info.create_system = 0x800 * flag, extra, system
    return info


def field(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def unicode_path(raw: bytes, name: bytes, *, version: int = 1) -> bytes:
    return field(0x7075, struct.pack("<BL", version, zlib.crc32(raw)) + name)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("flag", [True, False])
def test_utf_8_with_and_without_the_flag(form: str, flag: bool) -> None:
    name = unicodedata.normalize(form, NAME)
    assert member_name(member(name.encode(), flag=flag)) == name


def test_the_default_code_page() -> None:
    assert member_name(member(NAME.encode("cp437"))) == NAME


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp932", "表示/写真.jpg"), ("gbk", "照片/风景.jpg"), ("cp866", "Фильм/Юг.jpg"), ("cp949", "사진.jpg")],
)
def test_an_encoding_that_is_given(encoding: str, name: str) -> None:
    raw = name.encode(encoding)
    for system in (0, 3):  # the second byte of 表 in cp932 is a backslash
        assert member_name(member(raw, system=system), encoding) == name
    assert member_name(member(NAME.encode(), flag=True), encoding) == NAME
    assert member_name(member(raw, extra=unicode_path(raw, NAME.encode())), encoding) == NAME


def test_bytes_that_the_encoding_does_not_have() -> None:
    assert member_name(member(b"\xff1.jpg"), "ascii") == "\\xff1.jpg"


def test_the_unicode_path_field() -> None:
    raw = b"Gr__e/_bung.jpg"
    info = unicode_path(raw, NAME.encode())
    assert member_name(member(raw, extra=info)) == NAME
    assert member_name(member(raw, extra=field(0x5455, b"12345") + info + field(1, b""))) == NAME


@pytest.mark.parametrize(
    "extra",
    [
        unicode_path(b"old name.jpg", NAME.encode()),  # renamed by a program that does not know the field
        unicode_path(b"a.jpg", NAME.encode(), version=2),
        unicode_path(b"a.jpg", b"\xff\xfe"),
        unicode_path(b"a.jpg", b""),
        field(0x7075, b"\x01"),
        unicode_path(b"a.jpg", NAME.encode())[:7],
        b"\x75",
        field(0x7075, b""),
    ],
)
def test_a_field_that_is_not_valid(extra: bytes) -> None:
    assert member_name(member(b"a.jpg", extra=extra)) == "a.jpg"


def test_backslashes_of_windows_separate_folders() -> None:
    assert member_name(member(b"a\\b.jpg", system=0)) == "a/b.jpg"
    assert member_name(member(b"a\\b.jpg", system=3)) == "a\\b.jpg"


def test_a_name_ends_at_a_zero_byte() -> None:
    assert member_name(member(b"a.jpg\0.txt")) == "a.jpg"


def test_a_name_of_unknown_encoding_is_not_split_within_a_character() -> None:
    """The second byte of these characters is a backslash; what follows it would be a hidden file."""
    for name in ("\u8868.png", "x/\u80fd.png", "\u30bd/1.png"):
        found = member_name(member(name.encode("cp932"), system=0))
        assert found.count("/") == name.count("/")
        assert not any(part.startswith(".") for part in found.split("/"))
    assert member_name(member(b"a\\caf\x82.png", system=0)) == "a/caf\u00e9.png"


def test_bytes_without_a_character_do_not_separate_folders() -> None:
    assert member_name(member(b"a\\caf\x82.png", system=0), "ascii") == "a/caf\\x82.png"
    assert member_name(member(b"\x1b$Bzz\x80.png"), "iso2022_jp").startswith("\\x7a\\x7a\\x80")

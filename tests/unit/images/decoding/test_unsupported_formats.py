"""What a file that is not an image is called; ``test_decode.py`` decodes such files."""

import gzip
import io
import zipfile

import pytest

from imagefinder.images.decoding.unsupported_formats import identify_unsupported


def packed(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<!DOCTYPE html>\n<html>", "web page"),
        (b"\xef\xbb\xbf\r\n<HTML lang=de>", "web page"),
        (b"<!-- saved -->\n<!doctype HTML>", "web page"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">', "web page"),
        (b"<head><title>403 Forbidden</title></head>", "web page"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "SVG"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        (b'{"error": {"code": 404}}', "JSON"),
        (b'[\n  {"url": "x"}]', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS pointer"),
        (b"url,id\nhttp://x/a.jpg,1\n", "text"),
        ("Zugriff verweigert: fehlende Schlüssel".encode(), "text"),
        ("text".encode("utf-16"), "text"),
        ("ü".encode() * 5000, "text"),  # a character is cut at the end of what is examined
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "video"),
        (b"ID3\x04\0\0", "audio"),
        (packed("word/document.xml"), "archive"),
        (packed("[Content_Types].xml"), "Office document or e-book"),
        (packed("mimetypeapplication/epub+zip"), "Office document or e-book"),
        (b"\x28\xb5\x2f\xfd\x24", "compressed file"),
        (gzip.compress(b"x", mtime=0), "compressed file"),
    ],
)
def test_common_formats(data: bytes, name: str) -> None:
    found = identify_unsupported(data)
    assert found is not None
    assert found.name == name
    assert found.hint


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\0\1\2", b"\x93NUMPY\1\0", bytes(range(256))])
def test_unknown_bytes(data: bytes) -> None:
    assert identify_unsupported(data) is None

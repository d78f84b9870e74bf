"""Forms as other clients send them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser
from starlette.testclient import TestClient

from imagefinder.server.errors import Problem
from imagefinder.server.form_parts import MAX_PREAMBLE, Part, PreambleFilter, read_part

TYPE = "multipart/form-data; boundary=BB"
DATA = b"\xff\xd8 \r\n--B\n the image \x00"


@pytest.mark.parametrize(
    ("disposition", "media_type", "name", "kind"),
    [
        ('form-data; name="image"; filename="a.jpg"', "image/jpeg", "image", "file"),
        ("form-data; name=image; filename=a.jpg; filename*=utf-8''a.jpg", "", "image", "file"),
        ("form-data; name=\"image\"; filename*=utf-8''%E6%B5%B7.jpg", "", "image", "file"),
        ("form-data; name=\"image\"; filename*=UTF-8'en'%e6.jpg", "", "image", "file"),
        ('form-data; name="image"; filename*0="a"; filename*1="b.jpg"', "", "image", "file"),
        ("form-data; name=\"image\"; filename*0*=utf-8''a", "", "image", "file"),
        ('form-data; name="image"; filename=""; filename*=utf-8\'\'a', "", "image", "file"),
        ('form-data; name="image"', "image/jpeg", "image", "file"),
        ('form-data; name="image"', "IMAGE/JPEG; x=y", "image", "file"),
        ('form-data; name="image"', "application/octet-stream", "image", "file"),
        ('form-data; name="image"', "text/plain; charset=utf-8", "image", "text"),
        ('form-data; name="metadata"', "application/json", "metadata", "text"),
        ('form-data; name="image"', "", "image", "text"),
        ('form-data; name="image"; filename=""', "application/octet-stream", "image", "unchosen"),
        ('Form-Data;NAME="image";FileName="a;b\\"c.jpg"', "", "image", "file"),
        ('form-data; filename="x; name=\\"image\\""; name="other"', "", "other", "file"),
        ("form-data; name*=utf-8''im%61ge; filename=a", "", "image", "file"),
        ("form-data; name*=nonsense''im%61ge; filename=a", "", "image", "file"),
        ('form-data; name="image[]"; filename="a.jpg"', "", "image", "file"),
        ('form-data; name="été"; filename="a.jpg"', "", "été", "file"),
        ("form-data", "", "", "text"),
        ("", "", "", "text"),
    ],
)
def test_the_headers_of_a_part(disposition: str, media_type: str, name: str, kind: str) -> None:
    part = read_part(disposition.encode(), media_type.encode(), b"")
    assert (part.name, part.kind) == (name, kind)


@pytest.mark.parametrize(
    ("stated", "encoding"),
    [
        ("", ""),
        ("binary", ""),
        ("8bit", ""),
        ("7BIT ", ""),
        ("Base64", "base64"),
        ("quoted-printable", "quoted-printable"),
    ],
)
def test_transfer_encodings(stated: str, encoding: str) -> None:
    assert read_part(b'form-data; name="a"', b"", stated.encode()) == Part("a", "text", "", encoding)


@given(st.binary(max_size=200), st.binary(max_size=50), st.binary(max_size=20))
def test_any_header_is_read(disposition: bytes, content_type: bytes, encoding: bytes) -> None:
    assert read_part(disposition, content_type, encoding).kind in {"file", "text", "unchosen"}


def form(headers: str, *, before: bytes = b"", after: bytes = b"\r\n", data: bytes = DATA) -> bytes:
    return before + b"--BB\r\n" + headers.encode() + b"\r\n\r\n" + data + b"\r\n--BB--" + after


FILE = 'Content-Disposition: form-data; name="image"; filename="a.jpg"'
PREAMBLE = b"This is a multi-part message in MIME format.\r\n"

ACCEPTED = {
    "filename and filename*": (form(f"{FILE}; filename*=utf-8''a.jpg"), TYPE),
    "filename* alone": (
        form("Content-Disposition: form-data; name=\"image\"; filename*=utf-8''%E6%B5%B7.jpg"),
        TYPE,
    ),
    "no file name": (form('Content-Disposition: form-data; name="image"\r\nContent-Type: image/jpeg'), TYPE),
    "no file name, octets": (
        form('Content-Disposition: form-data; name="image"\r\ncontent-type:application/octet-stream'),
        TYPE,
    ),
    "an empty file name": (form('Content-Disposition: form-data; name="image"; filename=""'), TYPE),
    "a preamble": (form(FILE, before=PREAMBLE), TYPE),
    "a preamble with hyphens": (form(FILE, before=b"--\r\n-- --B\r\n--BA\r\n"), TYPE),
    "an empty line before": (form(FILE, before=b"\r\n"), TYPE),
    "an epilogue": (form(FILE, after=b"\r\nThe end.\r\n--BB\r\n"), TYPE),
    "no line end after": (form(FILE, after=b""), TYPE),
    "a quoted boundary": (form(FILE), 'multipart/form-data; boundary="BB"'),
    "capitals": (
        form(FILE.replace("Content-Disposition", "CONTENT-DISPOSITION")),
        'Multipart/Form-Data; Boundary="BB"',
    ),
    "a boundary with spaces": (form(FILE).replace(b"--BB", b"--B B"), 'multipart/form-data; boundary="B B"'),
    "a parameter before the boundary": (form(FILE), "multipart/form-data; charset=utf-8; boundary=BB"),
    "binary": (form(f"Content-Transfer-Encoding: binary\r\n{FILE}"), TYPE),
    "headers of the part": (form(f"Content-Length: 5\r\nContent-ID: <1>\r\n{FILE}\r\nX-Other: y"), TYPE),
    "brackets": (form(FILE.replace('"image"', '"image[]"')), TYPE),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_form_of_another_client_is_accepted(client: TestClient, fake: Any, name: str) -> None:
    body, media_type = ACCEPTED[name]
    for content in (body, (body[n : n + 1] for n in range(len(body)))):
        answer = client.post("/sift-similar-images", content=content, headers={"Content-Type": media_type})
        assert answer.status_code == 200, answer.text
        assert fake.queries.pop()[0] == DATA


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form(f"{FILE}\r\nContent-Transfer-Encoding: base64", data=b"AAAA"), "transfer encoding 'base64'"),
        (form(FILE).replace(b"\r\n", b"\n"), "cannot be parsed: error near byte"),
        (form(FILE).replace(b"BB", b"CC"), "boundary of its Content-Type does not occur"),
        (b"x" * (MAX_PREAMBLE + 1), "boundary of its Content-Type does not occur"),
    ],
)
def test_another_form_is_refused_with_the_reason(client: TestClient, fake: Any, body: bytes, words: str) -> None:
    answer = client.post("/sift-similar-images", content=body, headers={"Content-Type": TYPE})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "malformed_form")
    assert words in problem["detail"]
    assert problem["hint"]
    assert not fake.queries


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"-", b"B", b"--BB", b"\r\n--B", b"x"]), max_size=12),
    st.integers(1, 9),
)
def test_a_preamble_does_not_change_the_form(pieces: list[bytes], size: int) -> None:
    before = b"".join(pieces)
    if b"\n--BB" in b"\n" + before:
        return  # that is the first boundary
    received = bytearray()
    parser = MultipartParser(b"BB", {"on_part_data": lambda data, start, end: received.extend(data[start:end])})
    body = before + b"\r\n" + form(FILE)
    target = PreambleFilter(b"BB", parser.write)
    for start in range(0, len(body), size):
        target.write(body[start : start + size])
    target.end()
    assert received == DATA


def test_a_preamble_is_limited() -> None:
    target = PreambleFilter(b"BB", lambda _: None)
    target.write(b"x" * (MAX_PREAMBLE - 1))
    with pytest.raises(Problem, match="boundary"):
        target.write(b"y")

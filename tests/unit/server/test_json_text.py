from __future__ import annotations

import time

import pytest

from imagefinder.server import json_text
from imagefinder.server.errors import Problem
from imagefinder.server.json_text import MAX_JSON_VALUES, parse_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": [1, "x", null]}', {"a": [1, "x", None]}),
        ('{"a": "\\"},[{"}', {"a": '"},[{'}),
        (b'{"a": "\\\\", "b": "c"}', {"a": "\\", "b": "c"}),
        (b'\xef\xbb\xbf{"a": "\xc3\xa4"}', {"a": "ä"}),
        (b'"' + b"," * 200_000 + b'"', "," * 200_000),
        (b'"' + b'\\"' * 200_000 + b'"', '"' * 200_000),
        (b"[" + b",".join([b'{"a": 1}'] * 6000) + b"]", [{"a": 1}] * 6000),
    ],
)
def test_valid_documents(text: bytes | str, value: object) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b'{"id":"x",' + b",".join(b'"%x":0' % number for number in range(800_000)) + b"}", "strings"),
        (b"{" + b",".join(b'"%x":0' % number for number in range(30_000)) + b"}", "values"),
        (b"[" * 30_000, "values"),
        (b'{"a":' * 30_000, "values"),
        (b'["' * 16_000_000, "strings"),
        (b"[" + b"0," * 16_000_000, "bytes outside of strings"),
        (b"1" * 32_000_000, "bytes outside of strings"),
        (b'{"a":' + b" " * 32_000_000 + b"1}", "bytes outside of strings"),
        (b'"' + b"\\u0041" * 5_000_000 + b'"', "escaped characters"),
        (b'{"a": "\\\\", ' + b'"b": 0,' * 30_000, "values"),
        (b'{"a": "\\"", ' + b'"b": 0,' * 30_000, "values"),
    ],
)
def test_documents_that_would_take_long_are_not_parsed(
    text: bytes, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_text.json, "loads", pytest.fail)
    start = time.thread_time()
    with pytest.raises(Problem, match=f"too many {what}; the limit is") as caught:
        parse_json(text)
    assert time.thread_time() - start < 1
    assert caught.value.code == "invalid_parameter"
    assert caught.value.members["limit"] >= MAX_JSON_VALUES


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b"\xff\xfe{\x00}\x00",
        b"[" * 15_000,
        b"9" * 5000,
        b'"\\ud800',
    ],
)
def test_malformed_documents(text: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_json(text, "filter")
    assert (caught.value.code, caught.value.members) == ("malformed_json", {"field": "filter"})

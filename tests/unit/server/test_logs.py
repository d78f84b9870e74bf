from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from imagefinder.server import request_context
from imagefinder.server.logs import JsonLines, TextLines
from imagefinder.server.request_context import RequestContext

NASTY = "a\nINFO forged\r\x1b[31m\u202e\x00\u2028\x85b"


def record(
    message: str, *arguments: object, error: BaseException | None = None, **fields: Any
) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("imagefinder.x", logging.INFO, "f", 1, message, arguments, info)
    if fields:
        made.fields = fields
    return made


def raised(text: str) -> Exception:
    try:
        int(text)
    except ValueError:
        return ValueError(text).with_traceback(sys.exc_info()[2])
    raise AssertionError


def test_json_lines() -> None:
    line = json.loads(JsonLines().format(record("hello %s", "x", status=200, key="")))
    assert {
        "level": "info",
        "logger": "imagefinder.x",
        "message": "hello x",
        "status": 200,
        "key": "",
    }.items() <= (line.items())
    assert line["time"].endswith("+00:00")
    assert "request_id" not in line


@pytest.mark.parametrize("form", [JsonLines(), TextLines()])
def test_client_input_cannot_forge_log_lines(form: logging.Formatter) -> None:
    made = record("seen: %s", NASTY, client=NASTY, error=raised(NASTY))
    text = form.format(made)
    first, *others = text.split("\n")
    assert all(line.startswith("    ") for line in others)
    for line in (first, *others):
        assert line.isprintable(), line
    if isinstance(form, JsonLines):
        assert not others
        assert json.loads(text)["message"] == f"seen: {NASTY}"
        assert "ValueError" in json.loads(text)["exception"]
    else:
        assert "seen: a\\nINFO forged" in first
        assert any("ValueError" in line for line in others)


def test_records_of_a_request_have_its_id() -> None:
    token = request_context.current.set(RequestContext("abc"))
    try:
        assert json.loads(JsonLines().format(record("x")))["request_id"] == "abc"
        assert TextLines().format(record("x")).endswith("request_id=abc")
        assert TextLines().format(record("x", request_id="abc")).count("request_id") == 1
    finally:
        request_context.current.reset(token)


@pytest.mark.parametrize("sent", [b"a", b"A-z.0:9_", b"x" * 64])
def test_a_valid_request_id_is_accepted(sent: bytes) -> None:
    assert request_context.request_id(sent) == sent.decode()


@pytest.mark.parametrize("sent", [None, b"", b"x" * 65, b"a b", b"a\nb", b"a\n", b"\xff", b"<x>", b'"'])
def test_an_invalid_request_id_is_replaced(sent: bytes | None) -> None:
    made = request_context.request_id(sent)
    assert len(made) == 16
    assert request_context.request_id(made.encode()) == made
    assert request_context.request_id(sent) != made


def test_the_configuration_writes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess

    code = (
        "import logging, logging.config\n"
        "from imagefinder.server.logs import configuration\n"
        "logging.config.dictConfig(configuration('json'))\n"
        "logging.getLogger('imagefinder.a').info('one')\n"
        "logging.getLogger('uvicorn.error').warning('two')\n"
        "logging.getLogger('uvicorn.access').info('three')\n"
        "logging.getLogger('other').warning('four')\n"
        "logging.getLogger('other').info('five')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["one", "two", "four"]
    assert done.stdout == ""

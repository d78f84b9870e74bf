"""The pages for people: the web page, and the reference made from the OpenAPI description.

The web page is a client of the REST API: the files of ``imagefinder/web`` as they are. The reference is plain HTML
without scripts. Neither loads anything from another host, and the browser is told to see to that.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

import imagefinder
from imagefinder.server.errors import KINDS, Problem

WEB = Path(imagefinder.__file__).parent / "web"
"""The files of the web page."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_CACHE = {"Cache-Control": "no-cache"}  # asked for again each time, and answered 304 until the release changes

_LINK = r'<a href="#\1"><code>\1</code></a>'

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="icon" href="web/icon.svg">
<link rel="stylesheet" href="docs.css">
{body}
</html>
"""

_STYLE = """:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
pre { padding: .6rem; border: 1px solid #8888; overflow-x: auto }
table { border-collapse: collapse }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }
:target { outline: 2px solid }
"""


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the web page, read once."""

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> _File:
        content = path.read_bytes()
        return cls(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')

    def answer(self, request: Request) -> Response:
        headers = {**_CACHE, "ETag": self.etag}
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if self.etag in known:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


@cache
def _files() -> Mapping[str, _File]:
    """The files of the web page; only these are served: no name in a request ever becomes a path."""
    return {path.name: _File.read(path) for path in WEB.iterdir() if path.suffix in _TYPES}


router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    return _files()["index.html"].answer(request)


@router.api_route("/web/{name}", methods=["GET", "HEAD"])
async def web(request: Request, name: str) -> Response:
    if name not in _files():
        path = request.scope["path"]
        raise Problem("not_found", f"there is nothing at {path}", hint="/docs lists what there is")
    return _files()[name].answer(request)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    return _html("imagefinder: REST reference", _docs(_base(request), request.app.openapi()))


@router.get("/docs.css")
async def style() -> Response:
    return Response(_STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


def _html(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body))


def _base(request: Request) -> str:
    """How the client reached us; only what is safe to paste into a shell."""
    host = request.headers.get("host", "")
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]_-]+", host):
        host = "HOST:5000"
    return f"{request.scope['scheme']}://{host}{request.scope.get('root_path', '')}"


def _docs(base: str, schema: Mapping[str, Any]) -> str:
    sections = [
        _operation(base, path, verb, operation)
        for path, operations in schema["paths"].items()
        for verb, operation in operations.items()
    ]
    problems = "\n".join(
        f'<tr id="{code}"><td><code>{code}</code><td>{kind.status}<td>{"yes" if kind.retryable else "no"}'
        f"<td>{escape(kind.title)}"
        for code, kind in KINDS.items()
    )
    return f"""<h1>imagefinder {escape(schema["info"]["version"])}: REST reference</h1>
<p>For programs: <a href="openapi.json">openapi.json</a>. Back to the <a href="./">page</a>.</p>
{"".join(sections)}
<h2>Problems</h2>
<p>Every error is an <code>application/problem+json</code> object (RFC 9457) with <code>type</code>,
<code>title</code>, <code>status</code>, <code>detail</code>, <code>code</code>, <code>retryable</code> and
<code>hint</code>; where it applies also <code>field</code>, <code>limit</code>, <code>unit</code> and
<code>known_methods</code>.</p>
<table><tr><th>code<th>status<th>retryable<th>meaning
{problems}
</table>"""


def _operation(base: str, path: str, verb: str, operation: Mapping[str, Any]) -> str:
    parameters = "".join(_parameter(item) for item in operation.get("parameters", ()))
    answers = "".join(
        f"<tr><td>{status}<td>{re.sub('`(.+?)`', _LINK, escape(answer['description']))}"
        for status, answer in operation["responses"].items()
    )
    call = f"curl {base}{path}" if verb == "get" else f"curl {_sent(verb, operation)}{base}{path}"
    return f"""<h2 id="{escape(operation["operationId"])}">{verb.upper()} {escape(path)}</h2>
<p>{escape(operation["summary"])}. {escape(operation.get("description", ""))}</p>
<pre>{escape(call)}</pre>
<table>{parameters}</table>
<table><tr><th>status<th>answer{answers}</table>
"""


def _sent(verb: str, operation: Mapping[str, Any]) -> str:
    """What curl is told to send: the files of a form, or else the first example of a JSON body."""
    content = operation.get("requestBody", {}).get("content", {})
    files = content.get("multipart/form-data", {}).get("schema", {}).get("required", ())
    if files:
        return f"-X {verb.upper()} " + "".join(f'-F "{name}=@picture.jpg" ' for name in files)
    for example in content.get("application/json", {}).get("examples", {}).values():
        body = shlex.quote(json.dumps(example["value"]))
        return f"-X {verb.upper()} --json {body} "
    return f"-X {verb.upper()} "


def _parameter(item: Mapping[str, Any]) -> str:
    name = f"{{{item['name']}}}" if item["in"] == "path" else f"?{item['name']}="
    text = f"{escape(item.get('description', ''))} ({escape(_rules(item['schema']))})"
    return f"<tr><th>{escape(name)}<td>{text}"


def _rules(schema: Mapping[str, Any]) -> str:
    """A schema in a line; ``null`` stands for leaving the parameter out, which needs no words."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    told = {**(kinds[0] if len(kinds) == 1 else {}), **schema}
    if "items" in told:
        told["items"] = told["items"].get("type", "")
    return ", ".join(
        f"{key} {value}" for key, value in told.items() if key not in {"title", "description", "anyOf"}
    )

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
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

import imagefinder
from imagefinder import templates
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
    return HTMLResponse(_reference(_base(request), request.app.openapi()))


@router.get("/docs.css")
async def style(request: Request) -> Response:
    return _files()["docs.css"].answer(request)


def _base(request: Request) -> str:
    """How the client reached us; only what is safe to paste into a shell."""
    host = request.headers.get("host", "")
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]_-]+", host):
        host = "HOST:5000"
    return f"{request.scope['scheme']}://{host}{request.scope.get('root_path', '')}"


def _reference(base: str, schema: Mapping[str, Any]) -> str:
    operations = [
        _operation(base, path, verb, operation)
        for path, operations in schema["paths"].items()
        for verb, operation in operations.items()
    ]
    return templates.render(
        "reference.html", version=schema["info"]["version"], operations=operations, problems=KINDS
    )


def _operation(base: str, path: str, verb: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    """An operation as the template shows it."""
    sent = "" if verb == "get" else _sent(verb, operation)
    return {
        "id": operation["operationId"],
        "verb": verb.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": _one_line(operation.get("description", "")),
        "call": f"curl {sent}{base}{path}",
        "parameters": [_parameter(item) for item in operation.get("parameters", ())],
        "responses": [
            (status, _one_line(response["description"])) for status, response in operation["responses"].items()
        ],
    }


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


def _parameter(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """Name, description and rules."""
    name = f"{{{item['name']}}}" if item["in"] == "path" else f"?{item['name']}="
    return name, _one_line(item.get("description", "")), _rules(item["schema"])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _rules(schema: Mapping[str, Any]) -> str:
    """A schema in a line; ``null`` stands for leaving the parameter out, which needs no words."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    told = {**(kinds[0] if len(kinds) == 1 else {}), **schema}
    if "items" in told:
        told["items"] = told["items"].get("type", "")
    return ", ".join(
        f"{key} {value}" for key, value in told.items() if key not in {"title", "description", "anyOf"}
    )

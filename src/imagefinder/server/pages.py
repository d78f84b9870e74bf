"""The HTML pages: the web page, and the reference generated from the OpenAPI description.

The web page is a client of the REST API; its files in ``imagefinder/web`` are served unchanged. The reference is
plain HTML without scripts. Neither loads anything from another host; the content security policy enforces it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

import imagefinder
from imagefinder import templates
from imagefinder.server.errors import KINDS, not_found
from imagefinder.server.request_context import link

WEB = Path(imagefinder.__file__).parent / "web"
"""Folder with the files of the web page."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

_BASE = "https://base-url.invalid"

_CACHE = {"Cache-Control": "no-cache"}  # browsers revalidate each time; the response is 304 until the next release


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the web page, read once."""

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> _File:
        content = path.read_bytes()
        return cls(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')

    def response(self, request: Request) -> Response:
        headers = {**_CACHE, "ETag": self.etag}
        cached = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if self.etag in cached:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


@cache
def _files() -> Mapping[str, _File]:
    """File name -> file of the web page. Only these are served, so no request can turn a name into a path."""
    return {path.name: _File.read(path) for path in WEB.iterdir() if path.suffix in _TYPES}


router = APIRouter(include_in_schema=False)


@router.get("/")
async def index(request: Request) -> Response:
    return _files()["index.html"].response(request)


@router.get("/web/{name}")
async def web(request: Request, name: str) -> Response:
    if name not in _files():
        raise not_found(request.scope["path"])
    return _files()[name].response(request)


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    return HTMLResponse(_reference(request.app).replace(_BASE, _base(request)))


@router.get("/docs.css")
async def style(request: Request) -> Response:
    return _files()["docs.css"].response(request)


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    body = _description(request.app)
    if prefix := link(""):
        body = body[:-1] + b',"servers":' + json.dumps([{"url": prefix}]).encode() + b"}"
    return Response(body, media_type="application/json")


@lru_cache(maxsize=1)
def _description(app: FastAPI) -> bytes:
    """The OpenAPI description; made once, because it needs no key and takes a while."""
    return bytes(JSONResponse(app.openapi()).body)


def _base(request: Request) -> str:
    """The base URL that the client used; a placeholder if its host name is not safe to paste into a shell."""
    host = request.headers.get("host", "")
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]_-]+", host):
        host = "HOST:5000"
    return f"{request.scope['scheme']}://{host}{link('')}"


@lru_cache(maxsize=1)
def _reference(app: FastAPI) -> str:
    """The reference, with ``_BASE`` instead of the base URL; made once, because it needs no key."""
    schema = app.openapi()
    operations = [
        _operation(_BASE, path, verb, operation)
        for path, operations in schema["paths"].items()
        for verb, operation in operations.items()
    ]
    return templates.render(
        "reference.html", version=schema["info"]["version"], operations=operations, problems=KINDS
    )


def _operation(base: str, path: str, verb: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    """An operation as template variables."""
    options = "" if verb == "get" else _curl_options(verb, operation)
    return {
        "id": operation["operationId"],
        "verb": verb.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": _one_line(operation.get("description", "")),
        "call": f"curl {options}{base}{path}",
        "parameters": [_parameter(item) for item in operation.get("parameters", ())],
        "responses": [
            (status, _one_line(response["description"])) for status, response in operation["responses"].items()
        ],
    }


def _curl_options(verb: str, operation: Mapping[str, Any]) -> str:
    """The curl options that send the files of a form or, without files, the first example of a JSON body."""
    content = operation.get("requestBody", {}).get("content", {})
    files = content.get("multipart/form-data", {}).get("schema", {}).get("required", ())
    if files:
        return f"-X {verb.upper()} " + "".join(f'-F "{name}=@image.jpg" ' for name in files)
    for example in content.get("application/json", {}).get("examples", {}).values():
        body = shlex.quote(json.dumps(example["value"]))
        return f"-X {verb.upper()} --json {body} "
    return f"-X {verb.upper()} "


def _parameter(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """Name, description and constraints of a parameter."""
    name = f"{{{item['name']}}}" if item["in"] == "path" else f"?{item['name']}="
    return name, _one_line(item.get("description", "")), _rules(item["schema"])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _rules(schema: Mapping[str, Any]) -> str:
    """A schema as one line. The alternative ``null`` is omitted: it only means that the parameter is optional."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    shown = {**(kinds[0] if len(kinds) == 1 else {}), **schema}
    if "items" in shown:
        shown["items"] = shown["items"].get("type", "")
    return ", ".join(
        f"{key} {value}" for key, value in shown.items() if key not in {"title", "description", "anyOf"}
    )

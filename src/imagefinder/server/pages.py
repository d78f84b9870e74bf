"""The two pages for people: what this is, and the reference made from the OpenAPI description.

Plain HTML without scripts: nothing is loaded from anywhere, and they work in any browser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from imagefinder.server.errors import KINDS
from imagefinder.server.upload import FIELD

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

_LINK = r'<a href="#\1"><code>\1</code></a>'

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ padding: .6rem; border: 1px solid #8888; overflow-x: auto }}
table {{ border-collapse: collapse }}
td, th {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }}
:target {{ outline: 2px solid }}
</style>
{body}
</html>
"""


def router(app: FastAPI, methods: Sequence[str]) -> APIRouter:
    """The pages ``/`` and ``/docs`` of an app."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def index(request: Request) -> HTMLResponse:
        return _html("imagefinder", _index(_base(request), methods))

    @routes.get("/docs")
    async def docs(request: Request) -> HTMLResponse:
        return _html("imagefinder: REST reference", _docs(_base(request), app.openapi()))

    return routes


def _html(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body), headers=_HEADERS)


def _base(request: Request) -> str:
    """How the client reached us; only what is safe to paste into a shell."""
    host = request.headers.get("host", "")
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]_-]+", host):
        host = "HOST:5000"
    return f"{request.scope['scheme']}://{host}{request.scope.get('root_path', '')}"


def _curl(url: str) -> str:
    return f'curl -X POST -F "{FIELD}=@picture.jpg" {url}'


def _index(base: str, methods: Sequence[str]) -> str:
    lines = "\n".join(_curl(f"{base}/{name}-similar-images") for name in methods)
    options = "\n".join(
        f'<button formaction="{escape(name)}-similar-images">{escape(name)}</button>' for name in methods
    )
    return f"""<h1>imagefinder</h1>
<p>This service finds images by image: send a picture, get the ids of the 3 most similar images of its
collection, best first. <code>?k=10</code> gives 10.</p>
<pre>{escape(lines)}</pre>
<form method="post" enctype="multipart/form-data">
<p>Or try it here: <input type="file" name="{FIELD}" accept="image/*" required> {options}</p>
</form>
<p><a href="docs">Reference of all endpoints and errors</a> · <a href="openapi.json">OpenAPI description</a> ·
<a href="health">State of the service</a></p>"""


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
<p>For programs: <a href="openapi.json">openapi.json</a>. Back to the <a href="./">start</a>.</p>
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
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema", {})
    files = "".join(f'-F "{name}=@picture.jpg" ' for name in form.get("required", ()))
    call = f"curl {base}{path}" if verb == "get" else f"curl -X {verb.upper()} {files}{base}{path}"
    return f"""<h2 id="{escape(operation["operationId"])}">{verb.upper()} {escape(path)}</h2>
<p>{escape(operation["summary"])}. {escape(operation.get("description", ""))}</p>
<pre>{escape(call)}</pre>
<table>{parameters}</table>
<table><tr><th>status<th>answer{answers}</table>
"""


def _parameter(item: Mapping[str, Any]) -> str:
    rules = ", ".join(
        f"{key} {value}" for key, value in item["schema"].items() if key not in {"title", "description"}
    )
    text = f"{escape(item.get('description', ''))} ({escape(rules)})"
    return f"<tr><th>?{escape(item['name'])}=<td>{text}"

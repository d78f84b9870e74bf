"""Addresses of images: the query parameter ``id`` of ``.../image``, or the rest of the path ``.../images/``.

Browsers, HTTP libraries and proxies resolve dot segments in a path, merge slashes and decode escapes, so that a
request for ``images/x/../a.jpg`` would reach the image ``a.jpg``. None of them rewrites a query. The path is for
ids that nothing rewrites; it is shorter, and version 0.1 has no other form.
"""

from __future__ import annotations

import copy
import re
from typing import Annotated, Any
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from fastapi import Depends, Query, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from imagefinder.server.errors import Problem
from imagefinder.server.request_context import link

_BY_PATH = re.compile(
    rb"(?P<collection>/v1/collections/[^/]+)/(?P<kind>image|thumbnail|preview|content)s/(?P<id>.*)"
    rb"|(?P<search>/v1/explanations/[^/]+)/(?P<part>image|drawing|picture)s/(?P<of>.*)",
    re.DOTALL,
)
_OPERATION = re.compile(r"(/v1/(?:collections|explanations)/\{\w+\})/(image|thumbnail|preview|content|drawing)")
_BY_ID = "_by_id"
_PLAIN = re.compile(r"[\w .~@+,()-]+")

_PATH_PARAMETER = {
    "name": "image_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "example": "2026/cat.jpg",
    "description": "Id of an image; it may contain slashes. An id with `.` or `..` between slashes, or with other "
    "characters than letters, digits, spaces and `.~@+,()_-`, belongs in the query instead.",
}


def image_path(parent: str, kind: str, image_id: str) -> str:
    """The address of a resource of an image, for links in answers.

    Args:
        parent: Path of the collection or of the search.
        kind: ``image``, ``thumbnail``, ``preview``, ``content`` or ``drawing``.
        image_id: Id of the image.
    """
    if all(part not in {".", ".."} and _PLAIN.fullmatch(part) for part in image_id.split("/")):
        return link(f"{parent}/{kind}s/{quote(image_id)}")
    return link(f"{parent}/{kind}?id={quote(image_id, safe='')}")


async def _image_id(
    request: Request,
    id: Annotated[  # noqa: A002 - the name of the query parameter
        str, Query(description="Id of an image, percent-encoded.", examples=["2026/cat.jpg"])
    ],
) -> str:
    if len(request.query_params.getlist("id")) > 1:
        raise _invalid("it is given more than once", "send one id")
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise _invalid("it is not valid UTF-8", "encode the id as UTF-8, then percent-encode it") from None
    return id


ImageId = Annotated[str, Depends(_image_id)]
"""The query parameter ``id``, given once and in UTF-8."""


def _invalid(reason: str, hint: str) -> Problem:
    return Problem("invalid_parameter", f"the id is invalid: {reason}", hint=hint, field="id")


class ImagePathMiddleware:
    """Converts an id in the path to the query parameter, so that the endpoints know one form."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            raw = scope.get("raw_path") or scope["path"].encode()
            if found := _BY_PATH.fullmatch(unquote_to_bytes(raw)):
                _to_query(scope, found)
        await self._app(scope, receive, send)


def _to_query(scope: Scope, found: re.Match[bytes]) -> None:
    parent, kind, image_id = found.group("collection", "kind", "id")
    if parent is None:
        parent, kind, image_id = found.group("search", "part", "of")
    if kind == b"picture":  # the word of version 0.1
        kind = b"drawing"
    path = parent + b"/" + kind
    scope["path"] = path.decode("utf-8", "replace")
    scope["raw_path"] = quote_from_bytes(path).encode("ascii")
    parameter = b"id=" + quote_from_bytes(image_id, safe="").encode("ascii")
    scope["query_string"] = b"&".join(filter(None, (parameter, scope["query_string"])))


def describe_paths(paths: dict[str, Any]) -> None:
    """Add the operations with the id in the path to the OpenAPI description.

    Args:
        paths: The paths of the description; changed in place.
    """
    for path, operations in list(paths.items()):
        if found := _OPERATION.fullmatch(path):
            by_path = copy.deepcopy(operations)
            for operation in by_path.values():
                operation["operationId"] = operation["operationId"].removesuffix(_BY_ID)
                parameters = operation["parameters"]
                parameters[:] = [_PATH_PARAMETER if one["name"] == "id" else one for one in parameters]
            paths[f"{found[1]}/{found[2]}s/{{image_id}}"] = by_path
    old = copy.deepcopy(paths["/v1/explanations/{handle}/drawings/{image_id}"])
    old["get"] |= {"operationId": "draw_deprecated", "deprecated": True, "description": "Use `drawings` instead."}
    paths["/v1/explanations/{handle}/pictures/{image_id}"] = old

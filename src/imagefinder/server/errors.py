"""Errors to HTTP: the one table of problems, and the handlers that send them (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from imagefinder.core.errors import (
    FetchError,
    FilterError,
    ImageError,
    ImagefinderError,
    ImageTooLargeError,
    UnknownImageError,
    UnknownMethodError,
)
from imagefinder.server import request_context

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One kind of problem.

    Attributes:
        status: HTTP status.
        title: The same words for each occurrence.
        retryable: Whether the same request may succeed later.
        private: The error's own words are for the server's log, not for the client.
    """

    status: int
    title: str
    retryable: bool = False
    private: bool = False


KINDS: Mapping[str, ProblemKind] = {
    # the request
    "missing_image": ProblemKind(400, "No picture in the request"),
    "not_a_file": ProblemKind(400, "The picture was sent as text"),
    "several_images": ProblemKind(400, "More than one picture"),
    "malformed_form": ProblemKind(400, "Broken form"),
    "malformed_json": ProblemKind(400, "Broken JSON"),
    "url_queries_off": ProblemKind(403, "Addresses are not accepted here"),
    "folder_not_allowed": ProblemKind(403, "Folder not allowed"),
    "folder_not_found": ProblemKind(404, "No such folder"),
    "not_found": ProblemKind(404, "No such page"),
    "unknown_method": ProblemKind(404, "Unknown method"),
    "unknown_collection": ProblemKind(404, "Unknown collection"),
    "unknown_image": ProblemKind(404, "Unknown image"),
    "unknown_handle": ProblemKind(404, "Unknown or expired handle"),
    "unknown_job": ProblemKind(404, "Unknown job"),
    "content_gone": ProblemKind(404, "The original is not there"),
    "no_thumbnail": ProblemKind(404, "No thumbnail"),
    "method_not_allowed": ProblemKind(405, "HTTP method not allowed"),
    "upload_timeout": ProblemKind(408, "The upload took too long", retryable=True),
    "image_too_large": ProblemKind(413, "Picture too large"),
    "request_too_large": ProblemKind(413, "Request too large"),
    "unsupported_media_type": ProblemKind(415, "Body of another type than is read here"),
    "invalid_parameter": ProblemKind(422, "Parameter out of range"),
    # the picture
    "not_an_image": ProblemKind(415, "Not a picture"),
    "empty_image": ProblemKind(422, "Empty picture"),
    "damaged_image": ProblemKind(422, "Damaged picture"),
    "decode_timeout": ProblemKind(422, "Picture takes too long to decode"),
    "decoder_crashed": ProblemKind(422, "Picture that breaks a decoder"),
    "invalid_image": ProblemKind(422, "Unusable picture"),
    "invalid_input": ProblemKind(422, "Unusable input"),
    "invalid_filter": ProblemKind(422, "No filter"),
    "address_not_allowed": ProblemKind(422, "Address not allowed"),
    "fetch_failed": ProblemKind(422, "The address gave no picture"),
    "fetch_failed_for_now": ProblemKind(424, "The address gave no picture now", retryable=True),
    # the collection and its methods
    "confirmation_needed": ProblemKind(409, "Not confirmed"),
    "collection_protected": ProblemKind(409, "This collection cannot be deleted"),
    "collection_in_use": ProblemKind(409, "A job works on the collection", retryable=True),
    "too_many_collections": ProblemKind(409, "No room for another collection"),
    "method_not_indexed": ProblemKind(409, "The collection has no features of this method"),
    "fingerprint_mismatch": ProblemKind(409, "The stored features were made differently"),
    "model_missing": ProblemKind(503, "Weights missing", retryable=True),
    "model_error": ProblemKind(503, "Model unusable"),
    "invalid_setting": ProblemKind(503, "Method unusable"),
    "store_error": ProblemKind(503, "Collection unusable", private=True),
    # who asks, and how often
    "missing_key": ProblemKind(401, "Key missing"),
    "wrong_key": ProblemKind(401, "No such key"),
    "read_only_key": ProblemKind(403, "The key does not allow this"),
    "cross_site": ProblemKind(403, "Asked by a page of another site"),
    "unknown_host": ProblemKind(421, "Asked by an unknown name"),
    "rate_limited": ProblemKind(429, "Too many requests a minute", retryable=True),
    "busy": ProblemKind(429, "Too many requests at once", retryable=True),
    # the service
    "timed_out": ProblemKind(503, "It took too long", retryable=True),
    "not_ready": ProblemKind(503, "Not ready", retryable=True),
    "internal_error": ProblemKind(500, "Internal error", private=True),
}
"""Every ``code`` the server can send."""


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request that is answered with an error.

    Attributes:
        code: A key of ``KINDS``.
        detail: What happened this time.
        hint: What to do next; may be empty.
        headers: Further response headers.
        members: Further members of the answer, for example ``field`` and ``limit``.
    """

    def __init__(
        self, code: str, detail: str, *, hint: str = "", headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.members = members

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        kind = KINDS[self.code]
        request = request_context.current.get()
        if request is not None:
            request.code = self.code
        return {
            "type": f"/docs#{self.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "code": self.code,
            "retryable": kind.retryable,
            "hint": self.hint,
            "request_id": request.request_id if request else "",
            **self.members,
        }

    def response(self) -> JSONResponse:
        """The answer to send."""
        return JSONResponse(self.to_dict(), KINDS[self.code].status, self.headers, media_type=MEDIA_TYPE)


def internal_error() -> Problem:
    """A bug in the server."""
    return Problem("internal_error", "the server failed", hint="the server's log says why")


def problem_of(error: ImagefinderError) -> Problem:
    """How an error of the library is told; a kind the table lacks is told as the nearest one above it."""
    codes = (str(ancestor.__dict__.get("code")) for ancestor in type(error).__mro__)
    code = next((code for code in codes if code in KINDS), "internal_error")
    if KINDS[code].private:
        log.error("%s: %s (%s)", error.code, error.message, error.hint, exc_info=error)
        return Problem(code, "the server cannot answer", hint="the server's log says why")
    members: dict[str, Any] = {}
    if isinstance(error, ImageError):
        members["field"] = "image"
    if isinstance(error, FilterError):
        members["field"] = "filter"
    if isinstance(error, FetchError):
        members["field"] = "url"
    if isinstance(error, UnknownImageError):
        members["field"] = "id"
    if isinstance(error, ImageTooLargeError):
        members |= {"limit": error.limit, "unit": error.unit}
    if isinstance(error, UnknownMethodError):
        members |= {"field": "method", "known_methods": error.installed}
    return Problem(code, error.message, hint=error.hint, **members)


REFUSALS = (
    *("missing_key", "wrong_key", "read_only_key", "cross_site", "unknown_host", "rate_limited", "store_error"),
    *("upload_timeout", "timed_out", "not_ready"),
)
"""What any request may be answered with, whatever it asks for."""


def responses(codes: Sequence[str], *, refusals: bool = True) -> dict[int | str, dict[str, Any]]:
    """The problems an endpoint may answer with, for its OpenAPI description.

    Args:
        codes: Of the endpoint itself.
        refusals: Add those by which any request may be refused.
    """
    by_status: dict[int | str, list[str]] = {}
    for code in dict.fromkeys((*codes, *(REFUSALS if refusals else ()))):
        by_status.setdefault(KINDS[code].status, []).append(code)
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {
            "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in those),
            "content": {
                MEDIA_TYPE: {"schema": schema, "examples": {code: {"value": _example(code)} for code in those}}
            },
        }
        for status, those in sorted(by_status.items())
    }


def _example(code: str) -> dict[str, Any]:
    told = Problem(code, "what happened this time", hint="what to do next").to_dict()
    return told | {"request_id": "5b0c9b1c1b0f4a57"}


def install(app: FastAPI) -> None:
    """Let every error of the app be answered with a problem."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(ImagefinderError)
    async def library(_: Request, error: ImagefinderError) -> Response:
        return problem_of(error).response()

    @app.exception_handler(RequestValidationError)
    async def parameter(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name, limits = str(first["loc"][-1]), first.get("ctx", {})
        limit = {"limit": next(iter(limits.values()))} if first["type"].endswith("_equal") else {}
        detail = f"{name}: {first['msg']}".replace("Input should be", "must be").replace("String should", "must")
        return Problem("invalid_parameter", detail, field=name, **limit).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        path = request.scope["path"]
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            return Problem(
                "method_not_allowed",
                f"{request.method} is not allowed at {path}",
                hint=f"use {allowed}",
                headers=error.headers,
            ).response()
        return Problem("not_found", f"there is nothing at {path}", hint="/docs lists what there is").response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody is there to read it

"""Errors as HTTP problem details (RFC 9457): the table of problems and the exception handlers."""

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
from starlette.routing import Match

from imagefinder.core.errors import (
    BoxError,
    CollectionClosedError,
    CollectionMovedError,
    FetchError,
    FilterError,
    ImageError,
    ImagefinderError,
    ImageTooLargeError,
    MetadataError,
    NotReadyError,
    QueueFullError,
    UnknownImageError,
    UnknownMethodError,
)
from imagefinder.server import request_context, validation

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One kind of problem.

    Attributes:
        status: HTTP status code.
        title: Short summary, the same for each occurrence.
        retryable: Whether the same request may succeed later.
        private: Whether the error message goes to the server's log only, not to the client.
    """

    status: int
    title: str
    retryable: bool = False
    private: bool = False


KINDS: Mapping[str, ProblemKind] = {
    # the request
    "missing_image": ProblemKind(400, "No image in the request"),
    "not_a_file": ProblemKind(400, "Image sent as text instead of a file"),
    "several_images": ProblemKind(400, "Too many images"),
    "malformed_form": ProblemKind(400, "Malformed form"),
    "malformed_request": ProblemKind(400, "Malformed HTTP request"),
    "malformed_json": ProblemKind(400, "Malformed JSON"),
    "url_queries_off": ProblemKind(403, "URLs not accepted"),
    "folder_not_allowed": ProblemKind(403, "Folder not allowed"),
    "folder_not_found": ProblemKind(404, "Folder not found"),
    "not_found": ProblemKind(404, "Not found"),
    "unknown_method": ProblemKind(404, "Unknown method"),
    "unknown_collection": ProblemKind(404, "Unknown collection"),
    "unknown_image": ProblemKind(404, "Unknown image"),
    "unknown_handle": ProblemKind(404, "Unknown or expired handle"),
    "unknown_job": ProblemKind(404, "Unknown job"),
    "no_duplicate_report": ProblemKind(404, "Duplicates not computed yet"),
    "content_gone": ProblemKind(404, "Original not available"),
    "location_hidden": ProblemKind(403, "Paths not shown"),
    "no_thumbnail": ProblemKind(404, "No thumbnail"),
    "method_not_allowed": ProblemKind(405, "HTTP method not allowed"),
    "upload_timeout": ProblemKind(408, "Upload timed out", retryable=True),
    "image_too_large": ProblemKind(413, "Image too large"),
    "request_too_large": ProblemKind(413, "Request too large"),
    "headers_too_large": ProblemKind(431, "Request headers too large"),
    "unsupported_media_type": ProblemKind(415, "Unsupported media type"),
    "invalid_parameter": ProblemKind(422, "Invalid parameter"),
    # the image
    "not_an_image": ProblemKind(415, "Unrecognised image format"),
    "empty_image": ProblemKind(422, "Empty image"),
    "damaged_image": ProblemKind(422, "Damaged image"),
    "decode_timeout": ProblemKind(422, "Image decoding timed out"),
    "decoder_crashed": ProblemKind(422, "Image decoder crashed"),
    "invalid_image": ProblemKind(422, "Unusable image"),
    "invalid_input": ProblemKind(422, "Invalid input"),
    "invalid_filter": ProblemKind(422, "Invalid filter"),
    "unknown_words": ProblemKind(422, "Unknown words"),
    "address_not_allowed": ProblemKind(422, "Address not allowed"),
    "fetch_failed": ProblemKind(422, "Download failed"),
    "fetch_failed_for_now": ProblemKind(424, "Download failed temporarily", retryable=True),
    # the collection and its methods
    "confirmation_needed": ProblemKind(409, "Confirmation required"),
    "collection_protected": ProblemKind(409, "Collection cannot be deleted"),
    "collection_in_use": ProblemKind(409, "Collection in use by a job", retryable=True),
    "too_many_collections": ProblemKind(409, "Too many collections"),
    "method_not_indexed": ProblemKind(409, "No features of this method"),
    "fingerprint_mismatch": ProblemKind(409, "Incompatible stored features"),
    "model_missing": ProblemKind(503, "Model weights missing", retryable=True),
    "model_error": ProblemKind(503, "Model cannot run"),
    "invalid_setting": ProblemKind(503, "Invalid server setting"),
    "store_error": ProblemKind(503, "Collection unavailable", private=True),
    "shortlist_unavailable": ProblemKind(503, "Index not ready", retryable=True),
    "store_unavailable": ProblemKind(503, "Database or object store unavailable", retryable=True, private=True),
    "objects_unavailable": ProblemKind(503, "Object store unavailable", retryable=True, private=True),
    "collection_moved": ProblemKind(503, "Collection moved, deleted or replaced", retryable=True),
    # access and rate limits
    "missing_key": ProblemKind(401, "API key required"),
    "wrong_key": ProblemKind(401, "Invalid API key"),
    "read_only_key": ProblemKind(403, "Write access required"),
    "cross_site": ProblemKind(403, "Cross-site request"),
    "unknown_host": ProblemKind(421, "Unknown host name"),
    "collection_not_allowed": ProblemKind(403, "Collection not allowed for this API key"),
    "rate_limited": ProblemKind(429, "Rate limit exceeded", retryable=True),
    "too_many_wrong_keys": ProblemKind(429, "Too many invalid API keys"),
    "busy": ProblemKind(429, "Server busy", retryable=True),
    # the service
    "timed_out": ProblemKind(503, "Request timed out", retryable=True),
    "not_ready": ProblemKind(503, "Service not ready", retryable=True),
    "internal_error": ProblemKind(500, "Internal error", private=True),
}
"""Problem code -> kind, for each code that the server can send."""


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request that is answered with an error.

    Attributes:
        code: A key of ``KINDS``.
        detail: What happened in this case.
        hint: What to do next; may be empty.
        headers: Additional response headers.
        members: Additional members of the problem document, for example ``field`` and ``limit``.
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
        """The problem document as JSON data."""
        kind = KINDS[self.code]
        request = request_context.current.get()
        if request is not None:
            request.code = self.code
        return {
            "type": request_context.link(f"/docs#{self.code}"),
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
        """The HTTP response with the problem document."""
        return JSONResponse(self.to_dict(), KINDS[self.code].status, self.headers, media_type=MEDIA_TYPE)


def not_found(path: str) -> Problem:
    """The problem for a path without a resource."""
    return Problem("not_found", f"there is no resource at {path}", hint="/docs lists all endpoints")


def internal_error() -> Problem:
    """The problem for an unexpected exception, which is a bug in the server."""
    return Problem(
        "internal_error",
        "the server failed to process the request",
        hint="see the server's log; request_id identifies this request",
    )


def problem_of(error: ImagefinderError) -> Problem:
    """The problem for an error of the library.

    An error class without a code in ``KINDS`` is reported with the code of its nearest base class that has one.
    """
    if isinstance(error, CollectionClosedError):
        # The server closes a collection that is in use only when a client deletes it.
        return Problem("unknown_collection", "the collection was deleted while this request used it")
    codes = (str(ancestor.__dict__.get("code")) for ancestor in type(error).__mro__)
    code = next((code for code in codes if code in KINDS), "internal_error")
    if KINDS[code].private:
        log.error("%s: %s (%s)", error.code, error.message, error.hint, exc_info=error)
        return Problem(
            code,
            "the server cannot process the request",
            hint="see the server's log; request_id identifies this request",
        )
    if isinstance(error, CollectionMovedError):  # the message names a folder of the server
        log.error("%s (%s)", error.message, error.hint)
        return Problem(
            code,
            "the files of the collection were moved, deleted or replaced; nothing was changed",
            hint="send the request again: the server opens the collection that is in its place now. If there is "
            "none, the server's operator must bring it back",
            headers={"Retry-After": "1"},
        )
    members: dict[str, Any] = {}
    if isinstance(error, ImageError):
        members["field"] = "image"
    if isinstance(error, BoxError):
        members["field"] = "boxes"
    if isinstance(error, FilterError):
        members["field"] = "filter"
    if isinstance(error, MetadataError):
        members |= {"field": "metadata"} | ({} if error.limit is None else {"limit": error.limit})
    if isinstance(error, FetchError):
        members["field"] = "url"
    if isinstance(error, UnknownImageError):
        members["field"] = "id"
    if isinstance(error, ImageTooLargeError):
        members |= {"limit": error.limit, "unit": error.unit}
    if isinstance(error, UnknownMethodError):
        members |= {"field": "method", "known_methods": error.installed}
    headers = {}
    if isinstance(error, QueueFullError | NotReadyError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, QueueFullError) and error.limit is not None:
        members["limit"] = error.limit
    return Problem(code, error.message, hint=error.hint, headers=headers, **members)


COMMON_CODES = (
    *("missing_key", "wrong_key", "read_only_key", "collection_not_allowed", "cross_site", "unknown_host"),
    *(
        "rate_limited",
        "too_many_wrong_keys",
        "store_error",
        "store_unavailable",
        "objects_unavailable",
        "collection_moved",
    ),
    *("upload_timeout", "timed_out"),
    "not_ready",
)
"""Codes of problems that any request may be answered with."""


def responses(codes: Sequence[str], *, common: bool = True) -> dict[int | str, dict[str, Any]]:
    """The error responses of an endpoint, for the OpenAPI description.

    Args:
        codes: Problem codes specific to the endpoint.
        common: Whether to add ``COMMON_CODES``.

    Returns:
        HTTP status -> OpenAPI response object.
    """
    by_status: dict[int | str, list[str]] = {}
    for code in dict.fromkeys((*codes, *(COMMON_CODES if common else ()))):
        by_status.setdefault(KINDS[code].status, []).append(code)
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {
            "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in codes_of_status),
            "content": {
                MEDIA_TYPE: {
                    "schema": schema,
                    "examples": {code: {"value": _example(code)} for code in codes_of_status},
                }
            },
        }
        for status, codes_of_status in sorted(by_status.items())
    }


def _example(code: str) -> dict[str, Any]:
    document = Problem(code, "what happened in this case", hint="what to do next").to_dict()
    return document | {"request_id": "5b0c9b1c1b0f4a57"}


def _allowed(request: Request) -> list[str]:
    """The HTTP methods of all routes with the path of a request."""
    routes = request.app.router.routes
    verbs = [
        verb
        for verb in ("GET", "PUT", "POST", "DELETE")
        if any(route.matches({**request.scope, "method": verb})[0] is Match.FULL for route in routes)
    ]
    return ["GET", "HEAD", *verbs[1:]] if "GET" in verbs else verbs


def install(app: FastAPI) -> None:
    """Register the exception handlers that answer each error with a problem document."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(ImagefinderError)
    async def library(_: Request, error: ImagefinderError) -> Response:
        return problem_of(error).response()

    @app.exception_handler(RequestValidationError)
    async def parameter(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name, limits = str(first["loc"][1] if len(first["loc"]) > 2 else first["loc"][-1]), first.get("ctx", {})
        limit = {"limit": next(iter(limits.values()))} if first["type"].endswith("_equal") else {}
        detail = f"{name}: {validation.message(first)}"
        return Problem("invalid_parameter", detail, hint=validation.HINT, field=name, **limit).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        path = request.scope["path"]
        if error.status_code == 405:
            allowed = ", ".join(_allowed(request))
            return Problem(
                "method_not_allowed",
                f"{request.method} is not allowed at {path}",
                hint=f"use {allowed}",
                headers={"Allow": allowed},
            ).response()
        return not_found(path).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # the client is gone and does not read it

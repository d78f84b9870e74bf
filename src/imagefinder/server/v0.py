"""``POST /METHOD-similar-images``: the original (version 0) endpoints, one per installed method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request

from imagefinder.core.collection_names import DEFAULT
from imagefinder.core.errors import BoxError, UnknownMethodError
from imagefinder.core.method import MethodState
from imagefinder.core.query import MAX_BOXES, SearchOptions, as_query, check_box
from imagefinder.core.results import Box, Mode
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import Problem, responses
from imagefinder.server.service import ServiceDep
from imagefinder.server.upload import FIELD, read_image
from imagefinder.server.validation import parse_box

MAX_K = 1000

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {"type": "string", "format": "binary", "description": "The query image."}
                    },
                }
            }
        },
    }
}

_CODES = (
    *("missing_image", "not_a_file", "several_images", "malformed_form", "upload_timeout", "image_too_large"),
    *("unsupported_media_type", "not_an_image", "empty_image", "damaged_image", "decode_timeout"),
    *("decoder_crashed", "invalid_image", "invalid_input"),
    *("invalid_parameter", "method_not_indexed", "fingerprint_mismatch", "model_missing", "model_error"),
    *("invalid_setting", "store_error", "shortlist_unavailable", "busy"),
)


_PATH = "/{method}-similar-images"


def make_router(methods: Sequence[MethodState]) -> APIRouter:
    """The routes of the installed methods, and a route that answers ``unknown_method`` for all other names."""
    routes = APIRouter(tags=["search"], route_class=FairRoute)
    for state in methods:
        routes.add_api_route(
            _PATH.format(method=state.name),
            similar_images,
            methods=["POST"],
            operation_id=f"{state.name}_similar_images",
            summary=f"Find the most similar images with {state.name}",
            description=f"{state.summary}. Returns the ids of the most similar images in the default collection, "
            "best first. `POST /v1/collections/{collection}/search` also returns scores, evidence and metadata.",
            response_description="Image ids, best first. Ids that are integers are returned as numbers.",
            responses=responses(_CODES),
            openapi_extra=_FORM,
        )
    routes.add_api_route(_PATH, unknown_method, methods=["POST"], include_in_schema=False)
    return routes


def unknown_method(service: ServiceDep, method: str) -> None:
    raise UnknownMethodError(method, [state.name for state in service.collections.default.methods()])


async def similar_images(
    service: ServiceDep,
    request: Request,
    k: Annotated[int, Query(ge=1, le=MAX_K, description="Largest number of ids.")] = 3,
    box: Annotated[
        list[str] | None,
        Query(
            max_length=MAX_BOXES,
            description="Region of the query image to search for: x,y,width,height in pixels; repeatable.",
        ),
    ] = None,
) -> list[int | str]:
    method = request.scope["path"].rpartition("/")[2].removesuffix("-similar-images")
    boxes = [_box(text) for text in box or ()]
    collection = service.collections.get(DEFAULT)
    with service.admission.admit() as reserve:
        data = await read_image(request, max_bytes=service.settings.max_image_bytes, reserve=reserve)
        result = await service.admission.run(
            lambda: collection.search(
                as_query(data, None, boxes),
                SearchOptions(
                    method=method,
                    k=k,
                    ranking="matches",
                    evalues=False,
                    mode=cast(Mode, service.settings.original_mode),
                    stacks=False,
                ),
            )
        )
    service.readiness.clear_failure(method)
    service.metrics.observe_search(result)
    return [plain_id(image_id) for image_id in result.ids]


def _box(text: str) -> Box:
    try:
        return check_box(parse_box(text))
    except (ValueError, BoxError):
        detail = f"box: must be x,y,width,height in pixels with a positive area, not {text[:100]!a}"
        raise Problem("invalid_parameter", detail, field="box") from None


def plain_id(image_id: str) -> int | str:
    """The id in the type of the user's data: an integer as a number, everything else as a string.

    Only the canonical form of a 64-bit integer becomes a number: ``"17"`` becomes 17, but ``"007"``, ``"1.0"`` and
    ``"+1"`` stay strings, because the number could not be converted back to them.
    """
    if _INTEGER.fullmatch(image_id) and -(2**63) <= int(image_id) < 2**63:
        return int(image_id)
    return image_id

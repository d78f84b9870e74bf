"""``POST /v1/collections/{collection}/search``: search with one image or several."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from imagefinder.collection import Collection
from imagefinder.core.answers import (
    AnswerHandle,
    QueryInfo,
    QueryProblem,
    SearchAnswer,
    SearchAnswers,
    SearchHit,
    extend,
)
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.results import AUTO
from imagefinder.core.serialization import to_json
from imagefinder.core.times import iso
from imagefinder.search.trace import Trace
from imagefinder.server import upload
from imagefinder.server.errors import Problem, responses
from imagefinder.server.image_paths import image_path
from imagefinder.server.search_cache import CachedSearch, SearchHandle
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.upload import FIELD, FORM, JSON, ReserveBytes
from imagefinder.server.v1 import request_images, requests
from imagefinder.server.v1.answers import image_answers
from imagefinder.server.v1.collections import Name
from imagefinder.server.v1.images import IMAGE_CODES, METHOD_CODES
from imagefinder.server.v1.request_images import RequestImage
from imagefinder.server.v1.requests import QueryRequest

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/SearchRequest"},
                        {"$ref": "#/components/schemas/MultiSearchRequest"},
                    ]
                },
                "examples": {
                    "address": {
                        "summary": "Search with an image by URL",
                        "value": {"url": "https://example.org/photo.jpg", "k": 5},
                    },
                    "part": {
                        "summary": "Search with a region of a stored image, filtered by metadata",
                        "value": {
                            "id": "cat.jpg",
                            "boxes": [[120, 80, 200, 150]],
                            "filter": {"shop": "north"},
                            "max_evalue": 0.01,
                        },
                    },
                    "words": {
                        "summary": "Search with words",
                        "value": {"text": "coffee cup", "k": 10},
                    },
                    "several": {
                        "summary": "Search with several images",
                        "value": {
                            "queries": [{"id": "cat.jpg"}, {"url": "https://example.org/photo.jpg"}],
                            "k": 1,
                        },
                    },
                },
            },
            FORM: {
                "schema": {
                    "type": "object",
                    "anyOf": [{"required": [FIELD]}, {"required": ["text"]}],
                    "additionalProperties": False,
                    "properties": {
                        FIELD: {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "maxItems": requests.MAX_IMAGES,
                            "description": "One or more query images.",
                        },
                        "box": {
                            "type": "string",
                            "description": "Region of the query image: x,y,width,height in pixels; repeatable. A "
                            "JSON list of boxes is also accepted.",
                        },
                        **requests.form_fields(requests.TextFields),
                        **requests.form_fields(requests.OptionFields),
                    },
                }
            },
        },
    }
}

_TEXTS = {
    **requests.field_types(requests.TextFields),
    **requests.field_types(requests.OptionFields),
    "box": list,
}

router = APIRouter(tags=["search"], prefix="/v1/collections/{collection}")


@router.post(
    "/search",
    operation_id="search",
    summary="Search with images, words or both",
    description="With one query, the response is an answer. With several, it is a list of answers in the same "
    "order; a query that failed has a `problem` instead of an answer. `decision` is `none` if no image of the "
    "collection matches the query, and null for a query with `text`: its answer has `words`, which say how the "
    "text was understood.",
    response_model=SearchAnswer | SearchAnswers,
    response_description="The answer or answers.",
    responses=responses(
        (
            "unknown_collection",
            "unknown_image",
            "unknown_method",
            "invalid_filter",
            "unknown_words",
            *IMAGE_CODES,
            *METHOD_CODES,
            "shortlist_unavailable",
            "not_ready",
        )
    ),
    openapi_extra=_BODY,
)
async def search(service: ServiceDep, request: Request, collection: Name) -> JSONResponse:
    with service.admission.admit() as reserve:
        options, forms, several = await _read(service, request, reserve)
        by_image = any(not form.text.strip() for form in forms)
        if options.ranking == "matches" and options.method == AUTO and by_image:
            raise Problem(
                "invalid_parameter",
                "method: verify=false ranks by the score of a single method, so a method name is required",
                hint="set method to one of the names in GET /v1/methods",
                field="method",
            )
        images = await _load(service, forms, reserve)
        opened = await service.admission.run(lambda: service.collections.get(collection))
        shared = _Search(service, collection, opened, options)
        if not several:
            return JSONResponse(await _answer(shared, request_images.available(images[0]), forms[0]))
        results: list[Any] = []
        for form, image in zip(forms, images, strict=True):
            try:
                results.append(await _answer(shared, request_images.available(image), form))
            except (Problem, ImagefinderError) as error:
                results.append(to_json(QueryProblem(request_images.problem_details(error))))
        return JSONResponse({"results": results})


class _File(QueryRequest):
    """A query that was uploaded as a form file."""

    data: bytes


async def _read(
    service: Service, request: Request, reserve: ReserveBytes
) -> tuple[SearchOptions, Sequence[QueryRequest], bool]:
    """The options, the queries, and whether the response is a list of answers."""
    kind = upload.content_type(request)
    if kind == FORM:
        form = await request_images.read_form(
            service, request, reserve, {FIELD: requests.MAX_IMAGES}, instead="text"
        )
        values = request_images.parse_text_fields(form.texts, _TEXTS)
        boxes = requests.read(requests.BoxFields, {"boxes": values.pop("boxes", [])}).boxes
        text = requests.read(requests.TextFields, {"text": values.pop("text", "")}).text
        found: list[QueryRequest] = [
            _File.model_construct(data=data, boxes=boxes, text=text) for data in form.all(FIELD)
        ]
        found = found or [requests.read(QueryRequest, {"text": text, "boxes": boxes})]
        return requests.search_options(requests.read(requests.OptionFields, values)), found, len(found) > 1
    if kind == JSON:
        return await request_images.read_json(service, request, reserve, _read_queries)
    raise upload.wrong_type(request, JSON, FORM)


def _read_queries(data: Any) -> tuple[SearchOptions, Sequence[QueryRequest], bool]:
    if isinstance(data, dict) and "queries" in data:
        many = requests.read(requests.MultiSearchRequest, data)
        return requests.search_options(many), many.queries, True
    one = requests.read(requests.SearchRequest, data)
    return requests.search_options(one), [one], False


async def _load(
    service: Service, forms: Sequence[QueryRequest], reserve: ReserveBytes
) -> Sequence[RequestImage | Problem | ImagefinderError]:
    files = [RequestImage(form.data) for form in forms if isinstance(form, _File)]
    return files or await request_images.load_all(service, [(form, "") for form in forms], reserve)


@dataclass(frozen=True, slots=True)
class _Search:
    """The parameters that all queries of a request share."""

    service: Service
    name: str
    collection: Collection
    options: SearchOptions


async def _answer(search: _Search, image: RequestImage, form: QueryRequest) -> Any:
    """The answer to one query, as JSON data."""
    service, options = search.service, search.options
    boxes = tuple((x, y, width, height) for x, y, width, height in form.boxes)
    data = image.data if image.image_id is None and _has_image(form) else None
    query = Query(data, image.image_id, boxes, form.text)

    def work() -> Any:
        trace = search.collection.trace(query, options)
        service.metrics.observe_search(trace.result)
        cached = _cached(search.name, search.collection, trace)
        # Words alone have no explanations, and are short enough to be sent again.
        handle = service.search_cache.add(cached) if query.has_image else SearchHandle(None, 0.0)
        return answer_of(cached, handle, places=service.settings.places)

    answer = await service.admission.run(work)
    service.readiness.clear_failure(options.method)
    return answer


def _has_image(form: QueryRequest) -> bool:
    return isinstance(form, _File) or form.url is not None or form.base64 is not None


def _cached(name: str, collection: Collection, trace: Trace) -> CachedSearch:
    query, result = trace.query, trace.result
    records = collection.records(result.ids)
    if isinstance(query.image, bytes):
        return CachedSearch(name, trace, hashlib.sha256(query.image).hexdigest(), result.query_size, records)
    if query.id is None:
        return CachedSearch(name, trace, records=records)
    record = collection.get(query.id)
    return CachedSearch(name, trace, record.sha256, (record.width, record.height), records)


def answer_of(search: CachedSearch, cached: SearchHandle, *, places: bool) -> Any:
    """The answer to a search as JSON data, with links for the current request; ``places`` is the setting."""
    name, query, result = search.collection, search.trace.query, search.trace.result
    handle, base = cached.handle, f"/v1/explanations/{cached.handle}"
    records = list((search.records or {}).values())
    images = {image.id: image for image in image_answers(name, records, places=places)}
    drawings = {hit.id: image_path(base, "drawing", hit.id) if handle else None for hit in result.hits}
    answer = extend(
        SearchAnswer,
        result,
        hits=tuple(
            extend(
                SearchHit,
                hit,
                image=images[hit.id],
                thumbnail=images[hit.id].thumbnail,
                explanation=image_path(base, "image", hit.id) if handle else None,
                drawing=drawings[hit.id],
                picture=drawings[hit.id],
            )
            for hit in result.hits
            if hit.id in images
        ),
        collection=name,
        query=QueryInfo(*search.size, search.sha256, query.id, query.text),
        explanations=AnswerHandle(handle, iso(cached.expires)) if handle else None,
    )
    return to_json(answer)

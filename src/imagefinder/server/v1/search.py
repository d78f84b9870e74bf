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
    Image,
    QueryInfo,
    QueryProblem,
    SearchAnswer,
    SearchAnswers,
    SearchHit,
    extend,
)
from imagefinder.core.errors import ImagefinderError, UnknownImageError
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.results import AUTO
from imagefinder.core.serialization import to_json
from imagefinder.server import upload
from imagefinder.server.errors import Problem, responses
from imagefinder.server.explanations import KeptSearch
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.times import iso
from imagefinder.server.upload import FIELD, FORM, JSON, Hold
from imagefinder.server.v1 import pictures, requests
from imagefinder.server.v1.answers import image_answer, quoted
from imagefinder.server.v1.collections import Name
from imagefinder.server.v1.images import METHOD_CODES, PICTURE_CODES
from imagefinder.server.v1.pictures import Given
from imagefinder.server.v1.requests import QueryForm

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/SearchOne"},
                        {"$ref": "#/components/schemas/SearchMany"},
                    ]
                },
                "examples": {
                    "address": {
                        "summary": "An image by its URL",
                        "value": {"url": "https://example.org/photo.jpg", "k": 5},
                    },
                    "part": {
                        "summary": "A region of a stored image, among the images of one shop",
                        "value": {
                            "id": "cat.jpg",
                            "boxes": [[120, 80, 200, 150]],
                            "filter": {"shop": "north"},
                            "max_evalue": 0.01,
                        },
                    },
                    "several": {
                        "summary": "Several images",
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
                    "required": [FIELD],
                    "additionalProperties": False,
                    "properties": {
                        FIELD: {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "maxItems": requests.MAX_IMAGES,
                            "description": "the image, or several",
                        },
                        "box": {
                            "type": "string",
                            "description": "x,y,width,height; repeatable, or a JSON list of boxes",
                        },
                        **requests.form_fields(requests.Options),
                    },
                }
            },
        },
    }
}

_TEXTS = {**requests.text_kinds(requests.Options), "box": list}

router = APIRouter(tags=["search"], prefix="/v1/collections/{collection}")


@router.post(
    "/search",
    operation_id="search",
    summary="Search with one image or several",
    description="One image is answered by a result; several by a list of results in order, in which an image that "
    "cannot be used has a problem in its place. `decision` is `none` where nothing in the collection matches.",
    response_model=SearchAnswer | SearchAnswers,
    responses=responses(
        (
            "unknown_collection",
            "unknown_image",
            "unknown_method",
            "invalid_filter",
            *PICTURE_CODES,
            *METHOD_CODES,
            "not_ready",
        )
    ),
    openapi_extra=_BODY,
)
async def search(service: ServiceDep, request: Request, collection: Name) -> JSONResponse:
    with service.admission.admit() as hold:
        options, forms, several = await _read(service, request, hold)
        if options.ranking == "matches" and options.method == AUTO:
            raise Problem(
                "invalid_parameter",
                "method: without verify the order is that of one method, so it must be named",
                field="method",
            )
        opened = await service.admission.run(lambda: service.collections.get(collection))
        shared = _Search(service, collection, opened, options)
        if not several:
            given = await _given(service, forms[0], hold)
            return JSONResponse(await _answer(shared, given, forms[0]))
        results: list[Any] = []
        for form in forms:
            try:
                given = await _given(service, form, hold)
                results.append(await _answer(shared, given, form))
            except (Problem, ImagefinderError) as error:
                results.append(to_json(QueryProblem(pictures.told(error))))
        return JSONResponse({"results": results})


class _File(QueryForm):
    """A query that came as a file of a form."""

    data: bytes


async def _read(service: Service, request: Request, hold: Hold) -> tuple[SearchOptions, Sequence[QueryForm], bool]:
    """The options, the queries, and whether the answer is a list."""
    kind = upload.content_type(request)
    if kind == FORM:
        form = await pictures.read_form(service, request, hold, {FIELD: requests.MAX_IMAGES})
        values = pictures.from_texts(form.texts, _TEXTS)
        boxes = requests.read(requests.Boxes, {"boxes": values.pop("boxes", [])}).boxes
        files = [_File.model_construct(data=data, boxes=boxes) for data in form.all(FIELD)]
        return requests.search_options(requests.read(requests.Options, values)), files, len(files) > 1
    if kind == JSON:
        data = await pictures.read_json(service, request, hold)
        if isinstance(data, dict) and "queries" in data:
            many = requests.read(requests.SearchMany, data)
            return requests.search_options(many), many.queries, True
        one = requests.read(requests.SearchOne, data)
        return requests.search_options(one), [one], False
    raise upload.wrong_type(request, JSON, FORM)


async def _given(service: Service, form: QueryForm, hold: Hold) -> Given:
    return Given(form.data) if isinstance(form, _File) else await pictures.given(service, form, hold)


@dataclass(frozen=True, slots=True)
class _Search:
    """What all queries of a request share."""

    service: Service
    name: str
    collection: Collection
    options: SearchOptions


async def _answer(search: _Search, given: Given, form: QueryForm) -> Any:
    """The answer to one query, as JSON data."""
    service, options = search.service, search.options
    boxes = tuple((x, y, width, height) for x, y, width, height in form.boxes)
    query = Query(given.data if given.image_id is None else None, given.image_id, boxes)

    def work() -> Any:
        trace = search.collection.trace(query, options)
        service.metrics.observe_search(trace.result)
        return _kept(service, search.collection, KeptSearch(search.name, trace))

    answer = await service.admission.run(work)
    service.readiness.worked(options.method)
    return answer


def _kept(service: Service, collection: Collection, search: KeptSearch) -> Any:
    """The answer as JSON data, kept under a handle."""
    name, query, result = search.collection, search.trace.query, search.trace.result
    if isinstance(query.image, bytes):
        sha256, size = hashlib.sha256(query.image).hexdigest(), result.query_size
    else:
        record = collection.get(query.id or "")
        sha256, size = record.sha256, (record.width, record.height)
    images: dict[str, Image] = {}
    for hit in result.hits:
        try:
            images[hit.id] = image_answer(name, collection.get(hit.id))
        except UnknownImageError:  # deleted a moment ago
            continue

    def make(handle: str | None, ends: float) -> Any:
        base = f"/v1/explanations/{handle}"
        answer = extend(
            SearchAnswer,
            result,
            hits=tuple(
                extend(
                    SearchHit,
                    hit,
                    image=images[hit.id],
                    thumbnail=images[hit.id].thumbnail,
                    explanation=f"{base}/images/{quoted(hit.id)}" if handle else None,
                    picture=f"{base}/pictures/{quoted(hit.id)}" if handle else None,
                )
                for hit in result.hits
                if hit.id in images
            ),
            collection=name,
            query=QueryInfo(*size, sha256, query.id),
            explanations=AnswerHandle(handle, iso(ends)) if handle else None,
        )
        return to_json(answer)

    # About what the answer takes: metadata are the only part of it without a bound of its own.
    size_of_answer = sum(len(str(hit)) + len(str(images.get(hit.id))) for hit in result.hits)
    return service.explanations.keep(search, make, size_of_answer)

"""``POST /v1/collections/{collection}/search``: ask with one picture or several."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from imagefinder.collection import Collection
from imagefinder.core.errors import ImagefinderError, UnknownImageError
from imagefinder.core.results import AUTO, Box, Hit, Mode, SearchResult
from imagefinder.server import upload
from imagefinder.server.errors import Problem, responses
from imagefinder.server.explanations import Asked
from imagefinder.server.upload import FIELD, FORM, JSON, Hold
from imagefinder.server.v1 import pictures, schemas
from imagefinder.server.v1.collections import Name
from imagefinder.server.v1.images import METHOD_CODES, PICTURE_CODES
from imagefinder.server.v1.pictures import Given
from imagefinder.server.v1.schemas import Options, Query, SearchMany, SearchOne
from imagefinder.server.v1.service import Service, image_of, iso, quoted

_TEXTS: Mapping[str, type] = {
    "method": str,
    "k": int,
    "mode": str,
    "box": list,
    "verify": bool,
    "mirror": bool,
    "filter": dict,
    "min_score": float,
    "max_evalue": float,
}
"""Text fields of a form, and what they hold."""

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
                        "summary": "A picture by its address",
                        "value": {"url": "https://example.org/photo.jpg", "k": 5},
                    },
                    "part": {
                        "summary": "A part of a stored image, among those of one shop",
                        "value": {
                            "id": "cat.jpg",
                            "boxes": [[120, 80, 200, 150]],
                            "filter": {"shop": "north"},
                            "max_evalue": 0.01,
                        },
                    },
                    "several": {
                        "summary": "Several pictures",
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
                            "maxItems": schemas.MAX_IMAGES,
                            "description": "the picture, or several",
                        },
                        "method": {"type": "string", "minLength": 1, "maxLength": 100, "default": AUTO},
                        "k": {"type": "integer", "minimum": 1, "maximum": schemas.MAX_K, "default": 3},
                        "mode": {"type": "string", "enum": list(get_args(Mode)), "default": "auto"},
                        "box": {
                            "type": "string",
                            "description": "x,y,width,height; may be repeated, or a JSON list of boxes",
                        },
                        "verify": {"type": "boolean", "default": True},
                        "mirror": {"type": "boolean", "default": True},
                        "filter": {"type": "string", "contentMediaType": JSON},
                        "min_score": {"type": "number"},
                        "max_evalue": {"type": "number", "minimum": 0},
                    },
                }
            },
        },
    }
}


def router(service: Service) -> APIRouter:
    """The endpoint that searches."""
    routes = APIRouter(tags=["search"], prefix="/v1/collections/{collection}")

    @routes.post(
        "/search",
        operation_id="search",
        summary="The images that most speaks for, or, honestly, that there is none",
        description="One picture is answered by a result, several by a list of results in order, in which a "
        "picture that cannot be used has a problem in its place.",
        response_model=schemas.Result | schemas.Results,
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
    async def search(request: Request, collection: Name) -> JSONResponse:
        with service.gate.admit() as hold:
            options, asked, several = await _read(service, request, hold)
            if not options.verify and options.method == AUTO:
                raise Problem(
                    "invalid_parameter",
                    "method: without verify the order is that of one method, so it must be named",
                    field="method",
                )
            opened = await service.gate.run(lambda: service.collections.get(collection))
            shared = _Search(service, collection, opened, options)
            if not several:
                given = await _given(service, asked[0], hold)
                return JSONResponse(await _answer(shared, given, asked[0]))
            results: list[Mapping[str, Any]] = []
            for one in asked:
                try:
                    given = await _given(service, one, hold)
                    results.append(await _answer(shared, given, one))
                except (Problem, ImagefinderError) as error:
                    results.append({"problem": pictures.told(error)})
            return JSONResponse({"results": results})

    return routes


class _File(Query):
    """A query that came as a file of a form."""

    data: bytes


async def _read(service: Service, request: Request, hold: Hold) -> tuple[Options, Sequence[Query], bool]:
    """How is searched, with what, and whether the answer is a list."""
    kind = upload.content_type(request)
    if kind == FORM:
        form = await pictures.read_form(service, request, hold, {FIELD: schemas.MAX_IMAGES})
        values = pictures.from_texts(form.texts, _TEXTS)
        boxes = schemas.read(schemas.Boxes, {"boxes": values.pop("boxes", [])}).boxes
        files = [_File.model_construct(data=data, boxes=boxes) for data in form.all(FIELD)]
        return schemas.read(Options, values), files, len(files) > 1
    if kind == JSON:
        data = await pictures.read_json(service, request, hold)
        if isinstance(data, dict) and "queries" in data:
            many = schemas.read(SearchMany, data)
            return many, many.queries, True
        one = schemas.read(SearchOne, data)
        return one, [one], False
    raise upload.wrong_type(request, JSON, FORM)


async def _given(service: Service, asked: Query, hold: Hold) -> Given:
    return Given(asked.data) if isinstance(asked, _File) else await pictures.given(service, asked, hold)


@dataclass(frozen=True, slots=True)
class _Search:
    """A request, as far as all of its queries share it."""

    service: Service
    name: str
    collection: Collection
    options: Options


async def _answer(search: _Search, given: Given, asked: Query) -> Mapping[str, Any]:
    service, collection, options = search.service, search.collection, search.options
    boxes: list[Box] = [(x, y, width, height) for x, y, width, height in asked.boxes]

    def work() -> Mapping[str, Any]:
        result = collection.search(
            given.data if given.image_id is None else None,
            id=given.image_id,
            method=options.method,
            k=options.k,
            ranking="evidence" if options.verify else "matches",
            mirror=options.mirror,
            boxes=boxes,
            where=options.filter,
            mode=options.mode,
        )
        if service.metrics:
            service.metrics.observe_search(result)
        result = replace(result, hits=tuple(hit for hit in result.hits if _wanted(hit, options)))
        query = Asked(
            search.name, given.data, given.image_id, tuple(boxes), options.mirror, options.filter, options.method
        )
        return _told(service, collection, query, result)

    told = await service.gate.run(work)
    service.readiness.worked(options.method)
    return told


def _wanted(hit: Hit, options: Options) -> bool:
    if options.min_score is not None and hit.score < options.min_score:
        return False
    return options.max_evalue is None or (hit.evalue is not None and hit.evalue <= options.max_evalue)


def _told(service: Service, collection: Collection, asked: Asked, result: SearchResult) -> Mapping[str, Any]:
    """The result as it is told, kept under a handle."""
    name = asked.collection
    if asked.image_id is None:
        sha256, size = hashlib.sha256(asked.data).hexdigest(), result.query_size
    else:
        record = collection.get(asked.image_id)
        sha256, size = record.sha256, (record.width, record.height)
    images = {}
    for hit in result.hits:
        try:
            images[hit.id] = image_of(name, collection.get(hit.id))
        except UnknownImageError:  # deleted a moment ago
            continue
    hits = [{**hit.to_dict(), "image": images[hit.id]} for hit in result.hits if hit.id in images]

    def make(handle: str | None, ends: float) -> Mapping[str, Any]:
        for hit in hits:
            base = f"/v1/explanations/{handle}"
            hit["thumbnail"] = hit["image"]["thumbnail"]
            hit["explanation"] = f"{base}/images/{quoted(hit['id'])}" if handle else None
            hit["picture"] = f"{base}/pictures/{quoted(hit['id'])}" if handle else None
        return {
            **result.to_dict(),
            "hits": hits,
            "collection": name,
            "query": {"width": size[0], "height": size[1], "sha256": sha256, "id": asked.image_id},
            "explanations": {"handle": handle, "expires_at": iso(ends)} if handle else None,
        }

    # About what the answer takes: metadata are the only part of it without a bound of its own.
    size_of_answer = sum(len(str(hit)) for hit in hits)
    return service.explanations.keep(asked, make, size_of_answer)

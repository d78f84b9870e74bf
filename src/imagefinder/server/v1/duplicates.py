"""``GET /v1/collections/{collection}/duplicates``: the last report, made by a job."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from imagefinder.collection import Collection
from imagefinder.core.errors import UnknownImageError
from imagefinder.dedup import report as duplicate_report
from imagefinder.server.errors import Problem, responses
from imagefinder.server.jobs.work import collection_state
from imagefinder.server.v1 import cursor, schemas
from imagefinder.server.v1.collections import Name
from imagefinder.server.v1.service import Job, Service, image_of

log = logging.getLogger(__name__)


def router(service: Service) -> APIRouter:
    """The endpoint for duplicates."""
    routes = APIRouter(tags=["duplicates"], prefix="/v1/collections/{collection}")

    @routes.get(
        "/duplicates",
        operation_id="duplicates",
        summary="Groups of identical, edited and overlapping images, the best one of each first",
        description="The report is made by a job, which this request starts if there is none. A report that is no "
        "longer true is still given, as `stale`, while a new one is being made.",
        response_model=schemas.Duplicates,
        response_description="A page of the last report",
        responses={
            202: {
                "model": schemas.Running,
                "description": "The first report is being made; ask again after Retry-After seconds",
            },
            **responses(
                ["unknown_collection", "invalid_parameter", "busy", "not_ready", "store_error", "internal_error"]
            ),
        },
    )
    def duplicates(
        collection: Name, limit: cursor.Limit = cursor.DEFAULT_LIMIT, after: cursor.Cursor = ""
    ) -> JSONResponse:
        opened = service.collections.get(collection)
        begin = _number(cursor.read(after))
        kept = _read(opened)
        if kept is None:
            job = _job(service, collection)
            answer = {"state": "running", "job": job.to_dict()}
            return JSONResponse(answer, 202, {"Retry-After": "2", "Location": f"/v1/jobs/{job.id}"})
        stale = kept["state"] != collection_state(opened)
        if stale and service.jobs is not None:
            _job(service, collection)
        report = dict(kept["report"])
        groups = report.pop("groups")
        page = groups[begin : begin + limit]
        more = begin + limit < len(groups)
        return JSONResponse(
            {
                "state": "ready",
                "computed_at": kept["computed_at"],
                "stale": stale,
                "report": report,
                "groups": [{**group, "images": _images(collection, opened, group["ids"])} for group in page],
                "next_cursor": cursor.make(str(begin + limit)) if more else None,
            }
        )

    return routes


def _job(service: Service, collection: str) -> Job:
    jobs = service.need_jobs()
    return jobs.find("duplicates", collection) or jobs.start("duplicates", collection)


def _read(collection: Collection) -> Mapping[str, Any] | None:
    data = collection.store.derived(duplicate_report.NAME)
    if data is None:
        return None
    kept = duplicate_report.from_bytes(data)
    if kept is None:
        log.warning("the report of duplicates cannot be read; it is made again")
    return kept


def _images(name: str, collection: Collection, ids: list[str]) -> list[dict[str, Any]]:
    found = []
    for image_id in ids:
        try:
            found.append(image_of(name, collection.get(image_id)))
        except UnknownImageError:
            continue
    return found


def _number(place: str) -> int:
    if not place:
        return 0
    if not place.isascii() or not place.isdecimal() or len(place) > 9:
        raise Problem(
            "invalid_parameter",
            "cursor: this is none of this list",
            hint="begin again without one",
            field="cursor",
        )
    return int(place)

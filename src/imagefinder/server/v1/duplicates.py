"""``GET /v1/collections/{collection}/duplicates``: the latest duplicate report, which a job computes."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from imagefinder.collection import Collection
from imagefinder.core.answers import Duplicates, DuplicateSet, DuplicatesRunning, DuplicateSummary, Image, extend
from imagefinder.dedup.proposals import recheck
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import Problem, responses
from imagefinder.server.head import headers_only, is_head
from imagefinder.server.jobs.work import collection_state
from imagefinder.server.request_context import link
from imagefinder.server.service import ServiceDep
from imagefinder.server.v1 import cursor
from imagefinder.server.v1.answers import image_answers, respond
from imagefinder.server.v1.collections import Name

router = APIRouter(tags=["duplicates"], prefix="/v1/collections/{collection}", route_class=FairRoute)


@router.get(
    "/duplicates",
    operation_id="duplicates",
    summary="List groups of duplicate images",
    description="Groups of identical, edited and overlapping images; the best image of each group comes first. "
    "`spare` lists the images whose files can be deleted, as the files are now; `reasons` says why others stay. A "
    "job of the kind `duplicates` computes the report (`POST /v1/jobs`); this request starts nothing. An outdated "
    "report is returned with `stale: true`.",
    response_model=Duplicates,
    response_description="A page of the latest report.",
    responses={
        202: {
            "model": DuplicatesRunning,
            "description": "The first report is being computed; repeat the request after `Retry-After` seconds.",
        },
        **responses(
            [
                *("unknown_collection", "no_duplicate_report", "invalid_parameter", "not_ready", "store_error"),
                "internal_error",
            ]
        ),
    },
)
def duplicates(
    service: ServiceDep,
    request: Request,
    collection: Name,
    limit: cursor.Limit = cursor.DEFAULT_LIMIT,
    after: cursor.Cursor = "",
) -> Response:
    opened = service.collections.get(collection)
    begin = _offset(cursor.read(after))
    kept = opened.kept_duplicates()
    if kept is None:
        job = service.jobs.find("duplicates", collection)
        if job is None:
            raise _no_report(collection)
        headers = {"Retry-After": "2", "Location": link(f"/v1/jobs/{job.id}")}
        if is_head(request):
            return headers_only("application/json", headers, 202)
        return respond(DuplicatesRunning("running", job), 202, headers)
    stale = kept.state != collection_state(opened)
    report = kept.report
    # Files may have changed since the report: each answer looks at them again.
    page = [recheck(group, report.states, opened.get) for group in report.groups[begin : begin + limit]]
    more = begin + limit < len(report.groups)
    return respond(
        Duplicates(
            state="ready",
            computed_at=kept.computed_at,
            stale=stale,
            report=DuplicateSummary(
                report.images, report.candidates, report.verified, report.methods, report.timings
            ),
            groups=tuple(
                extend(DuplicateSet, group, images=_images(collection, opened, group.ids)) for group in page
            ),
            next_cursor=cursor.make(str(begin + limit)) if more else None,
        )
    )


def _no_report(collection: str) -> Problem:
    return Problem(
        "no_duplicate_report",
        f"the duplicates in the collection {collection!r} have not been computed yet",
        hint='start a job: POST /v1/jobs with {"kind": "duplicates", "collection": "' + collection + '"}; it '
        "requires a key with write access",
    )


def _images(name: str, collection: Collection, ids: Sequence[str]) -> tuple[Image, ...]:
    records = collection.records(ids)
    return image_answers(
        name,
        [records[image_id] for image_id in ids if image_id in records],
        places=collection.settings.places,
    )


def _offset(position: str) -> int:
    if not position:
        return 0
    if not position.isascii() or not position.isdecimal() or len(position) > 9:
        raise cursor.invalid()
    return int(position)

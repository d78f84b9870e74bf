"""``/v1/jobs``: start, list, follow and cancel jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError

from imagefinder.core.errors import UnknownJobError
from imagefinder.core.job_records import MAX_ENDED_DAYS
from imagefinder.core.jobs import Job, JobPage, JobState
from imagefinder.core.serialization import to_json
from imagefinder.server import request_context, validation
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import Problem, responses
from imagefinder.server.head import headers_only, is_head
from imagefinder.server.jobs.forms import EXAMPLES, REQUEST, SCHEMA
from imagefinder.server.jobs.watch import Watch
from imagefinder.server.request_context import Caller, link, may_use
from imagefinder.server.service import Service, ServiceDep
from imagefinder.server.streams import MAX_STREAMS, MAX_STREAMS_PER_CLIENT
from imagefinder.server.upload import JSON, ReserveBytes, content_type, read_json, wrong_type
from imagefinder.server.v1.answers import respond

PREFIX = "/v1/jobs"
PAGE = 100
MAX_PAGE = 1000
MAX_BODY = 16 << 20
"""Largest JSON body of a job request, bytes."""

MAX_VALUES = 101_000
"""Largest number of values in a job request: URLs, and the other members."""

KEEP_ALIVE_SECONDS = 15.0
CHECK_SECONDS = 2.0
"""Interval at which an event stream checks that its key was not revoked."""

_START = (
    *("malformed_json", "folder_not_allowed", "url_queries_off", "unknown_collection", "unknown_method"),
    *("folder_not_found", "upload_timeout", "request_too_large", "unsupported_media_type", "invalid_parameter"),
    *("invalid_input", "invalid_setting", "busy", "store_error", "not_ready", "internal_error"),
)
_ONE = ("unknown_job", "invalid_parameter", "store_error", "not_ready", "internal_error")
JobId = Annotated[str, Path(description="Id of the job.")]

router = APIRouter(tags=["jobs"], prefix=PREFIX, route_class=FairRoute)


@router.post(
    "",
    operation_id="start_job",
    summary="Start a job",
    description="Queues the job and responds immediately. The job is stored on disk before the response is sent; "
    "it continues after a restart of the server. The kinds `index` and `rebuild` are deprecated names of `add` "
    "and `build-index`; version 0.3 removes them.",
    status_code=202,
    response_model=Job,
    response_description="The queued job; `Location` is its URL.",
    responses=responses(_START),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": SCHEMA, "examples": EXAMPLES}},
        }
    },
)
async def start_job(service: ServiceDep, request: Request) -> JSONResponse:
    with service.admission.admit() as reserve:
        spec = await _read(service, request, reserve)
        kind, collection = spec.pop("kind"), spec.pop("collection")
        job = await service.block(partial(service.jobs.start, kind, collection, **spec))
    return respond(job, 202, {"Location": link(f"{PREFIX}/{job.id}")})


@router.get(
    "",
    operation_id="list_jobs",
    summary="List jobs, newest first",
    response_model=JobPage,
    response_description="A page of jobs.",
    responses=responses(("invalid_parameter", "store_error", "not_ready", "internal_error")),
)
def list_jobs(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Largest number of jobs on the page.")] = PAGE,
    cursor: Annotated[str | None, Query(max_length=100, description="`next_cursor` of the previous page.")] = None,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
) -> JSONResponse:
    found = service.jobs.list(limit=limit + 1, before=cursor or None, state=state, visible=may_use)
    page, more = tuple(found[:limit]), len(found) > limit
    return respond(JobPage(page, page[-1].id if more else None))


@router.get(
    "/{job}",
    operation_id="get_job",
    summary="Get a job",
    response_model=Job,
    response_description="The job.",
    responses=responses(_ONE),
)
def get_job(service: ServiceDep, job: JobId) -> JSONResponse:
    return respond(_visible(service, job))


@router.post(
    "/{job}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    description="A queued job ends immediately, a running job as soon as possible. An ended job is unchanged. "
    "Images that the job has already added stay in the collection.",
    response_model=Job,
    response_description="The job in its new state.",
    responses=responses(_ONE),
)
def cancel_job(service: ServiceDep, job: JobId) -> JSONResponse:
    _visible(service, job)
    return respond(service.jobs.cancel(job))


@router.get(
    "/{job}/events",
    operation_id="job_events",
    summary="Follow the progress of a job as server-sent events",
    description="The data of each `progress` event is the job. The first event is sent immediately, further ones "
    "after each change, at most four per second while the state stays the same. When the job has ended, an `end` "
    f"event follows. A comment every {KEEP_ALIVE_SECONDS:.0f} s keeps the connection open. A stream ends when its "
    f"key is revoked. A client may have {MAX_STREAMS_PER_CLIENT} open streams, and all clients {MAX_STREAMS}.",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The event stream.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **responses((*_ONE, "busy")),
    },
)
async def job_events(service: ServiceDep, request: Request, job: JobId) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if is_head(request):
        await service.block(partial(_visible, service, job))
        return headers_only("text/event-stream", headers)
    caller = request_context.caller() or Caller()
    service.streams.open(caller.client)
    await service.block(partial(_visible, service, job))
    watch = await service.block(partial(service.jobs.watch, job))
    stream = _stream(watch, lambda: asyncio.to_thread(service.is_valid, caller))
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def _visible(service: Service, job_id: str) -> Job:
    """The job, if the current request may use its collection.

    Raises:
        UnknownJobError: there is none, or it may not.
    """
    job = service.jobs.get(job_id)
    if not may_use(job.collection):
        raise UnknownJobError(job_id, days=MAX_ENDED_DAYS)
    return job


async def _stream(watch: Watch, is_allowed: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
    now = asyncio.get_running_loop().time
    checked = sent = now()
    async with watch:
        while True:
            job = None
            try:
                async with asyncio.timeout_at(checked + CHECK_SECONDS):
                    job = await watch.next_change()
            except TimeoutError:
                pass
            else:
                if job is None:  # shutdown: clients reconnect after the restart
                    return
            if now() - checked >= CHECK_SECONDS:
                if not await is_allowed():  # clients reconnect, and the answer says why
                    return
                checked = now()
            if job is None:
                if now() - sent >= KEEP_ALIVE_SECONDS:
                    sent = now()
                    yield ": keep-alive\n\n"
                continue
            sent = now()
            yield _event("progress", job)
            if job.ended:
                yield _event("end", job)
                return


def _event(name: str, job: Job) -> str:
    return f"event: {name}\ndata: {json.dumps(to_json(job))}\n\n"


async def _read(service: Service, request: Request, reserve: ReserveBytes) -> dict[str, Any]:
    if content_type(request) != JSON:
        raise wrong_type(request, JSON)
    return await read_json(
        request, _spec, max_bytes=MAX_BODY, max_values=MAX_VALUES, reserve=reserve, parse=service.admission.parse
    )


def _spec(content: Any) -> dict[str, Any]:
    try:
        return REQUEST.validate_python(content).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"][1:])  # the first part is the kind
        raise Problem(
            "invalid_parameter",
            f"{field or 'the request'}: {validation.message(first)}",
            hint=validation.HINT,
            field=field or "kind",
        ) from error

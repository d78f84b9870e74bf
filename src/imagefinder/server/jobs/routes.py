"""``/v1/jobs``: start, list, watch and cancel jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from imagefinder.server.errors import Problem, responses
from imagefinder.server.gate import Gate
from imagefinder.server.jobs.forms import EXAMPLES, REQUEST, SCHEMA, JobForm, JobsForm
from imagefinder.server.jobs.job import Job, State
from imagefinder.server.jobs.manager import JobManager
from imagefinder.server.jobs.watch import Watch
from imagefinder.server.upload import JSON, Hold, content_type, read_json, wrong_type

PREFIX = "/v1/jobs"
PAGE = 100
MAX_PAGE = 1000
MAX_BODY = 16 << 20
"""Bytes of the JSON that asks for a job."""

KEEP_ALIVE_SECONDS = 15.0
MAX_WATCHERS = 256
"""Streams of events at once."""

_START = (
    *("malformed_json", "folder_not_allowed", "url_queries_off", "unknown_collection", "unknown_method"),
    *("folder_not_found", "upload_timeout", "request_too_large", "unsupported_media_type", "invalid_parameter"),
    *("invalid_input", "invalid_setting", "busy", "store_error", "not_ready", "internal_error"),
)
_ONE = ("unknown_job", "invalid_parameter", "store_error", "not_ready", "internal_error")
_PATH = {"description": "the id of the job"}


def router(manager: JobManager, gate: Gate) -> APIRouter:
    """The endpoints for jobs."""
    routes = APIRouter(tags=["jobs"], prefix=PREFIX)
    watchers = 0

    @routes.post(
        "",
        operation_id="start_job",
        summary="Start a job",
        description="Queues the work and answers at once. The job is on disk before the answer and goes on after "
        "a restart of the server.",
        status_code=202,
        response_model=JobForm,
        response_description="The job; Location leads to it",
        responses=responses(_START),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": SCHEMA,
                        "examples": EXAMPLES,
                    }
                },
            }
        },
    )
    async def start(request: Request) -> JSONResponse:
        with gate.admit() as hold:
            asked = _asked(await _json(request, hold))
            kind, collection = asked.pop("kind"), asked.pop("collection")
            job = await run_in_threadpool(manager.start, kind, collection, **asked)
        return JSONResponse(job.to_dict(), 202, {"Location": f"{PREFIX}/{job.id}"})

    @routes.get(
        "",
        operation_id="list_jobs",
        summary="The jobs, the newest first",
        response_model=JobsForm,
        responses=responses(("invalid_parameter", "store_error", "not_ready", "internal_error")),
    )
    def jobs(
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="how many at most")] = PAGE,
        cursor: Annotated[str | None, Query(max_length=100, description="next_cursor of the page before")] = None,
        state: Annotated[State | None, Query(description="only jobs in this state")] = None,
    ) -> JSONResponse:
        page = manager.list(limit=limit + 1, before=cursor or None, state=state)
        more = len(page) > limit
        page = page[:limit]
        return JSONResponse(
            {"jobs": [job.to_dict() for job in page], "next_cursor": page[-1].id if more else None}
        )

    @routes.get(
        "/{job}", operation_id="get_job", summary="A job", response_model=JobForm, responses=responses(_ONE)
    )
    def one(job: str) -> JSONResponse:
        return JSONResponse(manager.get(job).to_dict())

    @routes.post(
        "/{job}/cancel",
        operation_id="cancel_job",
        summary="Cancel a job",
        description="A queued job ends at once, a running one as soon as it can; one that has ended stays as it "
        "is. Pictures that were indexed stay.",
        response_model=JobForm,
        responses=responses(_ONE),
    )
    def cancel(job: str) -> JSONResponse:
        return JSONResponse(manager.cancel(job).to_dict())

    @routes.get(
        "/{job}/events",
        operation_id="job_events",
        summary="The progress of a job as server-sent events",
        description="Each event `progress` has the job as data: now, at every change of its state, and at most 4 "
        "times a second between. After the last one comes an event `end`. A comment every "
        f"{KEEP_ALIVE_SECONDS:.0f} s keeps the connection open.",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **responses((*_ONE, "busy")),
        },
    )
    async def events(job: str) -> StreamingResponse:
        if watchers >= MAX_WATCHERS:
            raise Problem("busy", "too many watch jobs already", headers={"Retry-After": "5"})
        watch = await run_in_threadpool(manager.watch, job)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream(watch), media_type="text/event-stream", headers=headers)

    async def stream(watch: Watch) -> AsyncIterator[str]:
        nonlocal watchers
        watchers += 1
        try:
            with watch:
                async for text in _stream(watch):
                    yield text
        finally:
            watchers -= 1

    return routes


async def _stream(watch: Watch) -> AsyncIterator[str]:
    while True:
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                job = await watch.news()
        except TimeoutError:
            yield ": nothing new\n\n"
            continue
        if job is None:  # the server stops; the client comes back to the next one
            return
        yield _event("progress", job)
        if job.ended:
            yield _event("end", job)
            return


def _event(name: str, job: Job) -> str:
    return f"event: {name}\ndata: {json.dumps(job.to_dict())}\n\n"


async def _json(request: Request, hold: Hold) -> Any:
    if content_type(request) != JSON:
        raise wrong_type(request, JSON)
    return await read_json(request, max_bytes=MAX_BODY, hold=hold)


def _asked(content: Any) -> dict[str, Any]:
    try:
        return REQUEST.validate_python(content).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"][1:])  # the first one is the kind
        raise Problem(
            "invalid_parameter",
            f"{field or 'the request'}: {_words(first)}",
            field=field or "kind",
        ) from error


def _words(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).replace("Input should be", "must be").replace("Value error, ", "")

"""``GET /health`` and ``/metrics``: the state of the service for people, load balancers and monitoring."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from imagefinder.server.access import check_unrestricted
from imagefinder.server.errors import Problem, responses
from imagefinder.server.schemas import Health, Live, Ready
from imagefinder.server.service import ServiceDep

router = APIRouter(tags=["health"])


@router.get(
    "/health", operation_id="health", summary="State of the service, the default collection and the methods"
)
async def health(service: ServiceDep) -> Health:
    return await service.monitor(service.readiness.health)


@router.get("/health/live", operation_id="live", summary="Liveness: the process responds")
async def live() -> Live:
    return Live(live=True)


@router.get(
    "/health/ready",
    operation_id="ready",
    summary="Readiness: 200 when the service is ready, otherwise 503",
    response_description="The service is ready.",
    responses=responses(["not_ready"], common=False),
)
async def ready(service: ServiceDep) -> Ready:
    state = await service.monitor(service.readiness.health)
    if not state.ready:
        raise Problem(
            "not_ready",
            f"the service is {state.status}",
            hint="GET /health has the details",
            headers={"Retry-After": "1"},
        )
    return Ready(ready=True)


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics in Prometheus format",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The metrics."},
        **responses([]),
    },
)
async def metrics(service: ServiceDep, request: Request) -> Response:
    check_unrestricted()
    exposition = partial(service.metrics.exposition, request.headers.get("accept", ""))
    text, content_type = await service.monitor(exposition)
    return Response(text, media_type=content_type)

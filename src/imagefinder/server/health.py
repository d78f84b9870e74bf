"""``GET /health`` and ``/metrics``: the state of the service, for people, load balancers and monitoring."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from imagefinder.server.errors import Problem, responses
from imagefinder.server.schemas import Health, Live, Ready
from imagefinder.server.service import ServiceDep

router = APIRouter(tags=["health"])


@router.get("/health", summary="The state of the service, its collection and its methods")
def health(service: ServiceDep) -> Health:
    return service.readiness.health()


@router.get("/health/live", summary="Whether the process responds")
async def live() -> Live:
    return Live(live=True)


@router.get(
    "/health/ready",
    summary="Whether the service is ready; 503 while it is not",
    responses=responses(["not_ready"], refusals=False),
)
def ready(service: ServiceDep) -> Ready:
    state = service.readiness.health()
    if not state.ready:
        raise Problem(
            "not_ready",
            f"the service is {state.status}",
            hint="GET /health tells more",
            headers={"Retry-After": "1"},
        )
    return Ready(ready=True)


@router.get(
    "/metrics",
    summary="The numbers of the service, for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The numbers"},
        **responses([]),
    },
)
def numbers(service: ServiceDep, request: Request) -> Response:
    text, content_type = service.metrics.exposition(request.headers.get("accept", ""))
    return Response(text, media_type=content_type)

"""``GET /health``: what state the service is in, for people, load balancers and container engines."""

from __future__ import annotations

from fastapi import APIRouter

from imagefinder.server.errors import Problem, responses
from imagefinder.server.readiness import Readiness
from imagefinder.server.schemas import Health, Live, Ready


def router(readiness: Readiness) -> APIRouter:
    """The three questions about the service's state."""
    routes = APIRouter(tags=["health"], prefix="/health")

    @routes.get("", summary="The state of the service, its collection and its methods")
    def health() -> Health:
        return readiness.health()

    @routes.get("/live", summary="Whether the process answers")
    async def live() -> Live:
        return Live(live=True)

    @routes.get(
        "/ready",
        summary="Whether the service can be asked; 503 while it cannot",
        responses=responses(["not_ready"], door=False),
    )
    def ready() -> Ready:
        state = readiness.health()
        if not state.ready:
            raise Problem(
                "not_ready",
                f"the service is {state.status}",
                hint="GET /health tells more",
                headers={"Retry-After": "1"},
            )
        return Ready(ready=True)

    return routes

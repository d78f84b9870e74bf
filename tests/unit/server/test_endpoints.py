from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

from fastapi import APIRouter

from imagefinder.server import request_context, service
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.fairness import FairPool, FairShare
from imagefinder.server.request_context import Caller, RequestContext


class BlockingService:
    """The threads of the service, without the rest."""

    def __init__(self) -> None:
        threads = service.BLOCKING_THREADS
        self._blocking = FairPool(threads, name="test", share=FairShare(threads))

    block = service.Service.block


async def call(endpoint: Any, blocking: BlockingService, client: str) -> Any:
    request_context.current.set(RequestContext(caller=Caller(client)))
    return await endpoint(service=blocking)


def test_many_blocked_requests_of_one_client_leave_threads_to_another() -> None:
    release = threading.Event()
    router = APIRouter(route_class=FairRoute)

    @router.get("/slow")
    def slow(service: str) -> str:
        release.wait(20)
        return "slow"

    @router.get("/fast")
    def fast(service: str) -> str:
        return threading.current_thread().name

    async def run() -> None:
        blocking = BlockingService()
        endpoints = [cast(Any, route).endpoint for route in router.routes]
        crowd = [asyncio.create_task(call(endpoints[0], blocking, "crowd")) for _ in range(200)]
        await asyncio.sleep(0.05)
        try:
            async with asyncio.timeout(10):
                name = await asyncio.create_task(call(endpoints[1], blocking, "other"))
        finally:
            release.set()
        assert name.startswith("test")
        assert set(await asyncio.gather(*crowd)) == {"slow"}

    asyncio.run(run())


def test_a_coroutine_stays_in_the_event_loop() -> None:
    router = APIRouter(route_class=FairRoute)

    @router.get("/")
    async def endpoint() -> None: ...

    assert cast(Any, router.routes[0]).endpoint is endpoint

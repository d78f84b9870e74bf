"""Endpoints that block: they run in threads, in which each client has a fair share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute

from imagefinder.server.service import Service


class FairRoute(APIRoute):
    """A route whose endpoint, unless it is a coroutine, runs in the threads of the service.

    FastAPI's own threads serve requests in the order of their arrival, so that the many requests of one client
    would delay those of all others.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if not inspect.iscoroutinefunction(endpoint):
            endpoint = _in_thread(endpoint)
        super().__init__(path, endpoint, **options)


def _in_thread(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint that calls another one, which has the parameter ``service``, in a thread."""

    @functools.wraps(endpoint)
    async def call(*, service: Service, **parameters: Any) -> Any:
        return await service.block(lambda: endpoint(service=service, **parameters))

    return call

"""The resources of ``/v1``, one file each."""

from __future__ import annotations

from fastapi import APIRouter

from imagefinder.server.v1 import collections, compare, duplicates, explanations, images, info, search
from imagefinder.server.v1.service import Service


def router(service: Service) -> APIRouter:
    """All endpoints of ``/v1`` but those for jobs."""
    routes = APIRouter()
    for resource in (info, collections, images, search, explanations, compare, duplicates):
        routes.include_router(resource.router(service))
    return routes

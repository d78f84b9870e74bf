"""The resources of ``/v1``, one file each; the resources of jobs are in ``server.jobs.routes``."""

from __future__ import annotations

from fastapi import APIRouter

from imagefinder.server.v1 import (
    collections,
    compare,
    duplicates,
    explanations,
    images,
    info,
    listings,
    location,
    previews,
    removals,
    search,
    similar,
)

router = APIRouter()
_IMAGES = (info, collections, listings, images, location, previews, removals)
for _resource in (*_IMAGES, search, similar, explanations, compare, duplicates):
    router.include_router(_resource.router)

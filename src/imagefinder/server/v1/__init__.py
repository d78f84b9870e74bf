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
    previews,
    removals,
    search,
)

router = APIRouter()
for _resource in (
    *(info, collections, listings, images, previews),
    *(removals, search, explanations, compare, duplicates),
):
    router.include_router(_resource.router)

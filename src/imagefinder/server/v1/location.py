"""``GET .../location``: where the file of an image is; only if no other machine can reach the server."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from imagefinder.core.similarity import ImageLocation
from imagefinder.indexing.source_item import local_path, name_to_text
from imagefinder.server.access import only_local
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import Problem, responses
from imagefinder.server.image_paths import ImageId
from imagefinder.server.service import ServiceDep
from imagefinder.server.v1.answers import respond
from imagefinder.server.v1.collections import Name

router = APIRouter(tags=["images"], prefix="/v1/collections/{collection}", route_class=FairRoute)


@router.get(
    "/location",
    operation_id="get_location",
    summary="Get the path of an image's file",
    description="Only of a server that no other machine can reach: paths reveal names of people and folders.",
    response_model=ImageLocation,
    response_description="The path.",
    responses=responses(
        ("location_hidden", "unknown_collection", "unknown_image", "invalid_parameter", "internal_error")
    ),
)
def get_location(service: ServiceDep, collection: Name, image_id: ImageId) -> JSONResponse:
    if not only_local(service.settings):
        raise Problem(
            "location_hidden",
            "other machines can reach this server, so it does not reveal paths",
            hint="the id of the image is its path in the folder that was added",
        )
    path = local_path(service.collections.get(collection).get(image_id).uri)
    return respond(ImageLocation(None if path is None else name_to_text(path)))

"""``/v1/collections/{collection}/preview``: pictures of images that every browser can show."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from imagefinder.collection import Collection
from imagefinder.collection.previews import PreviewPlan
from imagefinder.core.errors import InputError
from imagefinder.core.previews import DEFAULT_SIZE, SIZES, Preview
from imagefinder.server.endpoints import FairRoute
from imagefinder.server.errors import Problem, responses
from imagefinder.server.image_paths import ImageId
from imagefinder.server.service import Service, ServiceDep, preview_name
from imagefinder.server.v1.collections import Name
from imagefinder.server.v1.images import NOT_MODIFIED, binary, cached, is_cached, no_thumbnail

SOURCE_HEADER, REASON_HEADER = "X-Preview-Source", "X-Preview-Reason"

_TYPE = "image/jpeg"

router = APIRouter(tags=["images"], prefix="/v1/collections/{collection}", route_class=FairRoute)


@router.get(
    "/preview",
    operation_id="get_preview_by_id",
    summary="Get a preview of an image",
    description="A JPEG in sRGB, upright, without metadata, of any format that can be added. It is rendered from "
    "the unchanged original, or from what the collection keeps of an uploaded image; the header "
    f"`{SOURCE_HEADER}` names the source: `file`, `address`, `original`, `preview`, or `thumbnail` if none is "
    f"available; then `{REASON_HEADER}` has the code of the reason, such as `content_gone`.",
    response_class=Response,
    responses={
        200: binary("The preview.", _TYPE),
        304: NOT_MODIFIED,
        **responses(
            [
                *("unknown_collection", "unknown_image", "no_thumbnail", "invalid_parameter"),
                *("busy", "timed_out", "store_error", "internal_error"),
            ]
        ),
    },
)
async def get_preview(
    *,
    service: ServiceDep,
    request: Request,
    collection: Name,
    image_id: ImageId,
    size: Annotated[
        int,
        Query(
            ge=1,
            le=SIZES[-1],
            description="Length of the longer side in pixels. The preview has at least this size, in one of "
            f"the steps {', '.join(map(str, SIZES))}; images are not enlarged.",
        ),
    ] = DEFAULT_SIZE,
) -> Response:
    opened, plan = await service.block(lambda: _plan(service, collection, image_id, size))
    if plan.is_current:
        if is_cached(request, f'"{plan.tag}"'):
            return Response(status_code=304, headers=_headers(plan.tag))
        data = await service.block(lambda: service.previews.get(preview_name(plan.tag)))
        if data is not None:
            return _response(request, plan, Preview(data, plan.source))
    with service.admission.admit():
        downloaded = None
        if plan.url:
            try:
                downloaded = await service.download(plan.url)
            except (InputError, Problem) as error:
                failed = error.code
                plan = await service.block(lambda: opened.previews.without_source(plan, failed))
        preview = await service.admission.run(lambda: opened.previews.render(plan, downloaded))
    if preview.source == plan.source != "thumbnail":
        await service.block(lambda: service.previews.put(preview_name(plan.tag), preview.data))
        return _response(request, plan, preview)
    if not preview.data:
        raise no_thumbnail(image_id)
    headers = {SOURCE_HEADER: preview.source, **({REASON_HEADER: preview.reason} if preview.reason else {})}
    return cached(request, preview.data, _TYPE, headers)


def _plan(service: Service, name: str, image_id: str, size: int) -> tuple[Collection, PreviewPlan]:
    opened = service.collections.get(name)
    return opened, opened.previews.plan(opened.resolve(image_id), size)


def _headers(tag: str) -> dict[str, str]:
    return {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}


def _response(request: Request, plan: PreviewPlan, preview: Preview) -> Response:
    headers = {**_headers(plan.tag), SOURCE_HEADER: preview.source}
    if is_cached(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(preview.data, headers=headers, media_type=_TYPE)

"""Images in requests: form files, raw bodies, base64, URLs and ids of stored images."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from fastapi import Request

from imagefinder.core.errors import ImagefinderError, ImageTooLargeError
from imagefinder.core.settings import Settings
from imagefinder.core.suggestions import did_you_mean
from imagefinder.server import upload
from imagefinder.server.errors import Problem, problem_of
from imagefinder.server.json_text import parse_json
from imagefinder.server.service import Service
from imagefinder.server.upload import MultipartForm, ReserveBytes
from imagefinder.server.validation import parse_box, parse_integer, parse_number

T = TypeVar("T")

TOTAL_IMAGES = 2
"""Limit of all files of one request together, as a multiple of the largest image size."""

MAX_PARTS = 64
_SMALL = 1 << 16
_PIECE = 1 << 20  # a multiple of 4: base64 characters that make whole bytes
_LISTS = frozenset({"box"})
_JSON_TEXTS = frozenset({"filter", "metadata"})


@dataclass(frozen=True, slots=True)
class RequestImage:
    """An image in a request: uploaded, downloaded or stored.

    Attributes:
        data: The encoded image; empty for a stored image.
        image_id: Id of a stored image.
        collection: Collection of the stored image; ``None`` for the collection of the request.
        uri: URL from which the image was downloaded; empty otherwise.
    """

    data: bytes = b""
    image_id: str | None = None
    collection: str | None = None
    uri: str = ""


def largest_request(settings: Settings) -> int:
    """Memory that the largest request needs for its body, bytes."""
    form = TOTAL_IMAGES * settings.max_image_bytes + upload.FORM_OVERHEAD
    return max(form, (upload.JSON_COPIES + 1) * settings.max_json_bytes)


async def read_json(service: Service, request: Request, reserve: ReserveBytes, read: Callable[[Any], T]) -> T:
    """What ``read`` makes of the JSON body of a request.

    Raises:
        Problem: as ``upload.read_json``.
    """
    return await upload.read_json(
        request, read, max_bytes=service.settings.max_json_bytes, reserve=reserve, parse=service.admission.parse
    )


async def read_form(
    service: Service, request: Request, reserve: ReserveBytes, files: Mapping[str, int], *, instead: str = ""
) -> MultipartForm:
    """The files and texts of a multipart body.

    Args:
        service: The service, for its limits.
        request: A request whose body has not been read.
        reserve: Called with the size of each chunk that is kept.
        files: Name of each required file field -> largest number of files in it.
        instead: Name of a text field; a form that has it needs no files.

    Raises:
        Problem: as ``upload.read_form``.
    """
    limit = service.settings.max_image_bytes
    return await upload.read_form(
        request,
        files=files,
        max_bytes=limit,
        max_total=TOTAL_IMAGES * limit,
        reserve=reserve,
        texts=True,
        instead=instead,
        max_parts=MAX_PARTS,
    )


async def load(service: Service, form: Any, reserve: ReserveBytes, field: str = "") -> RequestImage:
    """The image that a JSON request names; URLs are downloaded.

    Args:
        service: The service, for downloads and limits.
        form: A model with ``url``, ``base64`` and optionally ``id`` and ``collection``; at most one of the first
            three is set, and none only in a query of words.
        reserve: Called with the size of the image.
        field: Name of the enclosing field, for messages.

    Raises:
        Problem: invalid base64; ``url_queries_off``; ``timed_out``.
        ImagefinderError: the download failed; the image is too large.
    """
    image_id: str | None = getattr(form, "id", None)
    if image_id is not None:
        return RequestImage(image_id=image_id, collection=getattr(form, "collection", None))
    if form.url is not None:
        data = await service.download(form.url)
        reserve(len(data))
        return RequestImage(data, uri=form.url)
    if form.base64 is None:
        return RequestImage()
    text: str = form.base64
    reserve(3 * len(text) // 4)
    decode = partial(_decoded, text, service.settings.max_image_bytes, field)
    return RequestImage(decode() if len(text) <= _SMALL else await service.admission.parse(decode))


async def load_all(
    service: Service, forms: Sequence[tuple[Any, str]], reserve: ReserveBytes
) -> list[RequestImage | Problem | ImagefinderError]:
    """The images that a JSON request names, or why each is not available; the downloads run at the same time.

    Args:
        service: The service, for downloads and limits.
        forms: As ``form`` and ``field`` of ``load``.
        reserve: Called with the size of each image.

    Raises:
        Problem: ``timed_out``, with the URLs that were not downloaded within the time limit of the request.
    """

    async def one(form: Any, field: str) -> RequestImage | Problem | ImagefinderError:
        try:
            return await load(service, form, reserve, field)
        except (Problem, ImagefinderError) as error:
            return error

    images = await asyncio.gather(*(one(form, field) for form, field in forms))
    late = [
        url
        for image in images
        if isinstance(image, Problem) and image.code == "timed_out"
        for url in image.members.get("urls", ())
    ]
    if late:
        shown = ", ".join(url[:200] for url in late)
        raise service.admission.timed_out(f"did not download {shown}", field="url", urls=late)
    return images


def available(image: RequestImage | Problem | ImagefinderError) -> RequestImage:
    """The image; raises the error instead of which it is not available."""
    if isinstance(image, RequestImage):
        return image
    raise image


def _decoded(text: str, max_bytes: int, field: str) -> bytes:
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise _invalid_base64("a data: URL must use base64", field)
    if len(text) > 4 * -(-max_bytes // 3):
        raise ImageTooLargeError(
            f"the image has more than {max_bytes:,} bytes",
            limit=max_bytes,
            unit="bytes",
            hint="send a smaller image",
        )
    if "=" in text[:-2]:
        raise _invalid_base64("not valid base64: characters after the padding", field)
    try:
        # In pieces, because the decoder holds the interpreter lock.
        pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
        return b"".join([base64.b64decode(piece, validate=True) for piece in pieces])
    except (binascii.Error, ValueError) as error:
        raise _invalid_base64(f"not valid base64: {error}", field) from error


def _invalid_base64(what: str, field: str) -> Problem:
    return Problem("invalid_parameter", f"base64: {what}", field=f"{field}.base64" if field else "base64")


def parse_text_fields(texts: Sequence[tuple[str, str]], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Convert the text fields of a form to JSON values.

    Args:
        texts: Name and text of each field, in order.
        kinds: Name of each field -> its type: ``int``, ``float``, ``bool``, ``str``, ``list`` (boxes; repeatable)
            or ``dict`` (JSON).

    Raises:
        Problem: a field is unknown, repeated or does not have the right type.
    """
    values: dict[str, Any] = {}
    for name, text in texts:
        kind = kinds.get(name)
        if kind is None:
            raise Problem(
                "invalid_parameter",
                f"unknown field {name[:100]!a}",
                hint=did_you_mean(name, kinds, otherwise=f"the text fields are: {', '.join(kinds)}"),
                field=name[:100],
            )
        if kind is list:
            values.setdefault("boxes", []).extend(_boxes(text))
            continue
        if name in values:
            raise Problem("invalid_parameter", f"{name}: the field appears more than once", field=name)
        values[name] = _value(name, text, kind)
    return values


def _value(name: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    if kind is dict:
        return parse_json(text, name)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.strip().lower()]
        return parse_integer(text) if kind is int else parse_number(text)
    except (KeyError, ValueError):
        expected = {"int": "an integer", "float": "a number", "bool": "true or false"}[kind.__name__]
        raise Problem("invalid_parameter", f"{name}: must be {expected}, not {text[:50]!a}", field=name) from None


def _boxes(text: str) -> list[Any]:
    """The boxes in a text field: one as ``x,y,width,height``, or one or several as JSON."""
    if text.lstrip().startswith("["):
        boxes = parse_json(text, "box")
        return [boxes] if boxes and not isinstance(boxes[0], list) else boxes
    try:
        box = parse_box(text)
    except ValueError:
        raise Problem(
            "invalid_parameter", f"box: must be x,y,width,height in pixels, not {text[:50]!a}", field="box"
        ) from None
    return [box]


def problem_details(error: Problem | ImagefinderError) -> dict[str, Any]:
    """The problem document of a query that failed, for a response with several answers."""
    return (error if isinstance(error, Problem) else problem_of(error)).to_dict()

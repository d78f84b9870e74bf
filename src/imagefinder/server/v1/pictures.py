"""Pictures that clients hand in: as files of a form, as the body itself, as base64 or by address."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import Request

from imagefinder.core.errors import ImageTooLargeError
from imagefinder.server import upload
from imagefinder.server.errors import Problem, problem_of
from imagefinder.server.service import Service
from imagefinder.server.upload import Form, Hold

TOTAL_IMAGES = 2
"""Pictures of the largest size accepted that all files of one request may have together."""

MAX_PARTS = 64
_SMALL = 1 << 16
_LISTS = frozenset({"box"})
_JSON_TEXTS = frozenset({"filter", "metadata"})


@dataclass(frozen=True, slots=True)
class Given:
    """A picture that was handed in.

    Attributes:
        data: The encoded picture; empty where ``image_id`` names it.
        image_id: Of a stored image.
        collection: Where that is, if it need not be the one that is asked.
        uri: Where it was downloaded from; empty otherwise.
    """

    data: bytes = b""
    image_id: str | None = None
    collection: str | None = None
    uri: str = ""


def max_json_bytes(service: Service) -> int:
    """Largest JSON body: a picture of the largest size in base64, and what goes with it."""
    return 4 * -(-service.settings.max_image_bytes // 3) + upload.FORM_OVERHEAD


async def read_json(service: Service, request: Request, hold: Hold) -> Any:
    """The JSON body of a request.

    Raises:
        Problem: see ``upload.read_json``.
    """
    return await upload.read_json(request, max_bytes=max_json_bytes(service), hold=hold)


async def read_form(service: Service, request: Request, hold: Hold, files: Mapping[str, int]) -> Form:
    """The files and texts of a multipart body.

    Raises:
        Problem: see ``upload.read_form``.
    """
    limit = service.settings.max_image_bytes
    return await upload.read_form(
        request,
        files=files,
        max_bytes=limit,
        max_total=TOTAL_IMAGES * limit,
        hold=hold,
        texts=True,
        max_parts=MAX_PARTS,
    )


async def given(service: Service, form: Any, hold: Hold, field: str = "") -> Given:
    """The picture that a JSON form names.

    Args:
        service: Downloads.
        form: Has ``url``, ``base64`` and perhaps ``id`` and ``collection``, exactly one of the first three set.
        hold: Told its size.
        field: Where it stands in the request, for messages.

    Raises:
        Problem: no base64; ``url_queries_off``.
        ImagefinderError: an address that gives no picture; too large.
    """
    image_id: str | None = getattr(form, "id", None)
    if image_id is not None:
        return Given(image_id=image_id, collection=getattr(form, "collection", None))
    if form.url is not None:
        data = await service.download(form.url)
        hold(len(data))
        return Given(data, uri=form.url)
    text: str = form.base64
    decode = partial(_decoded, text, service.settings.max_image_bytes, field)
    data = decode() if len(text) <= _SMALL else await to_thread.run_sync(decode)
    hold(len(data))
    return Given(data)


def _decoded(text: str, max_bytes: int, field: str) -> bytes:
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise _no_base64("a data: URL must be in base64", field)
    if len(text) > 4 * -(-max_bytes // 3):
        raise ImageTooLargeError(
            f"the picture has more than {max_bytes:,} bytes",
            limit=max_bytes,
            unit="bytes",
            hint="send a smaller one",
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _no_base64(f"it is no base64: {error}", field) from error


def _no_base64(what: str, field: str) -> Problem:
    return Problem("invalid_parameter", f"base64: {what}", field=f"{field}.base64" if field else "base64")


def from_texts(texts: Sequence[tuple[str, str]], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Text fields of a form as the values that JSON would have.

    Args:
        texts: Name and text, in order.
        kinds: Name of each field -> what it holds: ``int``, ``float``, ``bool``, ``str``, ``list`` (boxes, which
            may be repeated) or ``dict`` (JSON).

    Raises:
        Problem: an unknown field, one given twice, or a text that is nothing of the kind.
    """
    values: dict[str, Any] = {}
    for name, text in texts:
        kind = kinds.get(name)
        if kind is None:
            raise Problem(
                "invalid_parameter",
                f"there is no field {name[:100]!a}",
                hint=f"fields: {', '.join(kinds)}",
                field=name[:100],
            )
        if kind is list:
            values.setdefault("boxes", []).extend(_boxes(text))
            continue
        if name in values:
            raise Problem("invalid_parameter", f"{name} is given more than once", field=name)
        values[name] = _value(name, text, kind)
    return values


def _value(name: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    if kind is dict:
        return upload.parse_json(text, name)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.strip().lower()]
        return kind(text if len(text) <= 100 and "_" not in text else "no number")
    except (KeyError, ValueError):
        words = {"int": "a whole number", "float": "a number", "bool": "true or false"}[kind.__name__]
        raise Problem("invalid_parameter", f"{name}: must be {words}, not {text[:50]!a}", field=name) from None


def _boxes(text: str) -> list[Any]:
    """One box as ``x,y,w,h``, or boxes as JSON."""
    if text.lstrip().startswith("["):
        boxes = upload.parse_json(text, "box")
        return [boxes] if boxes and not isinstance(boxes[0], list) else boxes
    try:
        box = [float(part) for part in text.split(",", 8)]
    except ValueError:
        raise Problem(
            "invalid_parameter", f"box: a box is x,y,width,height in pixels, not {text[:50]!a}", field="box"
        ) from None
    return [box]


def told(error: Exception) -> dict[str, Any]:
    """The problem of one of several pictures, as data."""
    if isinstance(error, Problem):
        return error.to_dict()
    return problem_of(error).to_dict()  # type: ignore[arg-type] # callers catch errors of the library only

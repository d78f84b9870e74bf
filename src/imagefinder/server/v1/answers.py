"""Conversion of the records of a collection to ``/v1`` responses, without the paths of files on the server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi.responses import JSONResponse

from imagefinder.collection import Collection
from imagefinder.core.answers import (
    CollectionInfo,
    CollectionMethod,
    DuplicateSet,
    FailedImage,
    Image,
    SearchAnswer,
    SearchHit,
)
from imagefinder.core.records import Failure, ImageRecord
from imagefinder.core.results import DuplicateGroup, Hit, SearchResult
from imagefinder.core.serialization import to_json, type_adapter
from imagefinder.core.times import iso
from imagefinder.indexing.missing import gone_uris
from imagefinder.indexing.source_item import local_path, name_to_text
from imagefinder.server.image_paths import image_path
from imagefinder.server.redaction import public_uri, redacted


def respond(answer: object, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A response with a dataclass as its JSON body."""
    return JSONResponse(to_json(answer), status, headers)


DEPRECATED: Mapping[type, tuple[str, ...]] = {SearchHit: ("picture",)}
"""Class -> its deprecated members, which version 0.3 removes."""


def complete_schemas(schemas: dict[str, Any]) -> None:
    """Add to the schemas what pydantic omits: descriptions of inherited members and marks of deprecated ones.

    Args:
        schemas: The components of the OpenAPI description; changed in place.
    """
    for kind, names in DEPRECATED.items():
        for name in names:
            schemas[kind.__name__]["properties"][name]["deprecated"] = True
    for kind, base in ((SearchHit, Hit), (SearchAnswer, SearchResult), (DuplicateSet, DuplicateGroup)):
        described = type_adapter(base).json_schema(mode="serialization")["properties"]
        for name, schema in schemas[kind.__name__]["properties"].items():
            if "description" not in schema and "description" in described.get(name, {}):
                schema["description"] = described[name]["description"]
    for schema in schemas.values():  # docstrings say None where JSON has null
        for member in schema.get("properties", {}).values():
            if "description" in member:
                member["description"] = member["description"].replace("``None``", "``null``")


def image_answers(
    collection: str, records: Sequence[ImageRecord], of: Collection | None = None, *, places: bool
) -> tuple[Image, ...]:
    """Images of a collection as responses, those without their file marked; ``places`` as for ``image_answer``.

    With their collection, they state how many versions of the picture there are.
    """
    gone = gone_uris(record.uri for record in records)
    stacks = {stack for record in records if (stack := record.file_metadata.stack)}
    versions = of.versions(sorted(stacks)) if of else {}
    return tuple(
        replace(
            image_answer(collection, record, missing=record.uri in gone, places=places),
            versions=versions.get(record.file_metadata.stack, 1),
        )
        for record in records
    )


def image_answer(
    collection: str,
    record: ImageRecord,
    methods: Iterable[str] = (),
    *,
    missing: bool = False,
    places: bool = False,
) -> Image:
    """An image of a collection as a response.

    Args:
        collection: Name of the collection.
        record: Record of the image.
        methods: Names of the methods whose features the image has; empty in lists.
        missing: Whether its file no longer exists.
        places: Whether to show where it was taken: the setting of the server.
    """
    base = f"/v1/collections/{collection}"
    return Image(
        id=record.id,
        sha256=record.sha256,
        size_bytes=record.size_bytes,
        width=record.width,
        height=record.height,
        format=record.format,
        metadata=dict(record.metadata),
        added_at=iso(record.added_at),
        thumbnail=image_path(base, "thumbnail", record.id),
        content=image_path(base, "content", record.id) if record.uri.startswith("file:") else None,
        preview=image_path(base, "preview", record.id),
        uri=public_uri(record.uri),
        methods=tuple(sorted(methods)),
        missing=missing,
        file_metadata=record.file_metadata.shown(places=places),
        stack=record.file_metadata.stack,
    )


def collection_answer(name: str, collection: Collection) -> CollectionInfo:
    """A collection as a response."""
    info = collection.info()
    methods = tuple(
        CollectionMethod(method, stored.images, stored.bytes, stored.fingerprint.digest)
        for method, stored in info.methods.items()
    )
    return CollectionInfo(name, info.images, info.failures, info.bytes_on_disk, methods)


def failed_image(failure: Failure) -> FailedImage:
    """An image that could not be added, with the server's folders removed from the message."""
    paths = filter(None, map(local_path, (failure.uri, failure.source)))
    message = redacted(failure.message, (name_to_text(os.path.dirname(path)) for path in paths))  # noqa: PTH120 - any bytes
    return FailedImage(
        failure.id, public_uri(failure.uri), failure.code, message, failure.attempts, iso(failure.at)
    )

"""Completed searches as bytes, for servers that share them."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from imagefinder.core.features import GlobalFeatures
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import SearchResult
from imagefinder.core.serialization import type_adapter
from imagefinder.search.encoding import NO_PIXELS, QueryImage
from imagefinder.search.trace import HitTrace, Matches, Trace
from imagefinder.server.search_cache import CachedSearch

FORMAT = 2

UNREADABLE = (ValueError, TypeError, KeyError, IndexError, RecursionError)
"""What ``from_bytes`` raises for damaged data, and those of another version."""

_Arrays: TypeAlias = dict[str, NDArray[Any]]
_IMAGE = ("size", "whole", "id", "sha256", "version", "boxes", "corner")


def to_bytes(search: CachedSearch) -> bytes:
    """The search as bytes: an ``.npz`` archive of its arrays and a JSON document."""
    trace, arrays = search.trace, _Arrays()
    query, image = trace.query, trace.image
    if isinstance(query.image, bytes):
        arrays["query"] = np.frombuffer(query.image, dtype=np.uint8)
    arrays["thumbnail"] = np.frombuffer(image.thumbnail, dtype=np.uint8)
    hits = []
    for number, (image_id, hit) in enumerate(trace.hits.items()):
        if hit.matches:
            arrays[f"query{number}"], arrays[f"hit{number}"] = hit.matches.query, hit.matches.hit
        hits.append([image_id, hit.version, hit.size, _cells(hit.matches), dict(hit.numbers), hit.pooled])
    for number, features in enumerate(trace.vectors.values()):
        arrays[f"vectors{number}"] = features.vectors
    document = {
        "format": FORMAT,
        "collection": search.collection,
        "sha256": search.sha256,
        "size": search.size,
        "records": [_plain(record) for record in (search.records or {}).values()],
        "query": [query.id, query.boxes, query.text],
        "options": _plain(trace.options),
        "result": _plain(trace.result),
        "image": {name: getattr(image, name) for name in _IMAGE},
        "hits": hits,
        "local_only": trace.local_only,
        "vectors": list(trace.vectors),
    }
    arrays["document"] = np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)
    data: bytes = safetensors.numpy.save(arrays)
    return data


def from_bytes(data: bytes) -> CachedSearch:
    """The search that ``to_bytes`` returned.

    Raises:
        ValueError, TypeError, KeyError, IndexError, RecursionError: the data are damaged, or of another version.
    """
    try:
        arrays = safetensors.numpy.load(data)
    except SafetensorError as error:
        raise ValueError(f"damaged: {error}") from error
    document = json.loads(arrays["document"].tobytes())
    if document["format"] != FORMAT:
        raise ValueError(f"it has format {document['format']!r}; this version reads format {FORMAT}")
    query_id, boxes, text = document["query"]
    image = QueryImage(
        NO_PIXELS,
        **{name: _tuples(document["image"][name]) for name in _IMAGE},
        thumbnail=arrays["thumbnail"].tobytes(),
    )
    trace = Trace(
        query=Query(arrays["query"].tobytes() if "query" in arrays else None, query_id, _tuples(boxes), text),
        options=_read(SearchOptions, document["options"]),
        result=_read(SearchResult, document["result"]),
        image=image,
        hits=dict(_hit(arrays, number, *hit) for number, hit in enumerate(document["hits"])),
        local_only=document["local_only"],
        vectors={
            name: GlobalFeatures(arrays[f"vectors{number}"]) for number, name in enumerate(document["vectors"])
        },
    )
    records = [_read(ImageRecord, record) for record in document["records"]]
    return CachedSearch(
        document["collection"],
        trace,
        document["sha256"],
        _tuples(document["size"]),
        {record.id: record for record in records},
    )


def _hit(arrays: _Arrays, number: int, image_id: str, *values: Any) -> tuple[str, HitTrace]:
    version, size, cells, numbers, pooled = values
    matches = None
    if cells is not None:
        inliers, query_cell, hit_cell = cells
        matches = Matches(
            arrays[f"query{number}"], arrays[f"hit{number}"], inliers, tuple(query_cell), tuple(hit_cell)
        )
    return image_id, HitTrace(version, tuple(size), matches, numbers, pooled)


def _cells(matches: Matches | None) -> Any:
    return matches and [matches.inliers, matches.query_cell, matches.hit_cell]


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    return type_adapter(kind).dump_python(value)  # keeps infinite numbers, unlike JSON data of the API


def _read(kind: Any, data: Any) -> Any:
    adapter: Any = type_adapter(kind)
    return adapter.validate_python(data)


def _tuples(value: Any) -> Any:
    """A value of JSON with tuples for lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value

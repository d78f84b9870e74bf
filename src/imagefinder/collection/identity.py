"""Decides whether a query and a stored image that looks the same are identical.

A search compares thumbnails and hashes, which are equal for images that differ only in other frames, in
transparency or below 8 bits. So the word ``identical`` is used only after both files were examined in full depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imagefinder.core.contracts import Store
from imagefinder.core.errors import ImageError, UnknownImageError
from imagefinder.core.features import FullDepth
from imagefinder.core.query import Query
from imagefinder.core.results import LOOKS_THE_SAME, Comparison, Hit
from imagefinder.core.settings import Settings
from imagefinder.dedup.identical import difference
from imagefinder.dedup.originals import Originals, locate
from imagefinder.images.decoding.full_depth import examine_pixels
from imagefinder.runtime import Runtime
from imagefinder.search.trace import Trace

_FILES = 8
"""Maximum number of stored files examined for one search."""


class IdentityCheck:
    """Compares queries with stored images in full depth."""

    def __init__(self, store: Store, runtime: Runtime, settings: Settings) -> None:
        self._store = store
        self._runtime = runtime
        self._settings = settings

    def of_trace(self, trace: Trace) -> Trace:
        """A trace in which the hits called ``identical`` are identical to the query."""
        doubtful = [hit.id for hit in trace.result.hits if hit.relation == "identical"]
        differences = self._differences(trace.query, trace.image.sha256, doubtful) if doubtful else {}
        if not differences:
            return trace
        hits = tuple(_corrected(hit, differences) for hit in trace.result.hits)
        return replace(trace, result=replace(trace.result, hits=hits))

    def of_comparison(self, comparison: Comparison, a: Query, b: Query, *, same_bytes: bool) -> Comparison:
        """A comparison that calls two images ``identical`` only if they are."""
        if comparison.relation != "identical" or same_bytes:
            return comparison
        one, other = (self._depth(query, self._originals()) for query in (a, b))
        if one and other and one.digest == other.digest:
            return comparison
        return replace(comparison, relation="edited copy", note=difference(one, other))

    def _differences(self, query: Query, sha256: str, ids: Sequence[str]) -> dict[str, str]:
        """Id -> how the image differs from the query; images that are identical to it are left out."""
        originals, records = self._originals(), self._store.records(ids)
        differences: dict[str, str] = {}
        ours: FullDepth | None = None
        examined = 0
        for image_id in ids:
            record = records.get(image_id)
            if record is None:
                differences[image_id] = LOOKS_THE_SAME
                continue
            if sha256 and record.sha256 == sha256:
                continue
            original = locate(record)
            if original.reason or examined == _FILES:
                differences[image_id] = LOOKS_THE_SAME
                continue
            ours = ours if examined else self._depth(query, originals)
            examined += 1
            stored = originals.examine(record.sha256, original).depth if ours else None
            if ours is None or stored is None or ours.digest != stored.digest:
                differences[image_id] = difference(ours, stored)
        return differences

    def _depth(self, query: Query, originals: Originals) -> FullDepth | None:
        """The query in full depth; ``None`` if it cannot be decoded completely."""
        if isinstance(query.image, np.ndarray):
            return examine_pixels(query.image)
        if not isinstance(query.image, bytes):
            try:
                record = self._store.get(query.id or "")
            except UnknownImageError:
                return None
            return originals.examine(record.sha256, locate(record)).depth
        limits = {"max_bytes": self._settings.max_image_bytes, "max_pixels": self._settings.max_image_pixels}
        try:
            depth = self._runtime.decoder.examine(query.image, **limits)
        except ImageError:
            return None
        return depth if depth.digest else None

    def _originals(self) -> Originals:
        return Originals(self._runtime.decoder, self._settings)


def _corrected(hit: Hit, differences: dict[str, str]) -> Hit:
    if hit.id not in differences:
        return hit
    return replace(hit, relation="edited copy", note=differences[hit.id])

"""Collections with the images of another one, whose features are not extracted again."""

from __future__ import annotations

from imagefinder import Collection
from imagefinder.core.records import Entry


def fill(collection: Collection, source: Collection, count: int | None = None) -> Collection:
    """Put images of one collection into another: records, features and thumbnails, but no null model.

    Args:
        collection: Where to put them.
        source: Where they come from.
        count: How many, in order of id; default: all (at most 1,000).
    """
    methods = source.store.info().methods
    for method in methods.values():
        collection.store.register(method.fingerprint, method.spec)
    for record in source.store.images(limit=1000)[:count]:
        features = {name: source.store.features(record.id, name) for name in methods}
        collection.store.put([Entry(record, features, source.store.thumbnail(record.id))])
    return collection

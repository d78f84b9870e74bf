"""Digests of images, and puts that keep the times and counts of another store: what a copy is made with."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.features import GlobalFeatures
from imagefinder.core.records import Entry, Failure, Removal
from imagefinder.testing.stores.fixtures import StoreFixtures
from imagefinder.testing.stores.samples import ODD_IDS, MakeStore, entry, features, register


def expected_digest(given: Entry) -> str:
    """The digest of an image, written out: checksums of the plain little-endian bytes, then BLAKE2b of JSON."""
    image, checksums = given.image, {}
    for method, batch in given.features.items():
        arrays: list[NDArray[Any]] = (
            [batch.vectors] if isinstance(batch, GlobalFeatures) else [batch.descriptors, batch.keypoints]
        )
        data = b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays)
        checksums[method] = zlib.crc32(f"{method}\0{image.id}".encode() + data)
    thumbnail = zlib.crc32(image.id.encode() + given.thumbnail) if given.thumbnail else None
    record = (image.id, image.uri, image.sha256, image.size_bytes, image.width, image.height, image.format)
    content = [*record, image.source, image.stamp, image.metadata, image.added_at, thumbnail, checksums]
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


class TransferSuite(StoreFixtures):
    """Tests of ``digests``, ``record_removals``, and ``put`` and ``record_failures`` of copied data."""

    def test_digests_are_those_of_all_stores(self, store: Store) -> None:
        """They are computed from the content alone, in a defined way."""
        metadata = {"b": [1, 2.5, None], "a": {"ä": "日本", "d": True}, "big": 2**53 + 1}
        given = [
            entry("a", 1, metadata=metadata, source="file:///s", added_at=1.25),
            replace(entry("no thumbnail", 2, added_at=1e9 + 1 / 3), thumbnail=b""),
            entry("one method", 3, methods=["vector"], added_at=3.0),
            replace(entry("empty", 4, methods=[], added_at=4.0), features={"points": features("points", 1, 0)}),
            entry("nothing", 5, methods=[], added_at=5.0),
            *(entry(image_id, seed, added_at=float(seed)) for seed, image_id in enumerate(ODD_IDS, 6)),
        ]
        store.put(given, copied=True)
        ids = [one.image.id for one in given]
        expected = {one.image.id: expected_digest(one) for one in given}
        assert store.digests([*ids, ids[0], "unknown", "\ud800", ""]) == expected
        assert store.digests([]) == {}

    def test_every_change_changes_the_digest(self, store: Store) -> None:
        """Record, thumbnail, and features of any method count; the same content has the same digest again."""
        first = entry("a", 1, metadata={"x": 1}, added_at=1.0)
        others = [
            replace(first, image=replace(first.image, uri="other")),
            replace(first, image=replace(first.image, metadata={"x": "1"})),
            replace(first, image=replace(first.image, added_at=2.0)),
            replace(first, image=replace(first.image, stamp="1000:2")),
            replace(first, thumbnail=b"\xff\xd8 other"),
            replace(first, features={**first.features, "tokens": features("tokens", 2)}),
            replace(first, features={"points": first.features["points"]}),
        ]
        found = set()
        for one in [first, *others]:
            store.put([one], copied=True)
            found.add(store.digests(["a"])["a"])
        assert len(found) == 1 + len(others)
        store.put_features("a", dict(first.features))
        store.touch("a", uri=first.image.uri, stamp=first.image.stamp)
        assert store.digests(["a"]) == {"a": expected_digest(first)}
        store.delete(["a"])
        assert store.digests(["a"]) == {}

    def test_many_digests(self, store: Store) -> None:
        """More ids than fit in one statement of a database."""
        many = [entry(f"{number}", number % 7, methods=["vector"], added_at=1.0) for number in range(1200)]
        store.put(many, copied=True)
        assert store.digests([one.image.id for one in many]) == {
            one.image.id: expected_digest(one) for one in many
        }

    def test_copied_images_keep_their_times(self, store: Store, make_store: MakeStore, tmp_path: Path) -> None:
        """Only ``copied`` keeps ``added_at``; a copy into another store of this kind is equal."""
        store.put([entry("a", 1, added_at=5.5), entry("b", 2)], copied=True)
        assert store.get("a").added_at == 5.5
        target = make_store(tmp_path / "target")
        register(target)
        target.put([store.entry("a"), store.entry("b")], copied=True)
        assert target.digests(["a", "b"]) == store.digests(["a", "b"])
        assert target.get("a") == store.get("a")
        target.put([store.entry("a")])
        assert target.get("a").added_at > 1e9
        target.close()

    def test_copied_failures_keep_their_attempts_and_times(self, store: Store) -> None:
        """They replace a failure of the same id, and are counted as usual afterwards."""
        given: Sequence[Failure] = [
            Failure("a", "uri", "bad", "message", attempts=7, at=12.25, source="s"),
            Failure("b", "", "worse", "m", attempts=1, at=3.5),
        ]
        store.record_failures([Failure("a", "", "other", "m")])
        store.record_failures(given, copied=True)
        assert store.failures() == given
        store.record_failures([given[0]])
        assert [(one.id, one.attempts) for one in store.failures()] == [("a", 8), ("b", 1)]
        store.record_failures([], copied=True)

    def test_copied_removals_keep_their_times(self, store: Store) -> None:
        """They need no image, replace one of the same id and URI, and are cleared by a put as usual."""
        given = [
            Removal("a", "file:///1", "1" * 64, "s", 12.25),
            Removal("a", "file:///2", "2" * 64, "", 1e9 + 1 / 3),
            Removal("ä\0", "file:///3", "3" * 64, "s", 3.0),
        ]
        store.record_removals([replace(given[0], sha256="0" * 64, at=1.0)])
        store.record_removals(given)
        assert store.removals() == given
        assert store.removals(sha256="2" * 64) == [given[1]]
        store.put([entry("a", 1, uri="file:///1", source="s")])
        assert store.removals() == given[1:]
        store.record_removals([])

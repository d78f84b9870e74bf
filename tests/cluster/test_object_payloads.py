"""A store with its features and thumbnails in a bucket: places, damage and orphans."""

from __future__ import annotations

import secrets
from functools import partial
from types import SimpleNamespace

import obstore
import pytest

from imagefinder.core.errors import (
    CollectionCorruptError,
    SettingsError,
    StoreError,
    StoreUnavailableError,
)
from imagefinder.core.records import SweepReport
from imagefinder.stores.distributed import schema, writing
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.folder_objects import FolderObjects
from imagefinder.stores.distributed.object_cache import ObjectCache
from imagefinder.stores.distributed.object_payloads import InObjects, in_rows
from imagefinder.stores.distributed.objects import BucketAddress, BucketObjects
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.store import DistributedStore
from imagefinder.stores.distributed.sweep import Sweep
from imagefinder.testing.stores import METHODS, entry, register
from imagefinder.testing.stores.kept import ORIGINAL, PREVIEW, uploaded

POINTS = next(method for method, spec in METHODS.items() if spec.kind == "local")


@pytest.fixture(scope="module")
def database(postgres):
    database = Database(Address.of_database(postgres.url(postgres.new_database())), Options(connections=8))
    yield database
    database.close()


@pytest.fixture
def world(database, seaweed):
    """Opens stores of one new collection; ``bucket`` is a client that sees the objects from outside."""
    name, prefix = f"c{secrets.token_hex(6)}", secrets.token_hex(6)
    blobs = BucketObjects(BucketAddress.of(seaweed.url("images", prefix)))

    def open_store(payloads=None, name=name):
        made = payloads or partial(InObjects, blobs, in_row=0)
        return DistributedStore(database, name, create=True, cache_bytes=0, payloads=made)

    def names():
        return sorted(name for name in blobs.names() if not name.endswith("/collection"))

    def execute(statement, *values):
        return database.run(lambda connection: connection.execute(statement, list(values)))

    def sweep(store, **options):
        lease = store.lease("sweep", 60)
        try:
            work = Sweep(database, store._collection, store._payloads, lease, young=0)
            return work.run(**{"seconds": 0, "delete": True} | options)
        finally:
            lease.release()

    return SimpleNamespace(
        open=open_store, name=name, blobs=blobs, names=names, execute=execute, sweep=sweep, database=database,
        seaweed=seaweed, prefix=prefix,
    )  # fmt: skip


def filled(world, *names):
    store = world.open()
    register(store)
    store.put([entry(name, number) for number, name in enumerate(names)])
    return store


def object_of(world, store, image_id, table="features"):
    """The full name of the object with the features (of the local method) or the thumbnail of an image."""
    column = "images.object" if table == "images" else "features.object"
    rows = world.database.read(
        lambda connection: connection.execute(
            f"SELECT {column} FROM images LEFT JOIN features ON features.collection = images.collection"
            " AND image = images.key LEFT JOIN methods ON methods.key = features.method"
            " WHERE images.collection = %s AND images.id = %b AND methods.name = %b",
            [store._collection, image_id.encode(), POINTS.encode()],
        ).fetchall()
    )
    return f"{store._payloads.folder()}/{rows[0][0]}"


def overwrite(world, name, data):
    """Replace an object from outside, which imagefinder never does."""
    obstore.put(world.seaweed.client("images"), f"{world.prefix}/{name}", data)


# places


def test_features_and_thumbnails_are_objects_and_rows_have_none_of_their_bytes(world):
    store = filled(world, "a", "b")
    rows = world.execute(
        "SELECT count(*) FROM features WHERE collection = %s AND (object IS NULL OR data IS NOT NULL)",
        store._collection,
    ).fetchone()
    assert rows == (0,)
    assert len(world.names()) == 2 * (len(METHODS) + 1)
    folder = store._payloads.folder()
    assert all(name.startswith(f"{folder}/") for name in world.names())


def test_small_payloads_stay_in_rows(world):
    store = world.open(partial(InObjects, world.blobs))
    register(store)
    store.put([entry("a")])
    assert world.names() == []
    assert store.entry("a").thumbnail


def test_a_collection_without_objects_may_get_some(world):
    store = world.open(in_rows)
    register(store)
    store.put([entry("row", 1)])
    store = world.open()
    store.put([entry("object", 2)])
    block = store.select(POINTS, ["row", "object"])
    assert block.ids == ("row", "object")
    assert world.open().check() == []


def test_another_place_is_refused_by_name(world, tmp_path):
    store = filled(world, "a")
    place = world.blobs.location
    other = world.open(partial(InObjects, FolderObjects(tmp_path), in_row=0))
    with pytest.raises(SettingsError) as caught:
        other.select(POINTS, ["a"])
    assert place in caught.value.message
    assert tmp_path.as_uri() in caught.value.message
    with pytest.raises(SettingsError, match="does not have them"):
        other.put([entry("b")])
    assert list(tmp_path.rglob("*")) == []
    with pytest.raises(SettingsError, match=f"in the object store {place}, which is not configured"):
        world.open(in_rows)
    assert store.select(POINTS, ["a"]).ids == ("a",)


def test_the_same_bucket_on_another_server_is_refused(world):
    store = filled(world, "a")
    world.blobs.delete([f"{store._payloads.folder()}/collection"])
    with pytest.raises(SettingsError, match="does not have the objects of this collection") as caught:
        world.open().select(POINTS, ["a"])
    assert "endpoint" in caught.value.hint


def test_objects_that_were_moved_are_found_in_their_new_place(world, tmp_path):
    filled(world, "a")
    moved = FolderObjects(tmp_path)
    moved.put_new(world.blobs.get_many(list(world.blobs.names())))
    assert world.open(partial(InObjects, moved, in_row=0)).select(POINTS, ["a"]).ids == ("a",)
    # The new place is recorded.
    with pytest.raises(SettingsError, match=tmp_path.as_uri()):
        world.open(in_rows)


def test_collections_share_a_bucket(world):
    one, other = filled(world, "a"), world.open(name=f"{world.name}x")
    register(other)
    other.put([entry("a", 7)])
    assert one._payloads.folder() != other._payloads.folder()
    assert one.check() == other.check() == []
    assert world.sweep(one) == SweepReport(len(METHODS) + 1, 0, 0, 0)


# damage


@pytest.mark.parametrize("how", ["missing", "damaged", "swapped", "truncated"])
def test_bad_features_are_named_and_extracted_again_after_a_repair(world, how):
    store = filled(world, "a", "b", "c")
    name = object_of(world, store, "b")
    data = world.blobs.get_many([name])[name]
    if how == "missing":
        world.blobs.delete([name])
    elif how == "damaged":
        overwrite(world, name, data[:-1] + bytes([data[-1] ^ 1]))
    elif how == "truncated":
        overwrite(world, name, data[: len(data) // 2])
    else:
        overwrite(world, name, world.blobs.get_many([object_of(world, store, "a")]).popitem()[1])
    with pytest.raises(CollectionCorruptError, match=f"{POINTS} features of image 'b'"):
        store.select(POINTS, ["a", "b", "c"])
    assert store.select(POINTS, ["a", "c"]).ids == ("a", "c")
    (damage,) = store.check()
    assert (damage.kind, damage.image_id, damage.method, damage.repaired) == ("features", "b", POINTS, "")
    (damage,) = store.check(repair=True)
    assert "add" in damage.repaired
    assert store.check() == []
    assert POINTS not in store.status(["b"])["b"].methods, "the next add extracts the features again"
    assert store.select(POINTS, ["a", "b", "c"]).ids == ("a", "c")
    store.put_features("b", {POINTS: entry("b", 1).features[POINTS]})
    assert store.select(POINTS, ["a", "b", "c"]).ids == ("a", "b", "c")


@pytest.mark.parametrize("how", ["missing", "swapped"])
def test_bad_thumbnails_are_named_and_dropped(world, how):
    store = filled(world, "a", "b")
    name = object_of(world, store, "b", "images")
    if how == "missing":
        world.blobs.delete([name])
    else:
        overwrite(world, name, world.blobs.get_many([object_of(world, store, "a", "images")]).popitem()[1])
    with pytest.raises(CollectionCorruptError, match="thumbnail of image 'b'"):
        store.thumbnails(["a", "b"])
    (damage,) = store.check(repair=True)
    assert (damage.kind, damage.image_id) == ("thumbnail", "b")
    assert store.thumbnails(["a", "b"])["b"] == b""
    assert store.check() == []


def test_a_name_in_a_damaged_row_reaches_no_other_object(world):
    store = filled(world, "a")
    for name in ("../../secret", "x", "", "ab/" + "/" * 32, "ab/" + "ü" * 32):
        world.execute("UPDATE features SET object = %s WHERE collection = %s", name, store._collection)
        with pytest.raises(CollectionCorruptError):
            store.select(POINTS, ["a"])


# orphans


def test_nothing_is_swept_while_all_objects_are_in_use(world):
    store = filled(world, "a", "b")
    before = world.names()
    assert world.sweep(store) == SweepReport(len(before), 0, 0, 0)
    assert world.names() == before


def test_objects_of_removed_and_replaced_images_are_swept(world):
    store = filled(world, "a", "b", "c")
    of_one = len(METHODS) + 1
    store.delete(["a"])
    store.put([entry("b", 9)])
    store.put_features("c", {POINTS: entry("c", 8).features[POINTS]})
    unused = 2 * of_one + 1
    assert len(world.names()) == 4 * of_one + 1
    report = world.sweep(store, delete=False)
    assert report == SweepReport(4 * of_one + 1, unused, 0, unused)
    assert len(world.names()) == 4 * of_one + 1
    report = world.sweep(store)
    assert report == SweepReport(4 * of_one + 1, 0, unused, 0)
    assert len(world.names()) == 2 * of_one
    assert store.check() == []
    assert store.select(POINTS, ["a", "b", "c"]).ids == ("b", "c")


def test_an_orphan_is_kept_for_a_day_after_it_was_found(world):
    store = filled(world, "a")
    store.delete(["a"])
    day = 86400
    report = world.sweep(store, seconds=day)
    assert (report.marked, report.deleted) == (len(METHODS) + 1, 0)
    world.execute("UPDATE orphans SET seen = seen - interval '23 hours' WHERE collection = %s", store._collection)
    assert world.sweep(store, seconds=day).deleted == 0
    world.execute("UPDATE orphans SET seen = seen - interval '2 hours' WHERE collection = %s", store._collection)
    assert world.sweep(store, seconds=day).deleted == len(METHODS) + 1
    assert world.names() == []


def test_young_objects_are_not_orphans(world):
    """Those of a writer that has not written its rows yet."""
    store = filled(world, "a")
    store._payloads.store(POINTS, [b"x"])
    assert store.sweep(seconds=86400) == SweepReport(0, 0, 0, 0)
    assert world.sweep(store).deleted == 1


def test_previews_and_originals_are_objects_that_a_sweep_keeps(world):
    store = filled(world)
    store.put([uploaded("a", 1, preview=PREVIEW, original=ORIGINAL)])
    kept = len(METHODS) + 1 + 2
    assert world.sweep(store) == SweepReport(kept, 0, 0, 0)
    assert store.kept(["a"], "original") == {"a": ORIGINAL}
    (row,) = world.database.read(
        lambda connection: connection.execute(
            "SELECT object FROM kept WHERE collection = %s AND kind = 'original'", [store._collection]
        ).fetchall()
    )
    world.blobs.delete([f"{store._payloads.folder()}/{row[0]}"])
    assert [damage.kind for damage in store.check()] == ["kept"]
    store.check(repair=True)
    assert store.check() == []
    assert store.kept_sizes(["a"]) == {"a": {"preview": len(PREVIEW)}}
    store.delete(["a"])
    assert world.sweep(store).deleted == kept - 1
    assert world.names() == []


def test_the_public_sweep_keeps_what_writers_may_still_use(world):
    store = filled(world, "a")
    with pytest.raises(ValueError, match="3600"):
        store.sweep(seconds=10)


def test_a_writer_that_was_suspended_for_days_stores_its_objects_again(world):
    store = filled(world)
    batch = writing.prepare([entry("late")], [], store._payloads, copied=False)
    vectors = store._vectors.prepare([])
    assert world.sweep(store, delete=False).marked == len(METHODS) + 1

    def put():
        world.database.write(lambda connection: store._put(connection, batch, vectors), pipelined=True)

    with pytest.raises(StoreUnavailableError, match="stored too long ago") as caught:
        put()
    assert caught.value.retryable
    world.sweep(store)
    assert world.names() == []
    with pytest.raises(StoreUnavailableError, match="stored too long ago"):
        put()  # the mark outlives the object
    assert store.info().images == 0
    store.put([entry("late")])
    assert store.check() == []


def test_features_and_thumbnail_features_of_a_late_writer_are_refused(world):
    store = filled(world, "a")
    stored = store._payloads.store

    def slow(kind, parts):
        found = stored(kind, parts)
        world.sweep(store, delete=False)
        return found

    store._payloads.store = slow
    with pytest.raises(StoreUnavailableError, match="stored too long ago"):
        store.put_features("a", {POINTS: entry("a", 5).features[POINTS]})
    store._payloads.store = stored
    assert store.check() == []


def test_an_object_that_got_its_row_late_is_unmarked(world):
    store = filled(world, "a")
    name = object_of(world, store, "a").partition("/")[2]
    world.execute("INSERT INTO orphans (collection, object) VALUES (%s, %s)", store._collection, name)
    assert world.sweep(store).deleted == 0
    assert store.check() == []
    rows = world.execute("SELECT count(*) FROM orphans WHERE collection = %s", store._collection).fetchone()
    assert rows == (0,)


def test_one_process_sweeps(world):
    store = filled(world, "a")
    lease = store.lease("sweep", 60)
    assert world.open().sweep() is None
    lease.release()
    assert world.open().sweep() is not None


def test_a_sweep_that_lost_its_lease_ends_before_it_deletes(world):
    store = filled(world, "a")
    store.delete(["a"])
    lease = store.lease("sweep", 60)
    lease.release()
    with pytest.raises(StoreUnavailableError, match="another process"):
        Sweep(world.database, store._collection, store._payloads, lease, young=0).run(seconds=0, delete=True)
    assert len(world.names()) == len(METHODS) + 1


def test_a_collection_in_rows_has_nothing_to_sweep(world):
    with pytest.raises(StoreError, match="in rows"):
        world.open(in_rows).sweep()


def test_the_objects_of_a_dropped_collection_are_swept_by_another(world):
    dropped = filled(world, "a")
    folder = dropped._payloads.folder()
    other = world.open(name=f"{world.name}x")
    register(other)
    other.put([entry("b")])
    assert schema.drop_collection(world.database, world.name)
    assert world.sweep(other, seconds=86400).deleted == 0
    assert list(world.blobs.names(folder))
    assert world.sweep(other).deleted == len(METHODS) + 2  # the mark as well
    assert list(world.blobs.names(folder)) == []
    assert other.check() == []


# the cache


def test_popular_objects_are_read_from_the_cache_and_a_check_reads_the_objects(world, tmp_path):
    filled(world, "a", "b")
    cache = ObjectCache(tmp_path, 1 << 20)
    store = world.open(partial(InObjects, world.blobs, in_row=0, cache=cache))
    first = store.select(POINTS, ["a", "b"])
    store.select(POINTS, ["a", "b"])
    names = [object_of(world, store, image_id) for image_id in ("a", "b")]
    assert all((tmp_path / name).is_file() for name in names)
    world.blobs.delete([names[0]])
    again = store.select(POINTS, ["a", "b"])
    assert (again.features.descriptors == first.features.descriptors).all()
    (damage,) = store.check()
    assert damage.image_id == "a"
    # A damaged file of the cache is read from the object store.
    (tmp_path / names[1]).write_bytes(b"damaged")
    assert store.select(POINTS, ["b"]).ids == ("b",)

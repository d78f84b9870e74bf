"""What a collection with objects does when its object store fails, against real servers."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from imagefinder.core.errors import ObjectsUnavailableError
from imagefinder.core.features import LocalFeatures
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.object_payloads import InObjects
from imagefinder.stores.distributed.objects import BucketAddress, BucketObjects
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.store import DistributedStore
from imagefinder.stores.distributed.sweep import Sweep
from imagefinder.testing.stores import METHODS, entry, register

from . import object_server
from .object_server import SeaweedServer

POINTS = next(method for method, spec in METHODS.items() if spec.kind == "local")
WRITER = """
import sys, time
from functools import partial
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.object_payloads import InObjects
from imagefinder.stores.distributed.objects import BucketAddress, BucketObjects
from imagefinder.stores.distributed.pool import Database
from imagefinder.stores.distributed.store import DistributedStore
from imagefinder.testing.stores import entry, register

class Slow(InObjects):
    # Between the objects and the row of an image.
    def store(self, kind, parts):
        stored = super().store(kind, parts)
        if kind == "thumbnails" and parts and number == 1:
            print("stored", flush=True)
            time.sleep(60)
        return stored

url, objects, name = sys.argv[1:]
payloads = partial(Slow, BucketObjects(BucketAddress.of(objects)), in_row=0)
store = DistributedStore(Database(Address.of_database(url)), name, create=True, cache_bytes=0, payloads=payloads)
register(store)
number = 0
store.put([entry("acknowledged")])
print("acknowledged", flush=True)
number = 1
store.put([entry("lost", 1)])
"""


@pytest.fixture(scope="module")
def url(postgres):
    return postgres.url(postgres.new_database())


@pytest.fixture
def open_store(url):
    """Opens the collection of a test with its objects at a location."""
    databases = []
    name = f"c{secrets.token_hex(6)}"

    def start(location):
        database = Database(Address.of_database(url), Options(connections=8))
        databases.append(database)
        payloads = partial(InObjects, BucketObjects(BucketAddress.of(location)), in_row=0)
        store = DistributedStore(database, name, create=True, cache_bytes=0, payloads=payloads)
        register(store)
        return store

    start.collection = name
    yield start
    for database in databases:
        database.close()


@pytest.fixture
def own_seaweed(monkeypatch):
    """Starts an S3 server that the test may suspend and kill."""
    if reason := object_server.missing():
        pytest.skip(reason)
    servers = []

    def start(**options):
        server = SeaweedServer(**options)
        servers.append(server)
        server.start()
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        return server

    yield start
    for server in servers:
        server.remove()


def sweep(store):
    lease = store.lease("sweep", 60)
    try:
        work = Sweep(store._database, store._collection, store._payloads, lease, young=0)
        return work.run(seconds=0, delete=True)
    finally:
        lease.release()


@pytest.mark.faults
def test_a_hung_object_store_is_an_error_in_time_and_nothing_is_half_stored(open_store, own_seaweed):
    server = own_seaweed()
    store = open_store(server.url("images", timeout=3))
    store.put([entry("a")])
    server.suspend()
    try:
        for call in (
            lambda: store.put([entry("b", 1)]),
            lambda: store.select(POINTS, ["a"]),
            lambda: store.thumbnails(["a"]),
            lambda: store.put_features("a", {POINTS: entry("a", 3).features[POINTS]}),
        ):
            started = time.monotonic()
            with pytest.raises(ObjectsUnavailableError, match="no answer in time") as caught:
                call()
            assert time.monotonic() - started < 6
            assert caught.value.code == "objects_unavailable"
        # Records and listings need no objects.
        assert [image.id for image in store.images()] == ["a"]
        assert store.info().images == 1
    finally:
        server.resume()
    deadline = time.monotonic() + 30
    while True:
        try:
            store.put([entry("b", 1)])
            break
        except ObjectsUnavailableError:
            assert time.monotonic() < deadline
    assert store.select(POINTS, ["a", "b"]).ids == ("a", "b")
    assert store.check() == []


@pytest.mark.faults
def test_a_check_never_drops_rows_because_the_object_store_is_away(open_store, own_seaweed):
    server = own_seaweed()
    store = open_store(server.url("images", timeout=2))
    store.put([entry("a")])
    server.kill()
    with pytest.raises(ObjectsUnavailableError):
        store.check(repair=True)
    server.start()
    assert store.check(repair=True) == []
    assert store.select(POINTS, ["a"]).ids == ("a",)


@pytest.mark.faults
def test_reads_and_writes_go_on_with_one_of_two_copies(open_store, own_seaweed):
    server = own_seaweed(volume_servers=3, copies=2)
    store = open_store(server.url("images"))
    for number in range(40):
        store.put([entry(str(number), number)])
    server.kill_volume_server(1)
    names = [str(number) for number in range(40)]
    for _ in range(3):
        assert len(store.select(POINTS, names).ids) == 40, "all are there on the servers that are left"
    acknowledged, begin = [], time.monotonic()
    while len(acknowledged) < 20:
        name = f"later {len(acknowledged)}"
        with suppress(ObjectsUnavailableError):
            store.put([entry(name, len(acknowledged))])
            acknowledged.append(name)
        assert time.monotonic() - begin < 60, "writes never go on"
    assert sorted(store.select(POINTS, [*names, *acknowledged]).ids) == sorted([*names, *acknowledged])
    assert store.check() == []


def test_a_writer_killed_between_object_and_row_leaves_orphans_only(open_store, seaweed, url):
    location = seaweed.url("images", secrets.token_hex(6))
    environment = {**os.environ, **seaweed.environment}
    command = [sys.executable, "-c", WRITER, url, location, open_store.collection]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout.readline() == "acknowledged\n"
        assert writer.stdout.readline() == "stored\n"
        writer.kill()
    store = open_store(location)
    assert [image.id for image in store.images()] == ["acknowledged"]
    assert store.check() == []
    report = sweep(store)
    of_one = len(METHODS) + 1
    assert (report.objects, report.marked, report.deleted) == (2 * of_one, of_one, of_one)
    assert store.check() == []
    assert store.select(POINTS, ["acknowledged"]).ids == ("acknowledged",)


@pytest.mark.faults
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_an_error_and_nothing_acknowledged_is_lost(open_store, own_seaweed, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        server = own_seaweed(volume_servers=2, free_space="1", volume_folder=disk)
        store = open_store(server.url("images", timeout=3))
        acknowledged = []

        def fill():
            for number in range(200):
                store.put([big(f"{number:04}", number)])
                acknowledged.append(f"{number:04}")

        with pytest.raises(ObjectsUnavailableError, match="the server answers"):
            fill()
        assert acknowledged
        assert list(store.select(POINTS, acknowledged).ids) == acknowledged
        assert store.info().images == len(acknowledged)
        assert store.check() == []
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


@pytest.mark.faults
def test_the_certificate_of_the_server_is_checked(own_seaweed, tmp_path):
    authority, certificate = signed(tmp_path)
    server = own_seaweed(certificate=(certificate, certificate.with_suffix(".key")))
    location = server.url("images", endpoint=server.secure_endpoint, timeout=3)
    trusting = BucketObjects(BucketAddress.of(f"{location}&certificate={authority}"))
    trusting.put_new({"a": b"1"})
    assert trusting.get_many(["a"]) == {"a": b"1"}
    with pytest.raises(ObjectsUnavailableError, match="the server cannot be reached"):
        BucketObjects(BucketAddress.of(location)).get_many(["a"])


def signed(folder):
    """Files with a certificate authority, and with a certificate for localhost that it signed."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=tests")
    openssl(
        "req", "-x509", *key, "-keyout", "server.key", "-out", "server.crt", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
        "-CA", "ca.crt", "-CAkey", "ca.key",
    )  # fmt: skip
    return folder / "ca.crt", folder / "server.crt"


def big(name, seed):
    """An image with features of about 200 kB that cannot be compressed."""
    spec = METHODS[POINTS]
    random = np.random.default_rng(seed)
    rows = 200_000 // (spec.dim * np.dtype(spec.dtype).itemsize)
    values = random.integers(0, 256, (rows, spec.dim * np.dtype(spec.dtype).itemsize), np.uint8).view(spec.dtype)
    features = LocalFeatures(values, random.random((rows, 4), np.float32), np.array([0, rows]))
    return replace(entry(name, seed), features={POINTS: features})

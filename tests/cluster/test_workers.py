"""Workers that add images together: killed, stopped, and of different versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from command import run
from make_collection import picture
from service import Service
from workers import Worker

import imagefinder
from imagefinder.core.location import child
from imagefinder.core.settings import Settings
from imagefinder.indexing import portion

from .postgres_server import PostgresServer

IMAGES = 300
LEASE = 3.0


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.url(postgres.new_database())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of images, one of them damaged."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:03}.png").write_bytes(picture(number))
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    return folder


@pytest.fixture
def environment(images: Path, tmp_path: Path) -> dict[str, str]:
    return {
        "IMAGEFINDER_SIFT_MAX_KEYPOINTS": "60",
        "IMAGEFINDER_THREADS": "1",
        "IMAGEFINDER_CONCURRENT_JOBS": "1",
        "IMAGEFINDER_LEASE_SECONDS": str(LEASE),
        "IMAGEFINDER_JOB_ROOTS": str(images),
        "IMAGEFINDER_SCRATCH": str(tmp_path / "scratch"),
        "IMAGEFINDER_MODELS": str(tmp_path / "models"),
    }


@pytest.fixture
def add(url: str, images: Path, environment: dict[str, str]) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start ``imagefinder add --queue``, which ends when its job has ended."""
    started: list[subprocess.Popen[str]] = []

    def add() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "imagefinder", "-c", child(url, "shop"), "add", str(images), "--queue"]
        process = subprocess.Popen(
            [*command, "-m", "sift", "--json"],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield add
    for process in started:
        process.kill()
        process.communicate()


def count(url: str) -> int:
    with imagefinder.open(child(url, "shop"), settings=Settings()) as collection:
        return collection.info().images


def until(is_true: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.1)


def check_complete(url: str, images: Path, done: subprocess.Popen[str], seconds: float = 120) -> dict[str, Any]:
    """Wait for the job; each image is there once, and the damaged one is recorded."""
    output, errors = done.communicate(timeout=seconds)
    assert done.returncode == 1, errors  # one image failed
    (job,) = json.loads(output)["jobs"]
    assert job["state"] == "succeeded", job
    result = job["result"]
    assert (result["added"], result["unchanged"]) == (IMAGES, 0), result  # also what a killed worker had stored
    assert (result["failed"], result["methods"]) == (1, ["sift"]), result
    assert [failure["id"] for failure in job["failures"]] == ["damaged.png"]
    with imagefinder.open(child(url, "shop"), settings=Settings()) as collection:
        assert [record.id for record in collection.images(limit=1000)] == [f"{n:03}.png" for n in range(IMAGES)]
        info = collection.info()
        assert (info.images, info.methods["sift"].images, info.failures) == (IMAGES, IMAGES, 1)
        assert all(record.source == images.as_uri() for record in collection.images(limit=1000))
    return dict(result)


def test_a_killed_worker_loses_no_image(
    url: str, images: Path, environment: dict[str, str], add: Callable[[], subprocess.Popen[str]]
) -> None:
    with (
        Worker("--collections", url, environment=environment) as one,
        Worker("-c", child(url, "shop"), environment=environment) as two,
    ):
        adding = add()
        until(lambda: "shop" in names(url) and count(url) > 20)
        one.kill()
        check_complete(url, images, adding)
        assert two.stop() == 0
        assert "Traceback" not in two.log, two.log
        assert "Traceback" not in one.log, one.log
    with Worker("--collections", url, environment=environment) as three:
        again = run("-c", child(url, "shop"), "add", images, "--queue", environment=environment)
        assert again.returncode == 6, again.stderr  # the same failure as before
        assert f"0 added, 0 replaced, {IMAGES} unchanged, 0 removed, 1 failed" in again.stdout
        (images / "000.png").unlink()
        pruned = result_of(url, images, "--prune", environment=environment)
        assert (pruned["removed"], pruned["unchanged"]) == (1, IMAGES - 1)
        assert three.stop() == 0


@pytest.mark.faults
def test_a_stopped_worker_gives_its_portion_to_another_at_once(
    url: str, images: Path, environment: dict[str, str], add: Callable[[], subprocess.Popen[str]]
) -> None:
    environment = {**environment, "IMAGEFINDER_LEASE_SECONDS": "600"}
    with Worker("--collections", url, environment=environment) as one:
        adding = add()
        until(lambda: "shop" in names(url) and count(url) > 20)
        assert one.stop(20) == 0, one.log
        assert adding.poll() is None
    with Worker("--collections", url, environment=environment) as two:
        check_complete(url, images, adding)
        assert two.stop() == 0


@pytest.mark.faults
def test_a_worker_leaves_what_it_does_not_know_to_newer_ones(
    url: str, images: Path, environment: dict[str, str], add: Callable[[], subprocess.Popen[str]], postgres: Any
) -> None:
    """Portions of a future version wait; those of this version are added meanwhile."""
    adding = add()
    database = url.rpartition("/")[2]

    def stored(query: str) -> Any:
        return postgres.execute(query.replace("FROM ", "FROM imagefinder."), database)

    until(lambda: stored("SELECT to_regclass('imagefinder.job_uploads')") != [(None,)])
    until(lambda: bool(stored("SELECT id FROM jobs")))
    postgres.execute(f"UPDATE imagefinder.jobs SET version = {portion.VERSION + 1}", database)
    with Worker("--collections", url, environment=environment) as old:
        time.sleep(2)
        assert stored("SELECT state FROM jobs") == [("queued",)]
        postgres.execute("UPDATE imagefinder.jobs SET version = 1", database)
        until(lambda: count(url) > 0)
        postgres.execute(
            "UPDATE imagefinder.portions SET version = 99 WHERE number = (SELECT max(number) FROM"
            " imagefinder.portions) AND worker IS NULL",
            database,
        )
        until(lambda: stored("SELECT count(*) FROM portions") == [(1,)])
        time.sleep(1)
        assert stored("SELECT version, worker FROM portions") == [(99, None)]
        postgres.execute(f"UPDATE imagefinder.portions SET version = {portion.VERSION}", database)
        check_complete(url, images, adding)
        assert old.stop() == 0


@pytest.mark.faults
def test_work_goes_on_after_a_restart_of_the_database(
    own_postgres: PostgresServer, images: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Server, worker and the command that waits outlast a killed database; no image is lost or added twice."""
    url = own_postgres.url()
    own_settings = {name.removeprefix("IMAGEFINDER_").lower(): value for name, value in environment.items()}
    own_settings |= {"collections": url, "collection": child(url, "default"), "concurrent_jobs": "0"}
    command = [
        sys.executable,
        "-m",
        "imagefinder",
        "-c",
        child(url, "shop"),
        "add",
        str(images),
        "--queue",
        "--json",
    ]
    with (
        Service(tmp_path, **own_settings) as server,
        Worker("--collections", url, environment=environment) as worker,
        httpx2.Client(base_url=server.url, timeout=90) as client,
    ):
        adding = subprocess.Popen(
            [*command, "-m", "sift"],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until(lambda: "shop" in names(url) and count(url) > 20)
            own_postgres.kill()
            time.sleep(2)
            own_postgres.start()
            check_complete(url, images, adding)
        finally:
            adding.kill()
            adding.communicate()
        job = client.get("/v1/jobs").json()["jobs"][0]
        assert (job["collection"], job["state"]) == ("shop", "succeeded")
        assert client.get("/health/ready").status_code == 200
        assert worker.stop() == 0


@pytest.mark.faults
def test_a_job_is_cancelled_through_a_server(
    url: str, images: Path, environment: dict[str, str], add: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    settings = {name.removeprefix("IMAGEFINDER_").lower(): value for name, value in environment.items()}
    settings |= {"collections": url, "collection": child(url, "default"), "concurrent_jobs": "0"}
    with (
        Service(tmp_path, **settings) as server,
        Worker("--collections", url, environment=environment) as worker,
        httpx2.Client(base_url=server.url, timeout=60) as client,
    ):
        adding = add()
        until(lambda: "shop" in names(url) and count(url) > 20)
        (job,) = client.get("/v1/jobs").json()["jobs"]
        client.post(f"/v1/jobs/{job['id']}/cancel")
        output, errors = adding.communicate(timeout=60)
        assert adding.returncode == 130, errors
        (ended,) = json.loads(output)["jobs"]
        assert (ended["state"], ended["result"]["interrupted"]) == ("cancelled", True)
        added = count(url)
        assert 20 < added < IMAGES
        time.sleep(2)
        assert count(url) == added  # the worker has stopped
        assert worker.stop() == 0


def test_a_folder_that_workers_cannot_read_is_refused(
    url: str, tmp_path: Path, images: Path, environment: dict[str, str]
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "a.png").write_bytes(picture(1))
    refused = run("-c", child(url, "shop"), "add", private, "--queue", environment=environment)
    assert refused.returncode == 3
    assert "workers cannot read it" in refused.stderr
    assert str(images) in refused.stderr  # what job_roots allows
    local = run("-c", tmp_path / "folder", "add", images, "--queue", environment=environment)
    assert local.returncode == 2, local.stderr
    assert "is in a folder" in local.stderr


def names(url: str) -> list[str]:
    from imagefinder.server.catalogue.postgres import PostgresCatalogue
    from imagefinder.stores.distributed.address import Address
    from imagefinder.stores.distributed.pool import Database

    database = Database(Address.of_database(url))
    try:
        return PostgresCatalogue(database, url).names()
    finally:
        database.close()


def result_of(url: str, images: Path, *options: str, environment: dict[str, str]) -> dict[str, Any]:
    done = run("-c", child(url, "shop"), "add", images, "--queue", "--json", *options, environment=environment)
    (job,) = json.loads(done.stdout)["jobs"]
    return dict(job["result"])

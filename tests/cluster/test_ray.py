"""Portions as tasks of a Ray cluster with two nodes: added, killed, and refused with a reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import ray_nodes
from make_collection import picture
from PIL import Image
from ray_nodes import RayNode
from service import Service

import imagefinder
from imagefinder.core.location import child
from imagefinder.core.settings import Settings
from imagefinder.server.jobs.portioned import CRASHED

from .postgres_server import PostgresServer

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(ray_nodes.missing()), reason=ray_nodes.missing()),
]

IMAGES = 300

Add = Callable[..., "subprocess.Popen[str]"]

DEADLY = """
import os, signal
from dataclasses import replace
from imagefinder.wiring import sift

class Deadly:
    def __init__(self, extractor):
        self.extractor = extractor
    def __getattr__(self, name):
        return getattr(self.extractor, name)
    def fingerprint(self):
        return replace(self.extractor.fingerprint(), method="deadly")
    def extract(self, images):
        if any(image.shape[:2] == (77, 77) for image in images):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.extractor.extract(images)

def make(settings):
    method = sift(settings)
    return replace(method, name="deadly", extractor=Deadly(method.extractor))
"""


@pytest.fixture(scope="module")
def head() -> Iterator[RayNode]:
    with RayNode(environment={}) as node:
        yield node


@pytest.fixture
def second(head: RayNode) -> Iterator[RayNode]:
    with RayNode(head, environment={}) as node:
        yield node


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
def location(postgres: PostgresServer) -> str:
    """The location of a collection in a new database, without the password."""
    url = postgres.url(postgres.new_database())
    return child(url.replace(f":{postgres.password}@", "@"), "shop")


@pytest.fixture
def environment(head: RayNode, postgres: PostgresServer, images: Path, tmp_path: Path) -> dict[str, str]:
    password = tmp_path / "password"
    password.write_text(postgres.password)
    return {
        **head.environment,
        "IMAGEFINDER_DATABASE_PASSWORD_FILE": str(password),
        "IMAGEFINDER_SIFT_MAX_KEYPOINTS": "60",
        "IMAGEFINDER_THREADS": "1",
        "IMAGEFINDER_LEASE_SECONDS": "3",
        "IMAGEFINDER_JOB_ROOTS": str(images),
        "IMAGEFINDER_SCRATCH": str(tmp_path / "scratch"),
        "IMAGEFINDER_MODELS": str(tmp_path / "models"),
    }


@pytest.fixture
def add(location: str, images: Path, environment: dict[str, str]) -> Iterator[Add]:
    """Start ``imagefinder add --ray ADDRESS``."""
    started: list[subprocess.Popen[str]] = []

    def add(address: str, *options: str, program: str = "", **settings: str) -> subprocess.Popen[str]:
        run = (
            ["-c", f"{program}\nfrom imagefinder.__main__ import main\nmain()"]
            if program
            else ["-m", "imagefinder"]
        )
        methods = options or ("-m", "sift")
        arguments = ["-c", location, "add", str(images), "--ray", address, "--json", *methods]
        process = subprocess.Popen(
            [sys.executable, *run, *arguments],
            env={**os.environ, **environment, **settings},
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


def opened(location: str, environment: dict[str, str]) -> Any:
    password = Path(environment["IMAGEFINDER_DATABASE_PASSWORD_FILE"])
    return imagefinder.open(location, settings=Settings(database_password_file=str(password)))


def count(location: str, environment: dict[str, str]) -> int:
    try:
        with opened(location, environment) as collection:
            return int(collection.info().images)
    except imagefinder.StoreError:  # not there yet
        return 0


def until(is_true: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.05)


def check_complete(location: str, environment: dict[str, str], done: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the command; each image is there once, and the damaged one is recorded."""
    output, errors = done.communicate(timeout=180)
    assert done.returncode in (1, 6), errors  # one image failed; 6: as before
    (job,) = json.loads(output)["jobs"]
    assert job["state"] == "succeeded", job
    assert [failure["id"] for failure in job["failures"]] == ["damaged.png"]
    with opened(location, environment) as collection:
        assert [record.id for record in collection.images(limit=1000)] == [f"{n:03}.png" for n in range(IMAGES)]
        info = collection.info()
        assert (info.images, info.methods["sift"].images, info.failures) == (IMAGES, IMAGES, 1)
    return dict(job["result"])


def test_both_nodes_add_the_images_of_one_job(
    head: RayNode, second: RayNode, location: str, environment: dict[str, str], add: Add, tmp_path: Path
) -> None:
    """Its progress is visible to servers; nothing but the result is on standard output."""
    settings = {name.removeprefix("IMAGEFINDER_").lower(): value for name, value in environment.items()}
    own = {name: value for name, value in settings.items() if not name.startswith("ray_")}
    database = location.rpartition("/")[0]
    own |= {"collections": database, "collection": child(database, "default"), "concurrent_jobs": "0"}
    busy: set[int] = set()
    seen: list[dict[str, Any]] = []
    with Service(tmp_path, **own) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        adding = add(head.address)
        while adding.poll() is None:
            busy |= {number for number, node in enumerate((head, second)) if node.tasks}
            seen += client.get("/v1/jobs").json()["jobs"]
            time.sleep(0.1)
        jobs = client.get("/v1/jobs").json()["jobs"]
    result = check_complete(location, environment, adding)
    assert (result["added"], result["unchanged"], result["failed"]) == (IMAGES, 0, 1)
    assert busy == {0, 1}
    assert len(jobs) == 1
    assert {job["id"] for job in seen} == {jobs[0]["id"]}
    done = [job["progress"]["done"] for job in seen if job["state"] == "running" and job["progress"]["total"]]
    assert any(0 < number <= IMAGES for number in done), done


def test_a_machine_outside_of_the_cluster_adds_images(
    head: RayNode, location: str, environment: dict[str, str], add: Add
) -> None:
    """The same command again changes nothing."""
    check_complete(location, environment, add(head.client_address))
    again = check_complete(location, environment, add(head.address))
    assert (again["added"], again["unchanged"], again["failed_before"]) == (0, IMAGES, 1)


def test_the_command_is_killed(
    head: RayNode, location: str, environment: dict[str, str], add: Add, postgres: PostgresServer
) -> None:
    """The same command goes on with the job, and every image counts once."""
    first = add(head.address)
    until(lambda: count(location, environment) > 20)
    first.kill()
    first.wait()
    assert count(location, environment) < IMAGES
    result = check_complete(location, environment, add(head.address))
    assert result["added"] + result["unchanged"] == IMAGES
    jobs = postgres.execute("SELECT state, report FROM imagefinder.jobs ORDER BY id", location.split("/")[-2])
    assert [state for state, _ in jobs] == ["succeeded", "succeeded"]
    report = json.loads(str(jobs[0][1]))
    assert (report["added"], report["unchanged"], report["failed"]) == (IMAGES, 0, 1)


def test_processes_of_tasks_are_killed(
    head: RayNode, second: RayNode, location: str, environment: dict[str, str], add: Add
) -> None:
    adding = add(head.address)
    for images in (20, 100):
        until(lambda: count(location, environment) > images)  # noqa: B023 - called here
        until(lambda: head.tasks or second.tasks)
        for pid in head.tasks + second.tasks:
            os.kill(pid, signal.SIGKILL)
    result = check_complete(location, environment, adding)
    assert (result["added"], result["unchanged"]) == (IMAGES, 0)


def test_a_node_is_killed(
    head: RayNode, second: RayNode, location: str, environment: dict[str, str], add: Add
) -> None:
    adding = add(head.address)
    until(lambda: count(location, environment) > 20)
    until(lambda: second.tasks)
    second.kill()
    assert count(location, environment) < IMAGES
    result = check_complete(location, environment, adding)
    assert (result["added"], result["unchanged"]) == (IMAGES, 0)


def test_the_only_node_is_killed_and_another_joins(
    head: RayNode, location: str, environment: dict[str, str], add: Add
) -> None:
    """The head node has no core of its own to give; the job waits for a machine."""
    with RayNode(environment={}, cores=0) as empty:
        environment.update(empty.environment)
        with RayNode(empty, environment={}) as first:
            adding = add(empty.address, **empty.environment)
            until(lambda: count(location, environment) > 20)
            first.kill()
            assert adding.poll() is None
        with RayNode(empty, environment={}):
            result = check_complete(location, environment, adding)
    assert (result["added"], result["unchanged"]) == (IMAGES, 0)


def test_an_image_that_ends_its_process_affects_no_other(
    images: Path, location: str, environment: dict[str, str], add: Add, tmp_path: Path
) -> None:
    """The portion is tried three times, and then divided; that image is tried three times more."""
    for path in sorted(images.iterdir())[40:]:
        path.unlink()
    Image.new("RGB", (77, 77)).save(images / "012.png")
    plug_in = tmp_path / "plug-in"
    (plug_in / "deadly-1.dist-info").mkdir(parents=True)
    (plug_in / "deadly.py").write_text(DEADLY)
    (plug_in / "deadly-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1\n")
    (plug_in / "deadly-1.dist-info" / "entry_points.txt").write_text(
        "[imagefinder.methods]\ndeadly = deadly:make\n"
    )
    with RayNode(environment={"PYTHONPATH": str(plug_in)}) as node:
        done = add(node.address, "-m", "deadly", PYTHONPATH=str(plug_in), **node.environment)
        output, errors = done.communicate(timeout=300)
    (job,) = json.loads(output)["jobs"]
    assert (done.returncode, job["state"]) == (1, "succeeded"), (
        job["problem"],
        errors.replace("(raylet)", "")[-3000:],
    )
    assert [(failure["id"], failure["code"]) for failure in job["failures"]] == [("012.png", CRASHED)]
    assert (job["result"]["added"], job["result"]["unchanged"]) == (39, 0)
    assert count(location, environment) == 39


def test_ctrl_c_gives_the_work_back(head: RayNode, location: str, environment: dict[str, str], add: Add) -> None:
    adding = add(head.address)
    until(lambda: count(location, environment) > 20)
    adding.send_signal(signal.SIGINT)
    _, errors = adding.communicate(timeout=60)
    assert adding.returncode == 130, errors
    assert "Traceback" not in errors
    until(lambda: not head.tasks, 30)
    left = count(location, environment)
    assert 20 < left < IMAGES
    check_complete(location, environment, add(head.address))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("nowhere.invalid:6379", "no Ray cluster can be used at nowhere.invalid:6379"),
        ("local", "it is not HOST:PORT"),
        ("10.0.0.1", "it is not HOST:PORT"),
        ("ray://127.0.0.1:1", "Connection refused"),
    ],
)
def test_no_cluster(add: Add, address: str, said: str) -> None:
    """The reason comes within seconds; Ray by itself tries for minutes."""
    begun = time.monotonic()
    done = add(address)
    errors = "".join(done.communicate(timeout=60))
    assert (done.returncode, said in errors) == (2, True), errors
    assert "give the address of its head node" in errors
    assert "Traceback" not in errors
    assert time.monotonic() - begun < 40


@pytest.mark.parametrize(
    ("program", "settings", "said"),
    [
        ("import ray; ray.__version__ = '2.0.0'", {}, "Version mismatch"),
        ("import sys; sys.modules['ray'] = None", {}, "pip install 'imagefinder[cluster,ray]'"),
        ("", {"IMAGEFINDER_THREADS": "64"}, "each task needs 64 cores (setting threads)"),
        ("", {"RAY_AUTH_TOKEN": "f" * 64}, "RAY_AUTH_TOKEN"),
    ],
)
def test_a_cluster_that_cannot_be_used(
    head: RayNode, add: Add, program: str, settings: dict[str, str], said: str
) -> None:
    done = add(head.address, program=program, **settings)
    output, errors = done.communicate(timeout=100)
    assert (done.returncode, said in output) == (2, True), output
    assert "Traceback" not in errors


def test_another_version_of_imagefinder_fails_the_job(head: RayNode, add: Add) -> None:
    done = add(head.address, program="import imagefinder; imagefinder.__version__ = '9.9'")
    output, errors = done.communicate(timeout=100)
    (job,) = json.loads(output)["jobs"]
    assert (done.returncode, job["state"]) == (5, "failed"), errors
    assert f"has imagefinder {imagefinder.__version__} instead of 9.9" in job["problem"]["detail"]


def test_nodes_without_imagefinder_fail_the_job(head: RayNode, add: Add, tmp_path: Path) -> None:
    package = tmp_path / "blocked" / "imagefinder"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('imagefinder is not here')\n")
    with RayNode(environment={"PYTHONPATH": str(package.parent)}) as node:
        done = add(node.address, **node.environment)
        output, errors = done.communicate(timeout=100)
    assert done.returncode == 5, errors
    (job,) = json.loads(output)["jobs"]
    assert "a machine of the Ray cluster cannot add images" in job["problem"]["detail"]
    assert "imagefinder is not here" in job["problem"]["detail"]


def test_a_password_in_the_location_is_kept_from_the_cluster(
    head: RayNode, postgres: PostgresServer, images: Path, environment: dict[str, str]
) -> None:
    location = child(postgres.url(postgres.new_database()), "shop")
    command = [sys.executable, "-m", "imagefinder", "-c", location, "add", str(images), "--ray", head.address]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "database_password_file" in done.stderr
    assert postgres.password not in done.stderr

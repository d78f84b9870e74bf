"""The distribution imagefinder-client: built, installed with its pinned requirements alone, and used."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import command
import pytest
from example_pictures import PICTURES
from installation import ROOT, Distributions, build_client, isolated, pinned
from service import Service

LIMIT_MB = 25
TOOL = runpy.run_path(str(ROOT / "tools" / "client_distribution.py"))

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from imagefinder_client import AsyncClient, Client, NotFoundError

url, query, added = sys.argv[1:]

def summary(answer):
    return [answer.hits[0].id, answer.decision, answer.hits[0].evidence.inliers > 20]

with Client(url) as client:
    client.put("sent", added)
    sync = [summary(client.search(query)), sorted(image.id for image in client.images())]
    sync += [summary(answer) for answer in client.search([query, Path(query).read_bytes()])]

async def search():
    async with AsyncClient(url) as client:
        answers = await asyncio.gather(client.search(query), client.search(Path(query)))
        images = sorted([image.id async for image in client.images()])
        job = await (await client.start_build_index()).wait(timeout=60)
        try:
            await client.image("absent")
        except NotFoundError as error:
            return [summary(answers[0]), images, summary(answers[1]), job.state, error.status]

print(json.dumps({
    "sync": sync,
    "async": asyncio.run(search()),
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "python": sys.version_info[:2],
}))
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build_client(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def python(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment with the client and nothing that it does not need."""
    return isolated(distributions.wheel, pinned("client.txt"), tmp_path_factory.mktemp("client") / "venv")


def test_one_pure_python_wheel_with_every_module(distributions: Distributions) -> None:
    assert distributions.wheel.name.endswith("-py3-none-any.whl")
    assert f"-{TOOL['version']()}-" in distributions.wheel.name
    with zipfile.ZipFile(distributions.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        text = "".join(wheel.read(name).decode() for name in names)
    assert {"imagefinder_client/__init__.py", "imagefinder_client/py.typed"} <= names
    assert all(name.startswith("imagefinder_client/") for name in names)
    assert len(names) == len(TOOL["modules"]()) + 1
    assert "imagefinder.c" not in text, "an import of the package imagefinder is left"


def test_its_dependencies_are_those_that_its_modules_import() -> None:
    imported = {one.partition(".")[0] for name in TOOL["modules"]() for one in TOOL["imports"](name)}
    third_party = imported - set(sys.stdlib_module_names) - {"imagefinder", "_typeshed"}
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    declared = {requirement.partition(">")[0] for requirement in project["dependencies"]}
    assert third_party - {"pydantic_core"} == declared  # of pydantic


def test_the_pins_are_those_of_the_service() -> None:
    service = pinned("runtime.txt")
    client = pinned("client.txt")
    assert client == {name: service[name] for name in client}
    assert {name: distribution(name).version for name in client} == client


def test_it_is_small(python: Path) -> None:
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
    assert size <= LIMIT_MB * 1e6


def test_it_searches_a_running_service(python: Path, tmp_path: Path) -> None:
    names = ("cat.jpg", "coins.jpg", "clock.jpg")
    command.answer("-c", tmp_path / "default", "add", *(PICTURES / name for name in names), "--method", "sift")
    with Service(tmp_path) as service:
        arguments = [service.url, PICTURES / "coins.jpg", PICTURES / "temple.jpg"]
        done = subprocess.run(
            [python, "-I", "-W", "error", "-c", PROGRAM, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    found, ids = ["coins.jpg", "match", True], ["cat.jpg", "clock.jpg", "coins.jpg", "sent"]
    assert result["sync"] == [found, ids, found, found]
    assert result["async"] == [found, ids, found, "succeeded", 404]
    assert not {"imagefinder", "numpy", "cv2", "onnxruntime", "PIL"} & set(result["modules"])

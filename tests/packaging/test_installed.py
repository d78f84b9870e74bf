"""The package as it is published: built, installed away from the sources, and used.

Once with the native kernel, once without, which is what a machine without a compiler gets.
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command
import httpx2
import numpy as np
import pytest
from edited_pictures import EDITS, edited
from example_pictures import PICTURES
from installation import ROOT, Distributions, Installation, build, install, pinned, size_mb
from service import Service

SOURCES = ROOT / "src" / "imagefinder"
BACKEND = "from imagefinder.kernels import mutual_nn; print(mutual_nn.backend())"
LIMIT_MB = 440
"""Limit for everything together; 423 were measured on Linux x86-64 with Python 3.11, 475 for version 0.1."""
QUERIES = {"cat.jpg": "crop", "coins.jpg": "rotated", "rocket.jpg": "mirror", "temple.jpg": "screenshot"}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def native(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install(distributions.wheel, tmp_path_factory.mktemp("native") / "venv")


@pytest.fixture(scope="module")
def plain(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The same without the native kernel."""
    installation = install(distributions.wheel, tmp_path_factory.mktemp("plain") / "venv")
    (kernel,) = (installation.package / "kernels").glob("_native.*so")
    kernel.unlink()
    return installation


@pytest.fixture(scope="module")
def folder(native: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the collection ``default`` of the installed program lies, and queries."""
    folder = tmp_path_factory.mktemp("used")
    added = command.answer("-c", folder / "default", "add", PICTURES, command=[native.command])
    assert (added["added"], added["methods"]) == (24, ["efficientnet-lite0", "sift"])
    for name, edit in QUERIES.items():
        (folder / name).write_bytes(edited(PICTURES / name, EDITS[edit]))
    return folder


def shipped_files() -> set[str]:
    """What of the source tree belongs into a wheel: all but what the native kernel is compiled from."""
    return {
        path.relative_to(SOURCES.parent).as_posix()
        for path in SOURCES.rglob("*")
        if path.is_file()
        and path.suffix not in (".so", ".pyd", ".pyc")
        and not path.is_relative_to(SOURCES / "kernels" / "native")
    }


def test_the_wheel_has_every_file_of_the_package(distributions: Distributions) -> None:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    (kernel,) = names - shipped_files()
    assert kernel.startswith("imagefinder/kernels/_native.")
    assert shipped_files() <= names


def test_an_installation_stays_small(native: Installation) -> None:
    """The files of the wheel and of its pinned requirements. ``test_size.py`` limits each of these."""
    native.output("-m", "compileall", "-q", native.package)
    ours = sum(path.stat().st_size for path in native.package.rglob("*") if path.is_file()) / 1e6
    sizes = {"imagefinder": ours, **{name: size_mb(name) for name in pinned("runtime.txt")}}
    assert sum(sizes.values()) <= LIMIT_MB, sorted(sizes.items(), key=lambda row: -row[1])[:12]


def test_one_wheel_serves_every_python(distributions: Distributions) -> None:
    assert "-cp311-abi3-" in distributions.wheel.name


def test_the_source_distribution_has_what_the_kernel_is_compiled_from(distributions: Distributions) -> None:
    with tarfile.open(distributions.sdist) as sdist:
        names = {name.partition("/src/")[2] for name in sdist.getnames()}
    native = {path.relative_to(SOURCES.parent).as_posix() for path in (SOURCES / "kernels/native").glob("*.?pp")}
    assert len(native) > 10
    assert native <= names


def test_the_native_kernel_is_there(native: Installation) -> None:
    assert native.output("-c", BACKEND) != "numpy"


def search(installation: Installation, folder: Path, name: str, *options: str) -> Any:
    return command.answer(
        "-c", folder / "default", "search", folder / name, *options, command=[installation.command]
    )


@pytest.mark.parametrize("name", QUERIES)
def test_the_installed_command_finds(native: Installation, folder: Path, name: str) -> None:
    found = search(native, folder, name)
    assert (found["hits"][0]["id"], found["decision"]) == (name, "match")


@pytest.fixture(scope="module")
def client(native: Installation, folder: Path) -> Iterator[httpx2.Client]:
    with (
        Service(folder, command=[native.command, "serve"]) as service,
        httpx2.Client(base_url=service.url, timeout=60) as client,
    ):
        yield client


def test_the_installed_server_has_its_pages(client: httpx2.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "<title>imagefinder</title>" in page.text
    for path in (SOURCES / "web").iterdir():
        served = client.get("/" if path.name == "index.html" else f"/web/{path.name}")
        assert (served.status_code, served.content) == (200, path.read_bytes()), path.name
    assert client.get("/docs").status_code == 200
    assert client.get("/openapi.json").json()["info"]["title"] == "imagefinder"


def test_the_installed_server_finds(client: httpx2.Client, folder: Path) -> None:
    with (folder / "coins.jpg").open("rb") as file:
        found = client.post("/v1/collections/default/search", files={"image": file}).json()
    assert (found["hits"][0]["id"], found["decision"]) == ("coins.jpg", "match")


# without the native kernel


def without_geometry(answer: Any) -> list[float]:
    """Remove the times and the coordinates of geometries, which NumPy sums in another order; return the latter."""
    del answer["timings"]
    numbers = list[float]()
    for hit in answer["hits"]:
        for name in ("transform", "query_outline", "candidate_outline", "query_overlap", "candidate_overlap"):
            numbers += np.ravel(hit["evidence"].pop(name)).tolist() if hit["evidence"] else []
    return numbers


@pytest.mark.parametrize("name", ["rocket.jpg", "temple.jpg"])
@pytest.mark.parametrize("options", [(), ("--method", "sift", "--ranking", "matches", "-k", "24")], ids=str)
def test_numpy_answers_as_the_native_kernel_does(
    native: Installation, plain: Installation, folder: Path, name: str, options: tuple[str, ...]
) -> None:
    assert plain.output("-c", BACKEND) == "numpy"
    expected, found = (search(installation, folder, name, *options) for installation in (native, plain))
    geometries = [without_geometry(answer) for answer in (expected, found)]
    assert found == expected, "ids, scores, inliers, E-values"
    assert geometries[1] == pytest.approx(geometries[0], rel=1e-9, abs=1e-9)


def test_numpy_is_named(native: Installation, plain: Installation, folder: Path) -> None:
    arguments = ("-c", folder / "default", "search", folder / "cat.jpg")
    assert "NumPy" not in command.run(*arguments, command=[native.command]).stderr
    assert "NumPy" in command.run(*arguments, command=[plain.command]).stderr


def test_numpy_indexes_too(plain: Installation, folder: Path, tmp_path: Path) -> None:
    names = ("cat.jpg", "clock.jpg", "coins.jpg")
    shutil.copy(folder / "cat.jpg", tmp_path)
    sources = [PICTURES / name for name in names]
    command.answer("-c", tmp_path / "default", "add", *sources, "--method", "sift", command=[plain.command])
    found = search(plain, tmp_path, "cat.jpg")
    assert (found["hits"][0]["id"], found["decision"]) == ("cat.jpg", "match")

"""ResNet-50 answering over HTTP, with trained weights that a plug-in brings."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import augnet
import command
import httpx2
import pytest
from edited_pictures import EDITS, edited
from example_pictures import PICTURES, QUERIES
from service import Service

COPY_SCORE = 0.955
"""Cosine that a crop, mirror image or thumbnail of a picture has at least (measured: 0.965) ..."""

OTHER_SCORE = 0.945
"""... and every other picture at most (measured: 0.937)."""

NAMES = [path.name for path in sorted(PICTURES.glob("*.jpg"))]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What an installed plug-in adds to the import path; ``models`` beside it has its weights."""
    folder = tmp_path_factory.mktemp("augnet") / "plugins"
    folder.mkdir()
    augnet.install(folder, folder.with_name("models"))
    yield folder
    shutil.rmtree(folder.with_name("models"))  # 100 MB, and pytest keeps folders


@pytest.fixture(scope="module")
def environment(plugins: Path) -> dict[str, str]:
    path = os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {"PYTHONPATH": path, "IMAGEFINDER_MODELS": str(plugins.with_name("models"))}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[httpx2.Client]:
    """A client of a server whose collection has the example pictures by this method only."""
    folder = tmp_path_factory.mktemp("resnet50")
    added = command.answer(
        "-c", folder / "default", "add", PICTURES, "--method", augnet.NAME, environment=environment
    )
    assert added["added"] == len(NAMES)
    models = environment["IMAGEFINDER_MODELS"]
    with (
        Service(folder, environment=environment, models=models) as service,
        httpx2.Client(base_url=service.url, timeout=60) as client,
    ):
        yield client


def search(client: httpx2.Client, data: bytes, **options: str) -> Any:
    answer = client.post(
        "/v1/collections/default/search",
        files={"image": ("query.jpg", data)},
        data={"method": augnet.NAME, **options},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("edit", ["crop", "mirror", "small"])
def test_an_edited_copy_is_nearer_than_any_other_picture(client: httpx2.Client, edit: str) -> None:
    for name in NAMES:
        found = search(client, edited(PICTURES / name, EDITS[edit]), verify="false", k=str(len(NAMES)))
        scores = {hit["id"]: hit["score"] for hit in found["hits"]}
        assert len(scores) == len(NAMES)
        assert found["hits"][0]["id"] == name
        assert scores.pop(name) >= COPY_SCORE, name
        assert max(scores.values()) <= OTHER_SCORE, name


def test_the_original_endpoint_gives_the_three_best_ids(client: httpx2.Client) -> None:
    for name in ("cat.jpg", "temple.jpg"):
        data = edited(PICTURES / name, EDITS["crop"])
        answer = client.post(f"/{augnet.NAME}-similar-images", files={"image": ("query.jpg", data)})
        assert answer.status_code == 200, answer.text
        expected = search(client, data, verify="false", k="3")["hits"]
        assert answer.json() == [hit["id"] for hit in expected]
        assert answer.json()[0] == name


def test_a_crop_is_a_match_and_another_picture_is_none(client: httpx2.Client) -> None:
    found = search(client, edited(PICTURES / "cat.jpg", EDITS["crop"]))
    assert (found["hits"][0]["id"], found["decision"], found["method"]) == ("cat.jpg", "match", augnet.NAME)
    assert found["hits"][0]["relation"] == "part of"
    assert search(client, (QUERIES / "brushes.jpg").read_bytes())["decision"] == "none"


def test_other_weights_than_the_published_are_refused(
    tmp_path: Path, plugins: Path, environment: dict[str, str]
) -> None:
    weights = tmp_path / augnet.NAME / "model.safetensors"
    weights.parent.mkdir()
    shutil.copy(plugins.with_name("models") / augnet.NAME / weights.name, weights)
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    done = command.run(
        *("-c", tmp_path / "c", "add", PICTURES / "cat.jpg", "--method", augnet.NAME, "--json"),
        environment={**environment, "IMAGEFINDER_MODELS": str(tmp_path)},
    )
    weights.unlink()
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "model_corrupt"

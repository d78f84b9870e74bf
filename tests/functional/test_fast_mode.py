"""Mode ``fast`` over HTTP in a collection of five thousand images: it says so, and finds what ``exact`` finds."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command
import httpx2
import numpy as np
import pytest
from edited_pictures import EDITS, edited
from example_pictures import PICTURES
from service import Service

SIZE = 5000
DESCRIPTORS = 64
"""Of each distractor."""

ALL = sorted(PICTURES.glob("*.jpg"))
ABSENT = ALL[::8]
PRESENT = [path for path in ALL if path not in ABSENT]
COPIES = {"cat.jpg": "mirror", "rocket.jpg": "rotated", "temple.jpg": "screenshot"}
"""Pictures that are there twice, the second time edited."""


def write_distractors(exported: Path, target: Path, count: int) -> None:
    """Write features of images that nobody has: SIFT descriptors of the example pictures, shuffled and disturbed.

    Args:
        exported: Features of the pictures, as ``imagefinder export`` writes them.
        target: A folder in the same layout.
        count: How many images.
    """
    files = sorted((exported / "features" / "sift").glob("*.npy"))
    pool = np.concatenate([np.load(file) for file in files])
    random = np.random.default_rng(5)
    (target / "features" / "sift").mkdir(parents=True)
    with (target / "dataset.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["url", "id"])
        for number in range(count):
            chosen = pool[random.integers(len(pool), size=DESCRIPTORS)]
            noise = random.normal(scale=25, size=chosen.shape)
            descriptors = np.clip(np.rint(chosen + noise), 0, 255).astype(np.float32)
            np.save(target / "features" / "sift" / f"distractor-{number:04}.npy", descriptors)
            rows.writerow(["", f"distractor-{number:04}"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the collection ``default`` lies: example pictures, some of them twice, and distractors."""
    folder = tmp_path_factory.mktemp("fast")
    collection = ("-c", folder / "default")
    copies = folder / "copies"
    copies.mkdir()
    for name, edit in COPIES.items():
        (copies / f"copy-of-{name}").write_bytes(edited(PICTURES / name, EDITS[edit]))
    command.answer(*collection, "add", *PRESENT, copies, "--method", "sift")
    command.answer(*collection, "export", folder / "exported")
    write_distractors(folder / "exported", folder / "distractors", SIZE - len(PRESENT) - len(COPIES))
    command.answer(*collection, "import", folder / "distractors", "--compatible")
    shutil.rmtree(folder / "distractors")  # 160 MB, and pytest keeps folders
    return folder


@pytest.fixture(scope="module")
def indexed(folder: Path) -> Any:
    """The JSON output of ``imagefinder build-index``."""
    return command.answer("-c", folder / "default", "build-index")


@pytest.fixture(scope="module")
def client(folder: Path, indexed: Any) -> Iterator[httpx2.Client]:
    """A client of a server to which the collection is a large one."""
    with (
        Service(folder, exact_bytes="1000000") as service,
        httpx2.Client(base_url=service.url, timeout=60) as client,
    ):
        yield client


def search(client: httpx2.Client, data: bytes, mode: str) -> Any:
    answer = client.post(
        "/v1/collections/default/search", files={"image": ("query.jpg", data)}, data={"mode": mode, "k": "5"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def matches(answer: Any) -> list[tuple[str, float]]:
    """What the answer calls a match: ids with their E-values."""
    return [(hit["id"], hit["evalue"]) for hit in answer["hits"] if hit["decision"] == "match"]


def files_of_the_index(folder: Path) -> set[tuple[str, int]]:
    files = (folder / "default" / "index").rglob("*")
    return {(str(file), file.stat().st_mtime_ns) for file in files if file.is_file()}


def test_the_index_has_all_images(indexed: Any) -> None:
    (index,) = indexed["indexes"]
    assert (index["method"], index["images"], index["indexed"], index["waiting"]) == ("sift", SIZE, SIZE, 0)
    assert index["kept"]


def test_a_fast_search_finds_the_index_ready(client: httpx2.Client, folder: Path) -> None:
    data = (PICTURES / "dogs.jpg").read_bytes()
    search(client, data, "exact")  # starts the calibration, which is kept beside the index
    end = time.monotonic() + 60
    while client.get("/health").json()["collection"]["calibration"] != "current":
        assert time.monotonic() < end
        time.sleep(0.1)
    before = files_of_the_index(folder)
    search(client, data, "fast")
    assert files_of_the_index(folder) == before


@pytest.mark.parametrize("edit", EDITS)
def test_fast_finds_what_exact_finds(client: httpx2.Client, edit: str) -> None:
    for path in PRESENT[list(EDITS).index(edit) % 6 :: 6]:
        data = edited(path, EDITS[edit])
        fast, exact = (search(client, data, mode) for mode in ("fast", "exact"))
        assert (fast["mode"], exact["mode"]) == ("fast", "exact")
        assert fast["searched"] == exact["searched"] == SIZE
        if exact["decision"] == "match":
            assert fast["hits"][0]["id"] == exact["hits"][0]["id"], path.name
        assert matches(fast) == matches(exact), path.name


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_both_copies_are_found(client: httpx2.Client, mode: str) -> None:
    for name in COPIES:
        found = search(client, (PICTURES / name).read_bytes(), mode)
        assert {image_id for image_id, _ in matches(found)} == {name, f"copy-of-{name}"}


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_what_is_not_there_is_no_match(client: httpx2.Client, mode: str) -> None:
    for path in ABSENT:
        assert search(client, path.read_bytes(), mode)["decision"] == "none"


def test_auto_is_fast_in_a_large_collection(client: httpx2.Client) -> None:
    found = search(client, (PICTURES / "dogs.jpg").read_bytes(), "auto")
    assert (found["mode"], found["hits"][0]["id"]) == ("fast", "dogs.jpg")

"""What it costs a server to open a further collection: next to no memory, and no process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
import pytest
from example_pictures import PICTURES
from processes import descendants, resident_mb
from service import Service

import imagefinder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and processes are read from /proc")

NAMES = [f"shop-{number:02}" for number in range(16)]
MB_EACH = 5.0
"""What a small open collection may cost: its database connections, caches and features."""

WARM_UP = 40
"""Searches before the first measurement."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server of sixteen collections, none of them open; each has two pictures, by keypoints and by a network."""
    folder = tmp_path_factory.mktemp("many")
    with imagefinder.open(folder / "default"):
        pass
    first = folder / "collections" / NAMES[0]
    with imagefinder.open(first) as collection:
        collection.add(PICTURES / "cat.jpg", PICTURES / "coins.jpg", methods=["sift", "efficientnet-lite0"])
        collection.calibrate()
        for name in NAMES[1:]:
            collection.backup(first.with_name(name))
    with Service(folder, threads="2") as service:
        yield service


def search(client: httpx2.Client, name: str) -> None:
    """Search a collection with an uploaded picture by all of its methods."""
    with (PICTURES / "cat.jpg").open("rb") as file:
        answer = client.post(f"/v1/collections/{name}/search", files={"image": file}, data={"k": "1"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["hits"][0]["id"], answer.json()["decision"]) == ("cat.jpg", "match")
    assert set(answer.json()["fingerprints"]) == {"sift", "efficientnet-lite0"}


@dataclass(frozen=True)
class Use:
    """What the server uses, by the number of open collections.

    Attributes:
        memory: Resident, MB.
        processes: Its descendants.
    """

    memory: dict[int, float]
    processes: dict[int, int]


@pytest.fixture(scope="module")
def use(service: Service) -> Use:
    pid, use = service.process.pid, Use(memory={}, processes={})
    with httpx2.Client(base_url=service.url, timeout=60) as client, ThreadPoolExecutor(4) as pool:
        # Every thread and decoder has worked before the first measurement; later searches use their memory again.
        list(pool.map(lambda _: search(client, NAMES[0]), range(WARM_UP)))
        for count, name in enumerate(NAMES, start=1):
            search(client, name)
            search(client, name)
            if count in (1, 4, 16):
                use.memory[count], use.processes[count] = resident_mb(pid), len(descendants(pid))
    return use


@pytest.mark.parametrize("count", [4, 16])
def test_a_further_collection_costs_next_to_no_memory(use: Use, count: int) -> None:
    each = (use.memory[count] - use.memory[1]) / (count - 1)
    assert each <= MB_EACH, f"{each:.1f} MB each: {use.memory}"


@pytest.mark.parametrize("count", [4, 16])
def test_further_collections_share_the_processes_that_decode(use: Use, count: int) -> None:
    assert use.processes[1] >= 1, "pictures are decoded in processes of their own"
    assert use.processes[count] <= use.processes[1]

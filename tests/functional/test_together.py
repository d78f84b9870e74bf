"""A server, commands and the library at work on one collection at once, with a model of what must be there.

Each writer owns some images and knows what it left there; some images belong to nobody and must always be found.
``STRESS_SECONDS`` sets how long.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
from make_collection import picture
from service import Service

import imagefinder

SECONDS = float(os.environ.get("STRESS_SECONDS", "6"))
SMALL = {"sift_max_keypoints": "40", "threads": "1", "isolate": "false"}
SETTINGS = imagefinder.Settings(sift_max_keypoints=40, threads=1, isolate=False)
STABLE = {f"stable/{number}.png": picture(1000 + number) for number in range(3)}
Left = dict[str, bytes]
"""Id -> the picture that a writer left under it."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def by_http(url: str, worker: int, stop: threading.Event) -> Left:
    """Puts and deletes, and looks after each whether it is so."""
    choose, left = random.Random(worker), Left()
    with httpx2.Client(base_url=url, timeout=120) as client:
        while not stop.is_set():
            image_id = f"http {worker}/{choose.randrange(4)}.png"
            path = f"/v1/collections/default/images/{image_id}"
            if choose.random() < 0.3:
                assert client.delete(path).status_code == (204 if image_id in left else 404)
                left.pop(image_id, None)
                assert client.get(path).status_code == 404
            else:
                data = picture(choose.randrange(500))
                answer = client.put(path, files={"image": data})
                assert answer.status_code == (200 if image_id in left else 201), answer.text
                left[image_id] = data
                assert client.get(path).json()["sha256"] == sha256(data)
            if left:
                assert_found(client, *choose.choice([*left.items(), *STABLE.items()]))
    return left


def assert_found(client: httpx2.Client, image_id: str, data: bytes) -> None:
    answer = client.post(
        "/v1/collections/default/search",
        files={"image": data},
        data={"method": "sift", "verify": "false", "k": "100"},
    )
    assert answer.status_code == 200, answer.text
    hits = {hit["id"]: hit["image"]["sha256"] for hit in answer.json()["hits"]}
    assert hits.get(image_id) == sha256(data)


def by_library(folder: Path, worker: int, stop: threading.Event) -> Left:
    choose, left = random.Random(100 + worker), Left()
    with imagefinder.open(folder, create=False, settings=SETTINGS) as collection:
        while not stop.is_set():
            image_id = f"library {worker}/{choose.randrange(4)}.png"
            if choose.random() < 0.3:
                assert collection.remove(image_id) == (image_id in left)
                left.pop(image_id, None)
            else:
                left[image_id] = picture(choose.randrange(500))
                assert collection.put(image_id, left[image_id]).sha256 == sha256(left[image_id])
            for known, data in left.items():
                assert collection.get(known).sha256 == sha256(data)
            stable, data = choose.choice([*STABLE.items()])
            found = collection.search(
                data,
                method="sift",
                ranking="matches",
                evalues=False,
                k=100,
                mode=choose.choice(("fast", "exact")),
            )
            assert stable in found.ids
    return left


def by_commands(folder: Path, pictures: Path, stop: threading.Event) -> Left:
    """One folder of pictures that changes, added again and again, and removed; and indexes made anew."""
    choose, left = random.Random(200), Left()
    environment = {**os.environ, **{f"IMAGEFINDER_{name.upper()}": value for name, value in SMALL.items()}}

    def run(*arguments: str) -> int:
        command = [sys.executable, "-m", "imagefinder", "-c", str(folder), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode

    pictures.mkdir()
    left["command.png"] = picture(500)  # an empty folder would prune nothing
    (pictures / "command.png").write_bytes(left["command.png"])
    assert run("add", str(pictures), "-m", "sift") == 0
    while not stop.is_set():
        names = [f"command {number}.png" for number in choose.sample(range(5), 2)]
        action = choose.choice(("add", "add", "remove", "prune", "build-index"))
        if action == "remove":
            assert run("remove", *names) == (0 if set(names) <= set(left) else 1)
        for name in names:
            if action in ("remove", "prune"):
                (pictures / name).unlink(missing_ok=True)
                left.pop(name, None)
            elif action == "add":
                left[name] = picture(choose.randrange(500))
                (pictures / name).write_bytes(left[name])
        if action in ("add", "prune"):
            assert run("add", str(pictures), "-m", "sift", *(["--prune"] if action == "prune" else [])) == 0
        elif action == "build-index":
            assert run("build-index", "--rebuild") == 0
    return left


def test_a_server_commands_and_the_library_together(tmp_path: Path) -> None:
    folder, stop = tmp_path / "default", threading.Event()
    with imagefinder.open(folder, settings=SETTINGS) as collection:
        sift = collection.method("sift").extractor
        collection.store.register(sift.fingerprint(), sift.spec)
        for image_id, data in STABLE.items():
            collection.put(image_id, data)
    with Service(tmp_path, **SMALL) as service, ThreadPoolExecutor(5) as pool:
        writers: list[Callable[[], Left]] = [
            lambda: by_http(service.url, 1, stop),
            lambda: by_http(service.url, 2, stop),
            lambda: by_library(folder, 1, stop),
            lambda: by_library(folder, 2, stop),
            lambda: by_commands(folder, tmp_path / "pictures", stop),
        ]
        futures = [pool.submit(writer) for writer in writers]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not any(future.done() for future in futures):
            time.sleep(0.05)
        stop.set()
        expected = dict(STABLE)
        for future in futures:
            expected |= future.result()
        with httpx2.Client(base_url=service.url, timeout=120) as client:
            listed = client.get("/v1/collections/default/images", params={"limit": 1000}).json()["images"]
            assert {image["id"]: image["sha256"] for image in listed} == {
                image_id: sha256(data) for image_id, data in expected.items()
            }
            for image_id, data in expected.items():
                assert_found(client, image_id, data)
    with imagefinder.open(folder, create=False, settings=SETTINGS) as collection:
        assert collection.check().damages == ()
        assert collection.info().images == len(expected)
        for image_id, data in expected.items():
            features = sift.extract([collection.decode(data).rgb])
            assert (
                collection.store.features(image_id, "sift").descriptors.tobytes() == features.descriptors.tobytes()
            )
    assert "Traceback" not in "".join(service.lines), "".join(service.lines)

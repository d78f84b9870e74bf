"""A server that is killed while clients put, replace and delete: what it acknowledged is there, whole, and found.

``KILL_ROUNDS`` sets how often, ``KILL_SEED`` which moments.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
import time

import httpx2
from make_collection import picture
from service import Service

import imagefinder

ROUNDS = min(int(os.environ.get("KILL_ROUNDS", "3")), 200)
SMALL = {"sift_max_keypoints": "40", "threads": "1", "isolate": "false"}
NAMES = [f"{writer}/{number}.png" for writer in range(3) for number in range(4)]


def test_a_killed_server_loses_no_acknowledged_change(tmp_path):
    choose = random.Random(os.environ.get("KILL_SEED", "1"))
    settings = imagefinder.Settings(sift_max_keypoints=40, threads=1)
    with imagefinder.open(tmp_path / "default", settings=settings) as collection:
        collection.put("first.png", picture(0))
    # Possible states of each image: one if the last request was acknowledged, two if it was interrupted.
    allowed: dict[str, list[str]] = {name: [""] for name in NAMES}
    acknowledged = 0
    for round_number in range(ROUNDS):
        with Service(tmp_path, **SMALL) as service:
            stop = threading.Event()
            counts = [0, 0, 0]

            def work(writer: int, rng: random.Random, url: str, stop: threading.Event, counts: list[int]) -> None:
                own = [name for name in NAMES if name.startswith(f"{writer}/")]
                with httpx2.Client(base_url=url, timeout=60) as client:
                    while not stop.is_set():
                        name = rng.choice(own)
                        data = b"" if rng.random() < 0.2 else picture(rng.randrange(1, 30))
                        wanted = hashlib.sha256(data).hexdigest() if data else ""
                        allowed[name] = [*allowed[name], wanted]
                        path = f"/v1/collections/default/images/{name}"
                        try:
                            if data:
                                answer = client.put(path, files={"image": data})
                                assert answer.status_code in {200, 201}, answer.text
                            else:
                                answer = client.delete(path)
                                assert answer.status_code in {204, 404}, answer.text
                        except httpx2.HTTPError:
                            return  # killed: both states are valid
                        allowed[name] = [wanted]
                        counts[writer] += 1

            threads = [
                threading.Thread(
                    target=work, args=(writer, random.Random(choose.random()), service.url, stop, counts)
                )
                for writer in range(3)
            ]
            for thread in threads:
                thread.start()
            wait = choose.uniform(0.2, 2.0)
            end = time.monotonic() + 120
            while time.monotonic() < end and (wait > 0 or not sum(counts)):
                time.sleep(0.05)
                wait -= 0.05
            service.process.kill()
            service.process.wait()
            stop.set()
            for thread in threads:
                thread.join(60)
            acknowledged += sum(counts)
        with imagefinder.open(tmp_path / "default", create=False, settings=settings) as collection:
            assert collection.check().damages == (), f"round {round_number}"
            stored = {record.id: record.sha256 for record in collection.images(limit=100)}
            for name in NAMES:
                assert stored.get(name, "") in allowed[name], f"round {round_number}: {name}"
                allowed[name] = [stored.get(name, "")]
            for image_id in [*choose.sample(sorted(stored), min(2, len(stored))), "first.png"]:
                hits = collection.search(id=image_id, method="sift", ranking="matches", evalues=False, k=1).hits
                assert len(hits) == min(1, len(stored) - 1)
    sys.stdout.write(f"killed {ROUNDS} times, {acknowledged} changes acknowledged\n")
    assert acknowledged > 0

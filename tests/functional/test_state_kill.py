"""Server and command line killed while both write the state: what was acknowledged is there, whole.

``KILL_ROUNDS`` sets how often, ``KILL_SEED`` which moments.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
from make_collection import picture
from service import Service

from imagefinder.server.jobs.store import JobStore
from imagefinder.server.keys.folders import FolderKeys

ROUNDS = min(int(os.environ.get("KILL_ROUNDS", "3")), 200)
SMALL = {"sift_max_keypoints": "40", "threads": "1", "isolate": "false", "job_queue": "10000"}

WRITE_KEYS = """
import random, sys, time
from pathlib import Path
from imagefinder.server.keys.folders import FolderKeys
keys, prefix, rng = FolderKeys(Path(sys.argv[1])), sys.argv[2], random.Random(sys.argv[3])
have = {key.name for key in keys.entries() if key.name.startswith(prefix)}
while True:
    time.sleep(rng.random() / 50)  # let the other processes write
    name = f"{prefix}{rng.randrange(8)}"
    print("begin", name, flush=True)
    if name in have:
        keys.revoke(name)
        have.remove(name)
        print("end", name, "-", flush=True)
    else:
        secret = keys.create(name, "read")
        have.add(name)
        print("end", name, secret, flush=True)
"""
"""Creates and revokes keys in a loop, and prints each change before and after it."""


def allowed_keys(output: str, allowed: dict[str, set[str]]) -> int:
    """Update the possible states of each key (``-``: none, ``?``: unknown secret); count completed changes."""
    done = 0
    for line in output[: output.rfind("\n") + 1].splitlines():
        word, name, *result = line.split()
        if word == "end":
            allowed[name] = {result[0]}
            done += 1
        else:
            allowed[name] = {*allowed.get(name, {"-"}), "-", "?"}
    return done


def check_keys(state: Path, allowed: dict[str, set[str]]) -> None:
    """Check that each key is in its acknowledged state, or before or after an interrupted change."""
    with FolderKeys(state) as keys:
        existing = {key.name for key in keys.entries()}
        for name, values in allowed.items():
            found = {value for value in values if (key := keys.find(value.encode())) and key.name == name}
            if name not in existing:
                assert "-" in values, name
            else:
                assert found or "?" in values, name
            allowed[name] = found or ({"?"} if name in existing else {"-"})
        assert existing <= set(allowed)


def test_killed_writers_lose_no_acknowledged_change(tmp_path: Path) -> None:
    choose = random.Random(os.environ.get("KILL_SEED", "1"))
    state = tmp_path / "state"
    keys: dict[str, set[str]] = {}
    jobs: dict[str, bytes] = {}
    changes = 0
    for round_number in range(ROUNDS):
        with Service(tmp_path, **SMALL) as service:
            stop = threading.Event()

            def post(url: str, seed: float, stop: threading.Event) -> None:
                rng = random.Random(seed)
                with httpx2.Client(base_url=url, timeout=60) as client:
                    while not stop.is_set():
                        data = picture(rng.randrange(1, 30))
                        path = f"/v1/collections/default/images/{rng.randrange(1000)}.png"
                        try:
                            answer = client.put(path, params={"wait": "false"}, files={"image": data})
                        except httpx2.HTTPError:
                            return  # killed: both states are valid
                        assert answer.status_code == 202, answer.text
                        jobs[answer.json()["id"]] = data

            posting = [threading.Thread(target=post, args=(service.url, choose.random(), stop)) for _ in range(2)]
            writing = [
                subprocess.Popen(
                    [sys.executable, "-c", WRITE_KEYS, str(state), prefix, str(choose.random())],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for prefix in "ab"
            ]
            for thread in posting:
                thread.start()
            began, before, wait = time.monotonic(), len(jobs), choose.uniform(1.0, 2.5)
            while time.monotonic() < began + wait or (len(jobs) == before and time.monotonic() < began + 60):
                time.sleep(0.02)
            for process in (*writing, service.process):
                process.kill()
            for writer in writing:
                changes += allowed_keys(writer.communicate()[0], keys)
            service.process.wait()
            stop.set()
            for thread in posting:
                thread.join(60)
        check_keys(state, keys)
        store = JobStore(state, tmp_path / "default")
        assert store.acquire()
        records = {record.job.id: record.job.state for record in store.load()}
        assert set(jobs) <= set(records), f"round {round_number}"
        for job_id, data in jobs.items():
            if records[job_id] in {"queued", "running"}:
                assert store.upload(job_id) == data, f"round {round_number}"
        store.release()
    sys.stdout.write(f"killed {ROUNDS} times; acknowledged {len(jobs)} jobs, {changes} changes of keys\n")
    assert jobs
    assert changes


def test_a_running_server_accepts_new_keys_immediately(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "imagefinder", "keys", *words]
        environment = {**os.environ, "IMAGEFINDER_STATE": str(tmp_path / "state")}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    first = run("create", "first")
    with Service(tmp_path, auth="on", **SMALL) as service:

        def answer(key: str) -> int:
            return httpx2.get(
                f"{service.url}/v1/info", headers={"Authorization": f"Bearer {key}"}, timeout=60
            ).status_code

        assert answer(first) == 200
        second = run("create", "second")
        assert answer(second) == 200
        run("revoke", "first")
        assert answer(first) == 401
        assert answer(second) == 200

"""Weights from a hub over a real connection; each pull in a process of its own, with an environment of its own."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import REVISION, Hub, serve_hub

KEY = "owner/tiny/weights/model.safetensors"
WEIGHTS = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()

PROGRAM = """
import json, sys
from dataclasses import replace
from pathlib import Path
from imagefinder.core.errors import ModelError
from imagefinder.models.catalogue import MODELS, HubFile
from imagefinder.models.hub import ModelCache

folder, verb, sha256, revision = sys.argv[1:]
source = HubFile("owner/tiny", revision, "weights/model.safetensors")
model = replace(MODELS["resnet50"], name="tiny", source=source, sha256=sha256, size_bytes=300_000)
cache, steps = ModelCache(Path(folder)), []
try:
    if verb == "pull":
        path = cache.pull(model, progress=lambda *step: steps.append(step))
    else:
        path = cache.locate(model)
    print(json.dumps({"path": str(path), "steps": steps, "sha256": cache.sha256(model)}))
except ModelError as error:
    print(json.dumps({"error": error.code, "message": error.message, "hint": error.hint}))
"""


class Machine:
    """A machine that pulls the tiny model: its folders and its environment."""

    def __init__(self, home: Path, hub: Hub) -> None:
        self.home = home
        self.hub = hub
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",  # so that all requests come from the pull
            "NO_PROXY": "127.0.0.1",
        }

    @property
    def snapshot(self) -> Path:
        return self.home / "hf/hub/models--owner--tiny/snapshots" / REVISION / "weights/model.safetensors"

    @property
    def incomplete(self) -> list[Path]:
        return list(self.home.rglob("*.incomplete"))

    def start(
        self, verb: str, *, sha256: str = SHA256, revision: str = REVISION, **variables: str
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, str(self.home / "models"), verb, sha256, revision],
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, verb: str, **options: str) -> dict[str, Any]:
        return answer(self.start(verb, **options))


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(output)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.files[KEY] = WEIGHTS
        yield hub


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    return Machine(tmp_path, hub)


def test_pull_downloads_once_into_the_cache_of_the_hub(machine: Machine, hub: Hub) -> None:
    result = machine.run("pull")

    assert Path(result["path"]) == machine.snapshot
    assert machine.snapshot.read_bytes() == WEIGHTS
    done, totals = zip(*result["steps"], strict=True)
    assert list(done) == sorted(done)
    assert (done[-1], set(totals)) == (len(WEIGHTS), {len(WEIGHTS)})
    assert not machine.incomplete
    assert {request.path.partition("?")[0] for request in hub.requests} == {
        f"/owner/tiny/resolve/{REVISION}/weights/model.safetensors",
        f"/{KEY}",
    }

    requested = len(hub.requests)
    assert machine.run("pull")["path"] == result["path"]
    assert machine.run("locate")["path"] == result["path"]
    assert len(hub.requests) == requested  # neither needed the network


def test_huggingface_hub_finds_pulled_weights(machine: Machine) -> None:
    machine.run("pull")
    program = (
        "import huggingface_hub as h\n"
        f"print(h.hf_hub_download('owner/tiny', 'weights/model.safetensors', revision='{REVISION}'))\n"
        "cache = h.scan_cache_dir()\n"
        "print([repo.repo_id for repo in cache.repos], cache.size_on_disk, cache.warnings)"
    )
    output = subprocess.run(
        [sys.executable, "-c", program],
        env={**machine.environment, "HF_HUB_OFFLINE": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert output == [str(machine.snapshot), f"['owner/tiny'] {len(WEIGHTS)} []"]


def test_downloads_of_huggingface_hub_are_used(machine: Machine, hub: Hub) -> None:
    program = (
        "import huggingface_hub as h\n"
        f"h.hf_hub_download('owner/tiny', 'weights/model.safetensors', revision='{REVISION}')"
    )
    subprocess.run(
        [sys.executable, "-c", program], env={**machine.environment, "HF_HUB_DISABLE_XET": "1"}, check=True
    )
    requested = len(hub.requests)

    assert Path(machine.run("locate")["path"]) == machine.snapshot
    # Of a model with no hash in the catalogue, the blob's name is the hash that the hub gave.
    assert machine.run("locate", sha256="")["error"] == "model_missing"
    assert machine.run("pull", sha256="", HF_HUB_OFFLINE="1")["sha256"] == SHA256
    assert Path(machine.run("locate", sha256="")["path"]) == machine.snapshot
    assert len(hub.requests) == requested


def test_a_cut_connection_resumes_within_the_same_pull(machine: Machine, hub: Hub) -> None:
    hub.cuts = [100_000, 50_000]

    assert "path" in machine.run("pull")

    assert hub.downloads() == ["", "bytes=100000-", "bytes=150000-"]
    assert machine.snapshot.read_bytes() == WEIGHTS


def test_after_too_many_cuts_the_next_pull_continues(machine: Machine, hub: Hub) -> None:
    hub.cuts = [100_000, 0, 0, 0, 0]

    result = machine.run("pull")

    assert result["error"] == "hub_unreachable"
    assert "tiny" in result["message"]
    assert "imagefinder models pull tiny" in result["hint"]
    assert [path.stat().st_size for path in machine.incomplete] == [100_000]
    assert not machine.snapshot.exists()
    assert machine.run("locate")["error"] == "model_missing"

    requested = len(hub.downloads())
    result = machine.run("pull")
    assert hub.downloads()[requested:] == ["bytes=100000-"]
    assert result["steps"][0][0] > 100_000
    assert machine.snapshot.read_bytes() == WEIGHTS
    assert not machine.incomplete


def test_a_storage_that_cannot_resume_starts_over(machine: Machine, hub: Hub) -> None:
    hub.ranges = False
    hub.cuts = [100_000]

    assert "path" in machine.run("pull")

    assert hub.downloads() == ["", "bytes=100000-"]
    assert machine.snapshot.read_bytes() == WEIGHTS


def test_transient_hub_errors_are_retried(machine: Machine, hub: Hub) -> None:
    hub.statuses = [503, 429]
    assert "path" in machine.run("pull")
    assert len(hub.downloads()) == 3


def test_an_incomplete_file_from_elsewhere_does_no_harm(machine: Machine, hub: Hub) -> None:
    blobs = machine.snapshot.parents[3] / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{SHA256}.imagefinder.incomplete").write_bytes(b"x" * 200_000)

    assert machine.run("pull")["error"] == "model_corrupt"
    assert hub.downloads() == ["bytes=200000-"]
    assert not machine.incomplete
    assert machine.run("pull")["path"] == str(machine.snapshot)
    assert machine.snapshot.read_bytes() == WEIGHTS


def test_wrong_bytes_are_refused_and_deleted(machine: Machine, hub: Hub) -> None:
    wrong = bytes(len(WEIGHTS))
    hub.files[KEY] = wrong
    hub.claimed[KEY] = SHA256

    result = machine.run("pull")

    assert result["error"] == "model_corrupt"
    for part in ("tiny", "model.safetensors", SHA256, hashlib.sha256(wrong).hexdigest()):
        assert part in result["message"]
    assert "imagefinder models pull tiny" in result["hint"]
    assert not [path for path in machine.home.rglob("*") if path.is_file() and path.stat().st_size]
    assert machine.run("locate")["error"] == "model_missing"

    hub.files[KEY] = WEIGHTS
    assert "path" in machine.run("pull")
    assert machine.snapshot.read_bytes() == WEIGHTS


def test_other_weights_on_offer_are_not_even_downloaded(machine: Machine, hub: Hub) -> None:
    hub.files[KEY] = b"other"
    result = machine.run("pull")
    assert result["error"] == "model_corrupt"
    assert SHA256 in result["message"]
    assert hashlib.sha256(b"other").hexdigest() in result["message"]
    assert hub.downloads() == []


def test_a_damaged_cached_file_is_rejected_then_downloaded_again(machine: Machine, hub: Hub) -> None:
    machine.run("pull")
    machine.snapshot.write_bytes(b"damage")

    result = machine.run("locate")
    assert result["error"] == "model_corrupt"
    assert str(machine.snapshot) in result["message"]
    assert "imagefinder models pull tiny" in result["hint"]

    assert "path" in machine.run("pull")
    assert machine.snapshot.read_bytes() == WEIGHTS


def test_an_unreachable_hub_fails_fast(machine: Machine) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    start = time.monotonic()
    result = machine.run("pull", HF_ENDPOINT=closed)
    assert time.monotonic() - start < 10
    assert result["error"] == "hub_unreachable"
    assert "tiny" in result["message"]
    assert closed in result["message"]
    for command in ("imagefinder models pull tiny", "imagefinder models export", "imagefinder models import"):
        assert command in result["hint"]


def test_offline_mode_sends_no_requests(machine: Machine, hub: Hub) -> None:
    result = machine.run("pull", HF_HUB_OFFLINE="1")
    assert result["error"] == "hub_unreachable"
    assert "HF_HUB_OFFLINE" in result["message"]
    assert "imagefinder models import" in result["hint"]
    assert hub.requests == []

    machine.run("pull")
    assert machine.run("pull", HF_HUB_OFFLINE="1")["path"] == str(machine.snapshot)


def test_the_token_goes_to_the_hub_and_no_further(machine: Machine, hub: Hub) -> None:
    hub.token = "secret"
    result = machine.run("pull")
    assert result["error"] == "model_error"
    assert "HF_TOKEN" in result["hint"]

    assert "path" in machine.run("pull", HF_TOKEN="secret")
    assert {request.authorization for request in hub.requests if request.place == "storage"} == {""}


def test_a_hub_without_the_file_says_so(machine: Machine) -> None:
    result = machine.run("pull", revision="f" * 40)
    assert result["error"] == "model_error"
    assert "404" in result["message"]
    assert "owner/tiny" in result["message"]


def test_a_server_that_is_not_a_hub(machine: Machine, hub: Hub) -> None:
    hub.files["tiny"] = b"<html>log in first</html>"
    result = machine.run("pull", HF_ENDPOINT=f"{hub.storage}/tiny?")
    assert result["error"] == "model_error"
    assert "like a model hub" in result["message"]


def test_a_missing_hash_is_recorded(machine: Machine, hub: Hub) -> None:
    assert machine.run("locate", sha256="")["error"] == "model_missing"

    assert machine.run("pull", sha256="")["sha256"] == SHA256
    assert machine.run("locate", sha256="")["path"] == str(machine.snapshot)

    other = WEIGHTS[::-1]
    machine.snapshot.write_bytes(other)
    refused = machine.run("locate", sha256="")
    assert refused["error"] == "model_corrupt"
    assert SHA256 in refused["message"]

    hub.files[KEY] = other  # the hub changed its mind
    refused = machine.run("pull", sha256="")
    assert refused["error"] == "model_corrupt"
    assert SHA256 in refused["message"]
    assert hashlib.sha256(other).hexdigest() in refused["message"]
    assert machine.run("locate", sha256="")["error"] == "model_missing"


def test_a_branch_is_pinned_to_its_first_commit(machine: Machine, hub: Hub) -> None:
    assert machine.run("locate", sha256="", revision="main")["error"] == "model_missing"
    assert machine.run("pull", sha256="", revision="main")["sha256"] == SHA256
    assert machine.run("locate", sha256="", revision="main")["path"] == str(machine.snapshot)
    machine.snapshot.unlink()
    requested = len(hub.requests)
    assert machine.run("pull", sha256="", revision="main")["path"] == str(machine.snapshot)
    assert all(REVISION in one.path for one in hub.requests[requested:] if one.place == "hub")

    machine.snapshot.unlink()
    hub.files[KEY] = b"another file on the branch"
    assert machine.run("pull", sha256="", revision="main")["error"] == "model_corrupt"


def test_the_hash_of_a_wrong_download_is_not_recorded(machine: Machine, hub: Hub) -> None:
    hub.claimed[KEY] = "0" * 64
    assert machine.run("pull", sha256="")["error"] == "model_corrupt"
    hub.claimed.clear()
    assert machine.run("pull", sha256="")["sha256"] == SHA256


def test_a_missing_hash_is_an_error(machine: Machine, hub: Hub) -> None:
    hub.claimed[KEY] = "1" * 40  # what the hub gives for a small file
    result = machine.run("pull", sha256="")
    assert result["error"] == "model_error"
    assert "SHA-256" in result["message"]
    assert hub.downloads() == []


def test_pulls_at_the_same_time_share_one_download(machine: Machine, hub: Hub) -> None:
    hub.cuts = [1000] * 4
    processes = [machine.start("pull") for _ in range(4)]
    results = [answer(process) for process in processes]
    assert {result.get("path") for result in results} == {str(machine.snapshot)}
    assert machine.snapshot.read_bytes() == WEIGHTS
    assert hub.downloads() == ["", *(f"bytes={n}000-" for n in range(1, 5))]


def test_a_cache_that_cannot_be_written(machine: Machine) -> None:
    (machine.home / "hf").write_text("a file stands in the way")
    result = machine.run("pull")
    assert result["error"] == "model_error"
    assert "HF_HOME" in result["hint"]

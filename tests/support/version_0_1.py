"""A collection, keys and jobs of version 0.1, and requests as a client of that version sends them.

The fixture was made once, by commit 26994a4, with the sources of that commit on the path::

    PYTHONPATH=OLD/src:tests/support python tests/support/version_0_1.py tests/fixtures/version-0.1 WORK

It contains synthetic images only. The requests are sent again to the present service: every field that version 0.1
answered must still be there.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from PIL import Image

SIDE = 160
IDS = ["17", "copy of seventeen.png", "ordner/zweites bild \u00e4.png"]
SETTINGS = {"IMAGEFINDER_SIFT_MAX_KEYPOINTS": "40"}


def picture(seed: int, *, brightness: float = 1.0) -> bytes:
    """An encoded image of blocks with enough detail for some dozen keypoints."""
    coarse = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    image = Image.fromarray((coarse * brightness).astype(np.uint8))
    buffer = io.BytesIO()
    image.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def conversation(client: httpx2.Client, read: str, write: str) -> dict[str, Any]:
    """Send requests in the words of version 0.1; label -> status and answer.

    Args:
        client: Of the running service.
        read: Key that may read.
        write: Key that may write.
    """
    answers: dict[str, Any] = {}

    def request(label: str, verb: str, path: str, *, key: str = read, **options: Any) -> Any:
        response = client.request(verb, path, headers={"Authorization": f"Bearer {key}"}, **options)
        is_json = "json" in response.headers.get("content-type", "")
        answers[label] = {"status": response.status_code, "answer": response.json() if is_json else None}
        return answers[label]["answer"]

    query = picture(17, brightness=0.8)
    base = "/v1/collections/default"
    for name in ("info", "limits", "methods", "collections"):
        request(name, "GET", f"/v1/{name}")
    request("collection", "GET", base)
    request("images", "GET", f"{base}/images")
    request("image", "GET", f"{base}/images/17")
    request("thumbnail", "GET", f"{base}/thumbnails/17")
    request("failures", "GET", f"{base}/failures")
    form = {"k": "2", "method": "auto", "mode": "exact", "verify": "true", "mirror": "true", "max_evalue": "1e6"}
    found = request("search", "POST", f"{base}/search", files={"image": query}, data=form)
    options = {
        "method": "sift",
        "verify": False,
        "boxes": [[0, 0, 120, 120]],
        "filter": {"seed": "17"},
        "min_score": 0,
    }
    request("search by id", "POST", f"{base}/search", json={"id": IDS[1], **options})
    request("search several", "POST", f"{base}/search", json={"queries": [{"id": "17"}, {"id": "gone"}], "k": 1})
    handle = found["explanations"]["handle"]
    request("answer", "GET", f"/v1/explanations/{handle}")
    request("query", "GET", f"/v1/explanations/{handle}/query")
    request("explanation", "GET", f"/v1/explanations/{handle}/images/17")
    request("drawing", "GET", f"/v1/explanations/{handle}/pictures/17")
    for name in ("explanation", "picture", "thumbnail"):
        request(f"link {name}", "GET", found["hits"][0][name])
    request("compare", "POST", "/v1/compare", files={"a": query, "b": picture(17)}, data={"method": "sift"})
    request("original", "POST", "/sift-similar-images?k=2", files={"image": query})
    request("wrong key", "GET", "/v1/jobs", key="wrong")
    request("read-only key", "POST", "/v1/jobs", json={"kind": "rebuild"})
    for kind in ("rebuild", "duplicates"):
        job = request(f"start {kind}", "POST", "/v1/jobs", key=write, json={"kind": kind, "collection": "default"})
        request(f"job {kind}", "GET", _when_ended(client, job["id"], write), key=write)
    job = request("start index", "POST", "/v1/jobs", key=write, json={"kind": "index", "csv": "url,id\n"})
    if job and "id" in job:
        request("job index", "GET", _when_ended(client, job["id"], write), key=write)
    request("duplicates", "GET", f"{base}/duplicates")
    request("jobs", "GET", "/v1/jobs")
    request("health", "GET", "/health")
    return answers


def _when_ended(client: httpx2.Client, job_id: str, key: str) -> str:
    path = f"/v1/jobs/{job_id}"
    end = time.monotonic() + 60
    while client.get(path, headers={"Authorization": f"Bearer {key}"}).json()["finished_at"] is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    return path


def _make(target: Path, work: Path) -> None:
    command = [sys.executable, "-m", "imagefinder"]
    environment = {
        **os.environ,
        **SETTINGS,
        "IMAGEFINDER_COLLECTION": str(work / "default"),
        "IMAGEFINDER_COLLECTIONS": str(work / "collections"),
        "IMAGEFINDER_STATE": str(work / "state"),
        "IMAGEFINDER_PORT": "0",
        "IMAGEFINDER_AUTH": "on",
    }

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    images = work / "images"
    images.mkdir(parents=True)
    rows = [("17", 17, 1.0), (IDS[1], 17, 0.9), (IDS[2], 2, 1.0), ("bad.png", 0, 0.0)]
    lines = ["url,id,seed"]
    for image_id, seed, brightness in rows:
        path = images / f"{seed}-{brightness}.png"
        path.write_bytes(picture(seed, brightness=brightness) if brightness else b"not an image")
        lines.append(f"{path},{image_id},{seed}")
    (work / "list.csv").write_text("\n".join(lines) + "\n")
    subprocess.run(
        [*command, "add", work / "list.csv", "--method", "sift", "--method", "efficientnet-lite0"],
        env=environment,
        check=False,
    )
    keys = {
        name: re.findall(r"\b[\w-]{30,}\b", run("keys", "create", name, *options))[0]
        for name, options in {"shop": (), "editor": ("--write",)}.items()
    }
    answers = _serve(
        command, environment, work / "log", lambda client: conversation(client, keys["shop"], keys["editor"])
    )
    target.mkdir()
    # The index of the larger method is left out: 1.3 MB, and derived from the features.
    left_out = shutil.ignore_patterns("shortlist-efficientnet-lite0")
    shutil.copytree(work / "default", target / "default", ignore=left_out)
    shutil.copytree(work / "state", target / "state")
    document = {"collection": str(work / "default"), "keys": keys, "answers": answers}
    (target / "answers.json").write_text(json.dumps(document) + "\n")


def _serve(command: list[str], environment: dict[str, str], log: Path, use: Callable[[httpx2.Client], Any]) -> Any:
    with log.open("w") as output:
        server = subprocess.Popen([*command, "serve"], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60
        while not (found := re.search(r"(http://127\S+\d)", log.read_text())):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        with httpx2.Client(base_url=found[1], timeout=60) as client:
            return use(client)
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    _make(Path(sys.argv[1]), Path(sys.argv[2]))

"""How are malformed and unusual image files handled, and do all interfaces agree?

All files of ``robust.tar.gz`` (960; its manifest lists what Pillow did with each in a limited child process):

* ``imagefinder add`` as a process, all files in one run;
* ``POST /sift-similar-images`` of a server process, one file after the other;
* ``Collection.search`` in a library process, one file after the other.

For each: the number of files read, the number refused by error code, the longest time of one file, and the peak
resident memory of the process and of its decode workers.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ARCHIVE = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data")) / "robust.tar.gz"
BOUNDARY = "----imagefinder-benchmark"
READ = "read"

# Few keypoints: this benchmark is about reading files, not about matching.
SETTINGS = {"IMAGEFINDER_SIFT_MAX_KEYPOINTS": "50", "IMAGEFINDER_SIFT_MAX_SIDE": "256"}

LIBRARY = """
import json, os, sys, time
import imagefinder
from imagefinder.core.errors import ImageError
with imagefinder.open(sys.argv[1], create=False, settings=imagefinder.Settings.load()) as collection:
    collection.warm("sift")
    for path in sys.stdin.read().split("\\n"):
        begin = time.perf_counter()
        try:
            collection.search(path, method="sift", ranking="matches", evalues=False, k=1)
            outcome = "read"
        except ImageError as error:
            outcome = error.code
        print(json.dumps([outcome, time.perf_counter() - begin]), flush=True)
"""


class Peak:
    """Peak resident memory of a running process and of its children, by polling."""

    def __init__(self, pid: int) -> None:
        self.process, self.worker = 0, 0
        self.workers: set[int] = set()
        self._pid, self._stop = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def to_dict(self) -> dict[str, float]:
        return {
            "process_mb": round(self.process / 2**20),
            "worker_mb": round(self.worker / 2**20),
            "workers_seen": len(self.workers),
        }

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            self.process = max(self.process, _high_water(self._pid))
            for child in _children(self._pid):
                self.workers.add(child)
                self.worker = max(self.worker, _high_water(child))


def main() -> None:
    from benchmarks.contract import write

    if not ARCHIVE.exists():
        print(f"skipped: no {ARCHIVE} (set BENCH_DATASETS)")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
        expect = json.loads((folder / "robust" / "manifest.json").read_text(encoding="utf-8"))["expect"]
        (folder / "files").mkdir()
        names = {}
        for number, name in enumerate(sorted(expect)):
            # Folders are scanned by file extension; the format is detected from the bytes.
            names[name] = folder / "files" / f"{number:03}.png"
            (folder / "robust" / name).rename(names[name])
        added, add = _add(folder, list(names.values()))
        served, server = _serve(folder, list(names.values()))
        searched, library = _search(folder, list(names.values()))
    pillow = {name: outcome["pillow"] for name, outcome in expect.items()}
    lost = [name for name, path in names.items() if pillow[name] == "ok" and added[path] != READ]
    differing = [n for n, path in names.items() if not added[path] == served[path] == searched[path]]
    write(
        "robust",
        {
            "files": len(names),
            "add": add,
            "server": server,
            "library": library,
            "they_differ_about": differing,
            "pillow": dict(Counter(pillow.values())),
            "pillow_reads_and_we_refuse": lost,
            "we_read_and_pillow_does_not": sum(
                added[path] == READ and pillow[name] != "ok" for name, path in names.items()
            ),
        },
    )


def _environment(folder: Path) -> dict[str, str]:
    places = {name: str(folder / name.lower()) for name in ("COLLECTION", "COLLECTIONS", "STATE", "MODELS")}
    return {**os.environ, **SETTINGS, **{f"IMAGEFINDER_{name}": place for name, place in places.items()}}


def _add(folder: Path, paths: list[Path]) -> tuple[dict[Path, str], dict[str, Any]]:
    command = [sys.executable, "-m", "imagefinder", "add", str(folder / "files"), "-m", "sift", "--json"]
    begin = time.perf_counter()
    with subprocess.Popen(
        command, env=_environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        with Peak(process.pid) as peak:
            out, _ = process.communicate()
        status = process.returncode
    report = json.loads(out)
    refused = {failure["id"]: failure["code"] for failure in report["failures"]}
    assert report["added"] + len(refused) == len(paths), "each file must be added or refused"
    assert all(failure["message"] for failure in report["failures"])
    outcomes = {path: refused.get(path.name, READ) for path in paths}
    return outcomes, {
        **_counts(outcomes),
        "seconds": round(time.perf_counter() - begin, 1),
        "exit_status": status,
        **peak.to_dict(),
    }


def _serve(folder: Path, paths: list[Path]) -> tuple[dict[Path, str], dict[str, Any]]:
    environment = {**_environment(folder), "IMAGEFINDER_PORT": "0"}
    command = [sys.executable, "-m", "imagefinder", "serve"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        url = ""
        for line in process.stderr:
            if found := re.search(r"listening on (http://\S+)", line):
                url = found[1]
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        with Peak(process.pid) as peak:
            outcomes, seconds = _one_by_one(paths, lambda path: _post(url, path))
            alive = process.poll() is None
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    assert alive, "the server must keep running"
    return outcomes, {
        **_counts(outcomes),
        "longest_seconds": round(max(seconds), 2),
        "exit_status": status,
        **peak.to_dict(),
    }


def _post(url: str, path: Path) -> str:
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{path.name}"\r\n\r\n'.encode()
        + path.read_bytes()
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    request = urllib.request.Request(f"{url}/sift-similar-images", body, kind)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            return READ
    except urllib.error.HTTPError as error:
        problem = json.loads(error.read())
        assert problem["detail"]
        return str(problem["code"])


def _search(folder: Path, paths: list[Path]) -> tuple[dict[Path, str], dict[str, Any]]:
    command = [sys.executable, "-c", LIBRARY, str(folder / "collection")]
    outcomes, seconds = {}, []
    with subprocess.Popen(
        command, env=_environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        with Peak(process.pid) as peak:
            process.stdin.write("\n".join(map(str, paths)))
            process.stdin.close()
            for path in paths:
                outcomes[path], took = json.loads(process.stdout.readline())
                seconds.append(took)
        process.stdout.read()
        status = process.wait(60)
    return outcomes, {
        **_counts(outcomes),
        "longest_seconds": round(max(seconds), 2),
        "exit_status": status,
        **peak.to_dict(),
    }


def _one_by_one(paths: list[Path], send: Callable[[Path], str]) -> tuple[dict[Path, str], list[float]]:
    outcomes, seconds = {}, []
    for path in paths:
        begin = time.perf_counter()
        outcomes[path] = send(path)
        seconds.append(time.perf_counter() - begin)
    return outcomes, seconds


def _counts(outcomes: dict[Path, str]) -> dict[str, Any]:
    counts = Counter(outcomes.values())
    return {"read": counts.pop(READ, 0), "refused": dict(sorted(counts.items()))}


def _children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


def _high_water(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), 0)

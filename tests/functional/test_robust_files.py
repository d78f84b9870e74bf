"""Files of users, cameras and attackers: each is indexed or rejected with a reason, through every interface.

The 960 files of ``shared/data/robust.tar.gz`` lie beside some checkouts only; elsewhere their tests are skipped.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from evil_decoder import CRASH, GREED, LOOP, program
from PIL import Image
from starlette.testclient import TestClient

import imagefinder
from imagefinder.core.errors import ImageError
from imagefinder.core.settings import Settings
from imagefinder.images.decoding import pool as pool_module
from imagefinder.indexing.source_item import is_image_name
from imagefinder.server.app import create_app
from imagefinder.wiring import make_decoder

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
ARCHIVE = DATA / "robust.tar.gz"
REFUSALS = {"damaged_image", "not_an_image", "empty_image", "image_too_large"}
PEAK = 512 << 20  # peak memory of a worker for these files, bytes; the largest has 81 megapixels

needs_files = pytest.mark.skipif(not ARCHIVE.exists(), reason=f"needs {ARCHIVE.name} in the folder shared/data")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every file as (name, path, what Pillow made of it)."""
    folder = tmp_path_factory.mktemp("robust")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    root = folder / "robust"
    expect = json.loads((root / "manifest.json").read_text(encoding="utf-8"))["expect"]
    return [(name, root / name, outcome) for name, outcome in expect.items()]


@pytest.fixture(scope="module")
def sample(files):
    """The smallest file of each kind: format and mode, or the error message; and all malicious ones."""
    kinds = {}
    for name, path, outcome in sorted(files, key=lambda file: file[2]["bytes"]):
        error = outcome.get("error", "")
        kind = ("bomb", name) if "bomb" in name else (outcome["pillow"], outcome.get("format"), error[:25])
        kinds.setdefault(kind, (name, path, outcome))
    return list(kinds.values())


@needs_files
def test_every_file_is_read_or_refused(files):
    """No crash and no timeout, which have other error codes. Files that Pillow can read are decoded."""
    settings = Settings()
    decoder = make_decoder(settings)
    peaks = {}

    def outcome(path):
        data = path.read_bytes()
        try:
            decoded = decoder.decode(
                data, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels
            )
        except ImageError as error:
            return error.code if error.message else "no reason"
        finally:
            for worker in list(decoder._all):
                peaks[worker._process.pid] = high_water(worker._process.pid)
        assert decoded.rgb.shape == (decoded.height, decoded.width, 3)
        return "ok"

    with ThreadPoolExecutor(settings.threads) as threads:
        outcomes = list(threads.map(outcome, [path for _, path, _ in files]))
    decoder.close()
    assert set(outcomes) <= REFUSALS | {"ok"}
    for (name, _, expected), got in zip(files, outcomes, strict=True):
        if expected["pillow"] == "ok":
            assert got == "ok", name
    assert Counter(outcomes)["ok"] >= 684
    assert len(peaks) <= settings.threads, "a worker was lost"
    assert max(peaks.values()) < PEAK


@needs_files
def test_every_file_has_a_preview_or_is_refused_in_the_same_way(files):
    """Previews are rendered from what is decoded for features, in the same workers; no file ends one."""
    settings = Settings()
    decoder = make_decoder(settings)
    limits = {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}

    def outcome(path):
        data = path.read_bytes()
        try:
            decoded = decoder.decode(data, **limits)
            size = decoded.width, decoded.height
        except ImageError as error:
            size = error.code
        try:
            rendered = decoder.render(data, side=400, **limits)
        except ImageError as error:
            return size == error.code
        with Image.open(io.BytesIO(rendered.data)) as preview:
            preview.load()
            shown = preview.mode, not preview.getexif(), "icc_profile" not in preview.info
        factor = min(1, 400 / max(size))
        expected = tuple(max(1, round(length * factor)) for length in size)
        close = all(abs(a - b) <= 1 for a, b in zip(preview.size, expected, strict=True))
        return shown == ("RGB", True, True) and close

    with ThreadPoolExecutor(settings.threads) as threads:
        outcomes = list(threads.map(outcome, [path for _, path, _ in files]))
    workers = len(decoder._all)
    decoder.close()
    assert [name for (name, *_), right in zip(files, outcomes, strict=True) if not right] == []
    assert workers <= settings.threads


def high_water(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), 0)


@needs_files
def test_add_search_and_the_server_agree(sample, tmp_path):
    names = {}
    folder = tmp_path / "files"
    folder.mkdir()
    for number, (name, path, _) in enumerate(sample):
        link = folder / f"{number:03}.png"  # folders are looked through for endings; the bytes say what it is
        link.write_bytes(path.read_bytes())
        names[link.name] = name
    limits = {"max_local_bytes": 64 << 20, "max_local_pixels": 150_000_000}  # those of uploads
    chosen = {"sift_max_keypoints": 50, "sift_max_side": 256, **limits}
    environment = os.environ | {f"IMAGEFINDER_{name.upper()}": str(value) for name, value in chosen.items()}
    command = [sys.executable, "-m", "imagefinder", "-c", str(tmp_path / "c"), "add", str(folder), "-m", "sift"]
    done = subprocess.run([*command, "--json"], capture_output=True, env=environment, timeout=250, check=False)
    assert done.returncode == 1, "some of them are refused"
    assert done.stderr == b"", "nothing that a library in C remarks comes through"
    report = json.loads(done.stdout)
    refused = {failure["id"]: failure["code"] for failure in report["failures"]}
    assert set(refused.values()) <= REFUSALS
    assert all(failure["message"] for failure in report["failures"])
    assert len(refused) + report["added"] == len(names)

    settings = Settings(collection=tmp_path / "c", **chosen)
    queried, served = {}, {}
    with (
        imagefinder.open(settings=settings) as collection,
        TestClient(create_app(collection), "http://localhost") as client,
    ):
        for name in names:
            data = (folder / name).read_bytes()
            try:
                found = collection.search(folder / name, method="sift", ranking="matches", evalues=False, k=1)
                assert len(found.hits) == 1
            except ImageError as error:
                queried[name] = error.code
            answer = client.post("/sift-similar-images", files={"image": (name, data)})
            if answer.status_code != 200:
                served[name] = answer.json()["code"]
                assert answer.status_code in (413, 415, 422)
                assert answer.json()["detail"]
    assert queried == refused, {names[n] for n in names if queried.get(n) != refused.get(n)}
    assert served == refused


def test_files_that_crash_decoders_affect_only_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "_CODE", program(pool_module._CODE))
    folder = tmp_path / "files"
    shutil.copytree(ROOT / "examples" / "pictures", folder)
    good = sum(is_image_name(path.name) for path in folder.iterdir())
    for name, data in {"crash": CRASH, "loop": LOOP, "greed": GREED}.items():
        (folder / f"{name}.png").write_bytes(data)
    codes = {"crash.png": "decoder_crashed", "loop.png": "decode_timeout", "greed.png": "image_too_large"}
    settings = Settings(store="memory", decode_seconds=3.0, decode_memory=256 << 20, sift_max_side=256)
    with (
        imagefinder.open(settings=settings) as collection,
        TestClient(create_app(collection), "http://localhost") as client,
    ):
        report = collection.add(folder, methods=["sift"])
        assert report.added == good
        assert {failure.id: failure.code for failure in report.failures} == codes
        assert {failure.id: failure.code for failure in collection.failures()} == codes
        for name, code in codes.items():
            with pytest.raises(ImageError) as caught:
                collection.search(folder / name, method="sift", ranking="matches", evalues=False)
            assert caught.value.code == code
            answer = client.post("/sift-similar-images", files={"image": (folder / name).read_bytes()})
            assert (answer.status_code, answer.json()["code"]) == (413 if name == "greed.png" else 422, code)
            assert not answer.json()["retryable"]
        answer = client.post("/sift-similar-images", files={"image": (folder / "cat.jpg").read_bytes()})
        assert answer.json()[0] == "cat.jpg"


@pytest.mark.skipif(not (DATA / "exif_orientation").exists(), reason="needs exif_orientation in shared/data")
@pytest.mark.parametrize("method", ["sift", "efficientnet-lite0", "resnet50", "beit"])
def test_all_orientations_give_the_same_answer(method):
    root = DATA / "exif_orientation"
    queries = json.loads((root / "manifest.json").read_text(encoding="utf-8"))["queries"]
    with imagefinder.open(settings=Settings(store="memory", sift_max_side=400)) as collection:
        if not next(state for state in collection.methods() if state.name == method).ready:
            pytest.skip(f"the weights of {method} are not here")
        collection.add(root / "db", methods=[method])
        for query in queries:
            found = collection.search(root / query["query"], method=method, ranking="matches", evalues=False, k=1)
            assert f"db/{found.ids[0]}" in query["positives"], query["query"]

"""How long does it take to find the duplicates of a collection, and how long did it take before?

**Collections**, with ``sift`` and ``efficientnet-lite0``: the galleries of labelled datasets (``BENCH_SETS``), and
``made``: ``BENCH_IMAGES`` pictures made from those of all datasets with a fixed seed: half of the pictures as they
are, quarters of the others (enlarged to 640 pixels at most), and edited copies of both (at least a quarter).

``BEFORE`` names the folder of another checkout with its own virtual environment. Each checkout searches a copy of
``BEFORE`` names the folder of another checkout with its own virtual environment. Each checkout searches a copy
groups: kinds, ids and their order, relations, evidence, notes, spare files and reasons.

``cpu_s`` is the processor time of the process, ``wall_s`` what a person waits. ``seconds_of_10_000_images`` is an
extrapolation, in proportion to the number of images, each of which has about ten candidate pairs, and with two
cores that are always busy.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[2] / "shared" / "data"))
BEFORE = os.environ.get("BEFORE")
SETS = os.environ.get("BENCH_SETS", "copy,places,grocery,stamps,made").split(",")
IMAGES = int(os.environ.get("BENCH_IMAGES", "2000"))
METHODS = ("sift", "efficientnet-lite0")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SEED = 19


def main() -> None:
    from benchmarks import parts
    from benchmarks.contract import write

    results: dict[str, Any] = {}
    with parts.working_folder("duplicates") as folder:
        for name in SETS:
            collection = Path(folder) / name
            if not collection.is_dir() and not added(name, collection, Path(folder)):
                print(f"skipped {name}: no dataset in {DATASETS} (set BENCH_DATASETS)")
                continue
            found = {"after": run(sys.executable, collection)}
            if BEFORE:
                found["before"] = run(str(Path(BEFORE) / ".venv" / "bin" / "python"), collection)
            reports = [one.pop("report") for one in found.values()]
            results[name] = found | ({"equal_reports": reports[0] == reports[1]} if BEFORE else {})
            print(name, json.dumps(results[name]), flush=True)
    if results:
        write("duplicates", results)


def run(python: str, collection: Path) -> dict[str, Any]:
    """Find the duplicates in a copy of a collection, in a new process of a checkout."""
    copy = collection.with_name(f"{collection.name}-copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(collection, copy)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEFINDER_")}
    command = [python, "-P", os.path.abspath(__file__), str(copy)]  # noqa: PTH100
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    shutil.rmtree(copy)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def find(folder: str) -> None:
    """Print times and report; runs in the process of a checkout, with its version of imagefinder."""
    import imagefinder
    from imagefinder.core.serialization import to_json

    with imagefinder.open(folder) as collection:
        clock, start = time.monotonic(), time.process_time()
        report = collection.duplicates()
        seconds, waited = time.process_time() - start, time.monotonic() - clock
    answer = to_json(report)
    found = {
        "images": report.images,
        "candidates": report.candidates,
        "groups": len(report.groups),
        "pairs_with_a_relation": sum(len(group.pairs) for group in report.groups),
        "cpu_s": round(seconds, 1),
        "wall_s": round(waited, 1),
        "stages_wall_s": {stage: round(value, 1) for stage, value in report.timings.items()},
        "seconds_of_10_000_images": round(seconds / 2 / report.images * 10_000),
        "report": [answer["groups"], answer["images"], answer["candidates"], answer["verified"]],
    }
    print(json.dumps(found))


# -- collections ---------------------------------------------------------------------------------------------


def added(name: str, folder: Path, working: Path) -> bool:
    """Make a collection; false if there are no images for it."""
    import imagefinder
    from imagefinder.evaluation.datasets import read_manifest
    from imagefinder.evaluation.protocol import add_gallery

    if name == "made":
        pictures = working / "pictures"
        if not pictures.is_dir() and not make(pictures, IMAGES):
            return False
        with imagefinder.open(str(folder)) as collection:
            collection.add(str(pictures), methods=METHODS)
        return True
    if not (DATASETS / name / "manifest.json").is_file():
        return False
    with imagefinder.open(str(folder)) as collection:
        add_gallery(collection, read_manifest(DATASETS / name), METHODS)
    return True


def make(folder: Path, images: int) -> bool:
    """Write pictures to a folder; false if there are none to make them from."""
    generator = random.Random(SEED)
    files = sorted(path for path in DATASETS.glob("*/**/*") if path.suffix.lower() in SUFFIXES)
    generator.shuffle(files)
    folder.mkdir()
    made: list[Path] = []
    for number, path in enumerate(files):
        if len(made) > images * 3 // 4:
            break
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        whole = max(picture.size) < 300 or generator.random() < 0.5
        for part, one in enumerate([picture] if whole else quarters(picture)):
            made.append(folder / f"{number:05d}-{part}.jpg")
            one.save(made[-1], quality=90)
    for number in range(images - len(made) if made else 0):
        path = generator.choice(made)
        edit = generator.choice(list(EDITS))
        with Image.open(path) as opened:
            edited = EDITS[edit](opened.convert("RGB"), generator.random())
        edited.save(folder / f"{path.stem}-{edit}-{number}.jpg", quality=25 if edit == "compressed" else 88)
    return bool(made)


def quarters(picture: Image.Image) -> Iterator[Image.Image]:
    """The four quarters, which have no pixel in common."""
    width, height = picture.width // 2, picture.height // 2
    factor = max(1.0, min(2.0, 640 / max(width, height)))
    for x, y in ((0, 0), (width, 0), (0, height), (width, height)):
        quarter = picture.crop((x, y, x + width, y + height))
        yield quarter.resize((round(width * factor), round(height * factor)), Image.Resampling.LANCZOS)


def _resized(picture: Image.Image, share: float) -> Image.Image:
    factor = 0.4 + 0.5 * share
    size = max(8, round(picture.width * factor)), max(8, round(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _cropped(picture: Image.Image, share: float) -> Image.Image:
    x, y = round(0.3 * share * picture.width), round(0.2 * (1 - share) * picture.height)
    return picture.crop((x, y, picture.width - y, picture.height - x // 2)) if min(picture.size) > 60 else picture


EDITS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "compressed": lambda picture, _: picture,
    "resized": _resized,
    "cropped": _cropped,
    "lighter": lambda picture, share: ImageEnhance.Brightness(picture).enhance(0.7 + 0.6 * share),
    "mirrored": lambda picture, _: ImageOps.mirror(picture),
    "framed": lambda picture, _: ImageOps.expand(picture, picture.width // 20 + 1, (255, 255, 255)),
    "blurred": lambda picture, _: picture.filter(ImageFilter.GaussianBlur(1.2)),
    "grey": lambda picture, _: picture.convert("L").convert("RGB"),
}


if __name__ == "__main__":
    find(*sys.argv[1:])

"""Times of sorted listings, groups and filters of a large collection of small made pictures.

The pictures are made by this program, encoded as JPEG, and put into a store as images without features:

    python -m benchmarks.listings --images 100000 [--location FOLDER_OR_POSTGRESQL_URL]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import imagefinder
from imagefinder.core import filters
from imagefinder.core.contracts import Store
from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.listing import Order, Selection
from imagefinder.core.records import Entry, ImageRecord

CAMERAS = (
    "",
    "Canon EOS R5",
    "Canon EOS 80D",
    "Google Pixel 8",
    "Apple iPhone 15 Pro",
    "NIKON D750",
    "SONY ILCE-7M3",
)
TAGS = ("family", "holiday", "work", "cat", "garden", "print", "snow", "sea", "friends", "receipt")
PLACES = ("", "", "", "Rome", "Zürich", "Lisbon", "Oslo")
SIDE = 48
PAGE = 200
RUNS = 15


def made(total: int, seed: int = 1) -> Iterator[Entry]:
    """Pictures of twenty years in folders by year and event: their records, and small JPEGs as thumbnails."""
    chance, noise = random.Random(seed), np.random.default_rng(seed)
    start, seconds = datetime(2005, 1, 1), 20 * 365 * 86400
    for n in range(total):
        taken = start + timedelta(seconds=(n * seconds) // total + chance.randrange(3600))
        pixels = np.kron(noise.integers(0, 256, (4, 4, 3), np.uint8), np.ones((SIDE // 4, SIDE // 4, 1), np.uint8))
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=60)
        data = file.getvalue()
        said: dict[str, Any] = {"exif": {"taken": taken.isoformat()}}
        if camera := chance.choice(CAMERAS):
            said["exif"]["camera"] = camera
        if place := chance.choice(PLACES):
            said["iptc"] = {"city": place}
        if chance.random() < 0.3:
            said["xmp"] = {"rating": chance.randint(1, 5)}
        record = ImageRecord(
            id=f"{taken:%Y}/{taken:%m} event {n // 180 % 7}/IMG_{n:06}.jpg",
            uri=f"file:///pictures/{n}.jpg",
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data) + chance.randrange(5_000_000),
            width=SIDE,
            height=SIDE,
            format=chance.choices(("JPEG", "HEIC", "PNG", "DNG"), (70, 20, 5, 5))[0],
            stamp=f"{len(data)}:{int(taken.timestamp())}000000000:0:{n}",
            metadata={"tags": chance.sample(TAGS, 2)} if chance.random() < 0.4 else {},
            file_metadata=FileMetadata(said, "made", stack=str(n - (n % 10 == 1))),
        )
        yield Entry(record, {}, data)


def fill(store: Store, total: int) -> float:
    """Put the pictures, unless the store has them; returns the seconds."""
    started = time.perf_counter()
    batch: list[Entry] = []
    if store.info().images < total:
        for entry in made(total):
            batch.append(entry)
            if len(batch) == 1000:
                store.put(batch)
                batch = []
        store.put(batch)
    return time.perf_counter() - started


def cases(store: Store, total: int) -> dict[str, Callable[[], object]]:
    """Name -> call to measure."""
    newest, named = Order("taken", descending=True), Order("name")
    middle = newest.position(store.listing(order=newest, offset=total // 2, limit=1)[0])
    camera = Selection(cameras=(CAMERAS[1],))
    narrow = Selection(cameras=(CAMERAS[1],), ratings=(5,), taken="2015")
    return {
        "first page by id": lambda: store.listing(limit=PAGE),
        "first page, newest first": lambda: store.listing(order=newest, limit=PAGE),
        "first page by name": lambda: store.listing(order=named, limit=PAGE),
        "page after a cursor in the middle": lambda: store.listing(order=newest, after=middle, limit=PAGE),
        "jump to the middle": lambda: store.listing(order=newest, offset=total // 2, limit=PAGE),
        "jump to the end by name": lambda: store.listing(order=named, offset=total - PAGE, limit=PAGE),
        "jump to a month": lambda: store.listing(Selection(taken="2015-05"), newest, limit=PAGE),
        "groups by day": lambda: store.groups("day"),
        "groups by month": lambda: store.groups("month"),
        "folder tree": lambda: store.groups("folder"),
        "facet camera": lambda: store.groups("camera"),
        "facet place": lambda: store.groups("place"),
        "facet rating": lambda: store.groups("rating"),
        "facet format": lambda: store.groups("format"),
        "facet tag": lambda: store.groups("tag"),
        "one camera, newest first": lambda: store.listing(camera, newest, limit=PAGE),
        "one camera, jump to the middle": lambda: store.listing(camera, newest, offset=total // 14, limit=PAGE),
        "one camera, groups by day": lambda: store.groups("day", camera),
        "one camera, facet format": lambda: store.groups("format", camera),
        "one camera, facet tag": lambda: store.groups("tag", camera),
        "one tag, newest first": lambda: store.listing(Selection(tags=(TAGS[0],)), newest, limit=PAGE),
        "three filters, newest first": lambda: store.listing(narrow, newest, limit=PAGE),
        "a folder with subfolders": lambda: store.listing(Selection(folder="2015"), newest, limit=PAGE),
        "one image of each stack, newest first": lambda: store.listing(
            Selection(collapsed=True), newest, limit=PAGE
        ),
        "one image of each stack, groups by month": lambda: store.groups("month", Selection(collapsed=True)),
        "filter on the time taken": lambda: store.listing(
            Selection(where=filters.parse({"exif.taken": {"gte": "2015-05", "lt": "2015-06"}})), newest, limit=PAGE
        ),
        "text in names": lambda: store.listing(Selection(contains="IMG_0999"), newest, limit=PAGE),
        "metadata filter": lambda: store.listing(
            Selection(where=filters.parse({"exif.camera": CAMERAS[1]})), newest, limit=PAGE
        ),
    }


def main() -> None:
    """Fill a collection, and print the times as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--location", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        location = options.location or str(Path(folder) / "collection")
        with imagefinder.open(location) as collection:
            seconds = fill(collection.store, options.images)
            started = time.perf_counter()
            collection.store.groups("year")
            derived = time.perf_counter() - started
            found = {}
            for name, call in cases(collection.store, options.images).items():
                call()
                times = []
                for _ in range(RUNS):
                    started = time.perf_counter()
                    call()
                    times.append(1000 * (time.perf_counter() - started))
                found[name] = {"median": round(statistics.median(times), 1), "max": round(max(times), 1)}
    print(
        json.dumps(
            {"put seconds": round(seconds, 1), "rows due seconds": round(derived, 1), "ms": found}, indent=1
        )
    )


if __name__ == "__main__":
    main()

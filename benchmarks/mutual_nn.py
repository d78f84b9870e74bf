"""What does one exact SIFT comparison cost against the original program and OpenCV's matcher?

300 images of 1 290 descriptors each (seeded; sparse like SIFT's, a tenth of each image's descriptors are noisy
copies of the query's, so that there is something to find), one query of 423.

* ``original``: read one ``.npy`` of float32 per image, product, two argmax (the yardstick)
* ``original in memory``: the same without reading
* ``OpenCV``: ``BFMatcher(NORM_L2, crossCheck=True)`` per image (nearest by distance, not by product: SIFT
  descriptors have nearly one length, so its counts are close to ours and not equal)
* ``imagefinder``: ``kernels.mutual_nn.count`` over the ragged gallery
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.contract import alternate, ratios, spread, write
from imagefinder.kernels import mutual_nn

IMAGES, ROWS, QUERY_ROWS = 300, 1290, 423


def main() -> None:
    generator = np.random.default_rng(0)
    query = sift_like(generator, QUERY_ROWS)
    images = []
    for _ in range(IMAGES):
        rows = sift_like(generator, ROWS)
        copies = generator.choice(QUERY_ROWS, ROWS // 10, replace=False)
        noise = generator.integers(-20, 21, (len(copies), 128))
        rows[: len(copies)] = np.clip(query[copies].astype(int) + noise, 0, 255)
        images.append(rows)
    gallery, offsets = np.concatenate(images), np.arange(IMAGES + 1, dtype=np.int64) * ROWS
    as_floats = [rows.astype(np.float32) for rows in images]
    query_floats = query.astype(np.float32)
    matcher = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)

    def original(rows: list[np.ndarray]) -> list[int]:
        counts = []
        for candidate in rows:
            products = query_floats @ candidate.T
            best_column, best_row = products.argmax(1), products.argmax(0)
            counts.append(int((best_row[best_column] == np.arange(len(query))).sum()))
        return counts

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.npy" for number in range(IMAGES)]
        for file, rows in zip(files, as_floats, strict=True):
            np.save(file, rows)
        expected = original(as_floats)
        assert mutual_nn.count(query, gallery, offsets).tolist() == expected
        seconds = alternate(
            {
                "original": lambda: original([np.load(file) for file in files]),
                "original in memory": lambda: original(as_floats),
                "OpenCV": lambda: [len(matcher.match(query_floats, rows)) for rows in as_floats],
                "imagefinder": lambda: mutual_nn.count(query, gallery, offsets),
            },
            rounds=5,
        )
    write(
        "mutual_nn",
        {
            "setting": {"images": IMAGES, "descriptors": IMAGES * ROWS, "query_descriptors": QUERY_ROWS},
            "seconds_per_query": {name: spread(values) for name, values in seconds.items()},
            "times_as_fast_as_original": ratios(seconds, "original"),
            "counts_equal_the_original": True,
        },
    )


def sift_like(generator: np.random.Generator, rows: int) -> np.ndarray:
    """Sparse positive vectors of length about 512, clipped to bytes, as SIFT's are."""
    values = generator.gamma(0.4, 1.0, (rows, 128))
    return np.clip(values * (512 / np.linalg.norm(values, axis=1, keepdims=True)), 0, 255).astype(np.uint8)

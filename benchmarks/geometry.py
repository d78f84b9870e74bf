"""How fast are the matches and geometries of all candidates, and what do batches and native code save?

24 example pictures; an edited copy of each (rotated, cropped, reduced) is the query, and all 24 pictures are its
candidates: 576 pairs, most of which have only chance matches. One thread, CPU time per pair.

**matches**: ``kernels.mutual_nn.pairs_all``, which prepares a query once, and ``pairs`` for each pair.

**geometry**: ``kernels.geometry.fit_all`` for all candidates of a query, the same pair by pair, its definition in
NumPy, and OpenCV's homography by USAC (500 iterations; its inliers differ, so it is compared by time only).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.contract import spread, write
from imagefinder.core.batch_contracts import MatchedPair
from imagefinder.core.features import LocalFeatures
from imagefinder.extractors.sift import SiftExtractor
from imagefinder.kernels import geometry, geometry_numpy, mutual_nn

PICTURES = Path(__file__).parents[1] / "examples" / "pictures"
SIFT = SiftExtractor(max_side=640, max_keypoints=1000, threads=1)
ROUNDS = 7


def main() -> None:
    pictures = [Image.open(path).convert("RGB") for path in sorted(PICTURES.glob("*.jpg"))]
    queries = [features(edited(picture)) for picture in pictures]
    candidates = [features(picture) for picture in pictures]
    matched = [
        [
            MatchedPair(query, candidate, matches, size, candidate_size)
            for (candidate, candidate_size), matches in zip(candidates, found, strict=True)
        ]
        for (query, size), found in zip(queries, all_matches(queries, candidates), strict=True)
    ]
    pairs = [pair for some in matched for pair in some]
    for pair in pairs:
        assert np.array_equal(pair.matches, mutual_nn.pairs(descriptors(pair.query), descriptors(pair.candidate)))
    fitted, defined = geometry.fit_all(pairs, threads=1), [geometry_numpy.fit(pair) for pair in pairs]
    equal = sum(same(ours, twin) for ours, twin in zip(fitted, defined, strict=True))
    assert equal == len(pairs), f"{len(pairs) - equal} of {len(pairs)} geometries differ"
    write(
        "geometry",
        {
            "backend": mutual_nn.backend(),
            "setting": {
                "pairs": len(pairs),
                "pairs_with_a_geometry": sum(one is not None for one in fitted),
                "matches_per_pair": round(float(np.mean([len(pair.matches) for pair in pairs]))),
            },
            "geometries_equal_to_the_definition": equal,
            "matches_cpu_ms_per_pair": measured(
                {
                    "all candidates of a query": lambda: all_matches(queries, candidates),
                    "pair by pair": lambda: [
                        mutual_nn.pairs(descriptors(pair.query), descriptors(pair.candidate)) for pair in pairs
                    ],
                },
                len(pairs),
            ),
            "geometry_cpu_ms_per_pair": measured(
                {
                    "all candidates of a query": lambda: [geometry.fit_all(some, threads=1) for some in matched],
                    "pair by pair": lambda: [geometry.fit_all([pair], threads=1) for pair in pairs],
                    "definition in NumPy": lambda: [geometry_numpy.fit(pair) for pair in pairs],
                    "OpenCV, USAC": lambda: [usac(pair) for pair in pairs],
                },
                len(pairs),
            ),
        },
    )


def edited(picture: Image.Image) -> Image.Image:
    """An edited copy: rotated by 15 degrees, the middle two thirds, at 80 % of the size."""
    turned = picture.rotate(15, Image.Resampling.BICUBIC)
    w, h = picture.size
    return turned.crop((w // 6, h // 6, w * 5 // 6, h * 5 // 6)).resize((w * 8 // 15, h * 8 // 15))


def features(picture: Image.Image) -> tuple[LocalFeatures, tuple[int, int]]:
    return SIFT.extract([np.asarray(picture)]), picture.size


def descriptors(one: Any) -> Any:
    return one.descriptors


def all_matches(queries: list[Any], candidates: list[Any]) -> list[list[np.ndarray]]:
    rows = [candidate.descriptors for candidate, _ in candidates]
    return [mutual_nn.pairs_all(query.descriptors, rows, threads=1) for query, _ in queries]


def same(ours: geometry.FittedModel | None, twin: geometry.FittedModel | None) -> bool:
    if ours is None or twin is None:
        return ours is twin
    near = np.allclose(ours.matrix, twin.matrix, rtol=0, atol=1e-9 * np.abs(twin.matrix).max())
    return ours.model == twin.model and np.array_equal(ours.inliers, twin.inliers) and bool(near)


def usac(pair: MatchedPair) -> object:
    if len(pair.matches) < 10:
        return None
    here, there = pair.query.keypoints[pair.matches[:, 0], :2], pair.candidate.keypoints[pair.matches[:, 1], :2]
    return cv2.findHomography(here, there, cv2.USAC_DEFAULT, 0.006 * np.hypot(*pair.candidate_size), maxIters=500)


def measured(runs: dict[str, Callable[[], object]], pairs: int) -> dict[str, Any]:
    """CPU milliseconds per pair: one warm-up, then alternating rounds."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(ROUNDS + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if round_:
                taken[name].append(1000 * (time.process_time() - start) / pairs)
    baseline = median(taken["all candidates of a query"])
    return {
        name: {key: round(value, 4) for key, value in spread(values).items()}
        | {"times_the_first": round(median(values) / baseline, 2)}
        for name, values in taken.items()
    }

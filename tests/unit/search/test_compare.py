from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from runtimes import runtime

from imagefinder.core.serialization import to_json
from imagefinder.core.settings import Settings
from imagefinder.core.stopwatch import Stopwatch
from imagefinder.search.compare import compare
from imagefinder.search.encoding import query_image
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import load_method

SETTINGS = Settings(threads=1)


@pytest.fixture(scope="module")
def sift() -> Any:
    return load_method("sift", SETTINGS)


def compared(method: Any, a: Any, b: Any) -> Any:
    return compare(runtime(SETTINGS), method, query_image(a), query_image(b), watch=Stopwatch())


def scene(seed: int) -> Any:
    return np.kron(textured_image(seed, 150, 200), np.ones((2, 2, 1), dtype=np.uint8))


def test_the_same_image(sift: Any) -> None:
    result = compared(sift, scene(1), scene(1))
    assert result.relation == "identical"
    assert 0.9 * result.features_a < result.score <= result.features_a == result.features_b
    assert result.evidence.agreement > 0.9
    assert {"extract", "match", "verify", "total"} <= set(result.timings)
    assert to_json(result)["evidence"]["inliers"] == result.evidence.inliers


def test_part_of_and_contains(sift: Any) -> None:
    part = np.ascontiguousarray(scene(2)[40:260, 30:250])
    assert compared(sift, part, scene(2)).relation == "part of"
    whole = compared(sift, scene(2), part)
    assert whole.relation == "contains"
    assert whole.evidence.found_by == "keypoints"
    assert whole.evidence.transform[0][2] == pytest.approx(-30, abs=2)


def test_a_mirror_image(sift: Any) -> None:
    result = compared(sift, np.ascontiguousarray(scene(3)[:, ::-1]), scene(3))
    assert result.evidence.mirrored
    assert result.relation == "edited copy"


def test_different_images(sift: Any) -> None:
    result = compared(sift, scene(4), scene(5))
    assert result.relation is None


def test_a_method_without_keypoints_compares_thumbnails(sift: Any) -> None:
    blind = replace(sift, verifier=None, mirror=None)
    result = compared(blind, np.ascontiguousarray(scene(6)[20:, 20:]), scene(6))
    assert result.evidence.found_by == "thumbnails"
    assert result.relation in {"edited copy", "part of"}


def test_images_without_content(sift: Any) -> None:
    result = compared(sift, np.zeros((30, 30, 3), np.uint8), np.full((40, 30, 3), 255, np.uint8))
    assert (result.score, result.evidence, result.relation) == (0, None, None)

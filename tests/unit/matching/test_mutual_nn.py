"""Threads of the matcher; its results are tested by the conformance suite and with the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imagefinder.core.features import FeatureSpec
from imagefinder.core.settings import Settings
from imagefinder.kernels import mutual_nn, threads
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.testing.matchers import random_features
from imagefinder.wiring import load_method

SPEC = FeatureSpec("local", 128, "uint8")


@pytest.mark.parametrize("matcher", [MutualNNMatcher(threads=3), load_method("sift", Settings(threads=3)).matcher])
def test_scores_use_at_most_the_configured_threads(matcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    real = mutual_nn._counts

    def counts(*arguments: Any) -> Any:
        used.append(arguments[-1])
        return real(*arguments)

    monkeypatch.setattr(mutual_nn, "_counts", counts)
    monkeypatch.setattr(threads, "cores", lambda: 8)
    query, gallery = random_features(SPEC, [9], seed=1), random_features(SPEC, [5, 4])
    assert matcher.score(query, gallery).shape == matcher.score_near(query, gallery).scores.shape == (2,)
    assert used == [3, 3]


def test_computations_in_progress_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    monkeypatch.setattr(threads, "_running", 2)
    used: list[int] = []

    def counts(query: Any, gallery: Any, offsets: Any, least: Any, threads_: int) -> Any:
        used.append(threads_)
        zeros = np.zeros(len(offsets) - 1, dtype=np.int64)
        return mutual_nn.NearCounts(zeros, zeros, {})

    monkeypatch.setattr(mutual_nn, "_counts", counts)
    MutualNNMatcher(threads=2).score(random_features(SPEC, [9]), random_features(SPEC, [5]))
    assert used == [1]

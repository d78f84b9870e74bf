"""Geometries of many candidates at once, by matchers and verifiers with and without batch methods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imagefinder.core.batch_contracts import BatchMatcher, BatchVerifier
from imagefinder.core.errors import InputError
from imagefinder.core.serialization import to_json
from imagefinder.core.settings import Settings
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.search.encoding import EncodedQuery, augment, query_image
from imagefinder.search.geometry import find_geometries
from imagefinder.testing.extractors import textured_image
from imagefinder.verification.geometry import GeometryVerifier
from imagefinder.wiring import load_method


class OneByOneMatcher:
    """Without ``matches_all``."""

    def score(self, query: Any, gallery: Any) -> Any:
        return MutualNNMatcher().score(query, gallery)

    def matches(self, query: Any, candidate: Any) -> Any:
        return MutualNNMatcher().matches(query, candidate)


class OneByOneVerifier:
    """Without ``verify_all``; records the sizes of each call."""

    def __init__(self) -> None:
        self.sizes: list[Any] = []

    def verify(self, query: Any, candidate: Any, matches: Any, **sizes: Any) -> Any:
        self.sizes.append((sizes["query_size"], sizes["candidate_size"]))
        return GeometryVerifier().verify(query, candidate, matches, **sizes)


class OneWayVerifier(OneByOneVerifier):
    """Finds no geometry from small queries."""

    def verify(self, query: Any, candidate: Any, matches: Any, **sizes: Any) -> Any:
        return super().verify(query, candidate, matches, **sizes) if sizes["query_size"][0] >= 320 else None


@pytest.fixture(scope="module")
def sift() -> Any:
    return load_method("sift", Settings(threads=1))


def encoded(method: Any, image: Any, *, mirror: bool) -> Any:
    query = EncodedQuery(
        query_image(image), method.extractor.extract([image]), method.extractor.fingerprint(), indexed=True
    )
    return augment(method, query, mirror=mirror)


def compared(method: Any) -> Any:
    """Candidates: the same scene, another one, a blank one, its mirror image, a part."""
    scene = textured_image(1, 240, 320)
    images = [
        scene,
        textured_image(2, 240, 320),
        np.zeros((50, 60, 3), np.uint8),
        np.ascontiguousarray(scene[:, ::-1]),
        np.ascontiguousarray(scene[40:200, 60:300]),
    ]
    return [(method.extractor.extract([image]), (image.shape[1], image.shape[0])) for image in images]


def summary(findings: Any) -> Any:
    return [
        (
            to_json(one.evidence) if one.evidence else None,
            one.matches.tolist(),
            one.verification.inliers.tolist() if one.verification else None,
            one.query.flipped,
        )
        for one in findings
    ]


def test_the_methods_of_the_package_have_batches(sift: Any) -> None:
    assert isinstance(sift.matcher, BatchMatcher)
    assert isinstance(sift.verifier, BatchVerifier)
    assert not isinstance(OneByOneMatcher(), BatchMatcher)
    assert not isinstance(OneByOneVerifier(), BatchVerifier)


@pytest.mark.parametrize("both_orders", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_one_by_one_gives_the_same(sift: Any, both_orders: bool, threads: int) -> None:
    queries = encoded(sift, textured_image(1, 240, 320), mirror=True)
    candidates = compared(sift)
    found = find_geometries(sift, queries, candidates, both_orders=both_orders, threads=threads)
    assert [bool(one.evidence) for one in found] == [True, False, False, True, True]
    assert [one.query.flipped for one in found] == [False, False, False, True, False]
    assert found[3].evidence is not None
    assert found[3].evidence.mirrored
    assert all(one.candidate is features for one, (features, _) in zip(found, candidates, strict=True))
    slow = replace(sift, matcher=OneByOneMatcher(), verifier=OneByOneVerifier())
    assert summary(find_geometries(slow, queries, candidates, both_orders=both_orders)) == summary(found)
    alone = [find_geometries(sift, queries, [one], both_orders=both_orders)[0] for one in candidates]
    assert summary(alone) == summary(found)


def test_the_other_order_is_tried_where_there_is_no_geometry(sift: Any) -> None:
    scene = textured_image(1, 240, 320)
    part = np.ascontiguousarray(scene[40:200, 60:300])
    candidates = [(sift.extractor.extract([image]), (320, 240)) for image in (textured_image(2, 240, 320), scene)]
    one_way = replace(sift, verifier=OneWayVerifier())
    queries = encoded(sift, part, mirror=False)
    assert [one.evidence for one in find_geometries(one_way, queries, candidates)] == [None, None]
    other, found = find_geometries(one_way, queries, candidates, both_orders=True)
    assert one_way.verifier.sizes == [((320, 240), (240, 160))] * 2
    assert other.evidence is None
    assert found.evidence is not None
    assert found.verification is not None
    # The evidence and its inliers are those from the query to the candidate.
    assert found.evidence.transform[0][2] == pytest.approx(60, abs=2)
    assert found.evidence.candidate_outline[0] == pytest.approx((59.5, 39.5), abs=3)
    rows = {tuple(row) for row in found.matches.tolist()}
    assert {tuple(row) for row in found.verification.inliers.tolist()} <= rows


def test_no_candidates(sift: Any) -> None:
    assert find_geometries(sift, encoded(sift, textured_image(1, 60, 60), mirror=True), []) == []


def test_methods_without_a_verifier_are_rejected(sift: Any) -> None:
    queries = encoded(sift, textured_image(1, 60, 60), mirror=False)
    with pytest.raises(InputError, match="no geometry to verify"):
        find_geometries(replace(sift, verifier=None), queries, [])

"""Geometries between a query and its candidates, by the features of one method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.batch_contracts import BatchMatcher, BatchVerifier, MatchedPair
from imagefinder.core.contracts import Matcher, Verification, Verifier
from imagefinder.core.errors import InputError
from imagefinder.core.features import Features
from imagefinder.core.method import Method
from imagefinder.core.results import Evidence, Outline, Size
from imagefinder.search.encoding import EncodedQuery


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """The result of comparing a query with one candidate by the features of one method.

    Attributes:
        method: The method.
        query: The query that was compared: itself or its mirror image.
        candidate: Features of the candidate as a batch of one.
        matches: ``(M, 2)`` int64, descriptor indices in ``query.features`` and ``candidate``.
        verification: The geometry, in pixels of the query itself; ``None`` if none was found.
    """

    method: Method
    query: EncodedQuery
    candidate: Features
    matches: NDArray[np.int64]
    verification: Verification | None

    @property
    def evidence(self) -> Evidence | None:
        """The evidence of the geometry; ``None`` if none was found."""
        return self.verification.evidence if self.verification else None


def find_geometries(
    method: Method,
    queries: Sequence[EncodedQuery],
    compared: Sequence[tuple[Features, Size]],
    *,
    matches: Sequence[NDArray[np.int64] | None] = (),
    both_orders: bool = False,
    threads: int = 1,
) -> list[Finding]:
    """Find a geometry between each candidate and the query or its mirror image, whichever has more inliers.

    Args:
        method: The method of the features.
        queries: The query, and possibly its mirror image.
        compared: The candidates: features as a batch of one, and size.
        matches: For a single query, its matches with each candidate, where they are known.
        both_orders: If there is no geometry from query to candidate, one from the candidate to the query will do.
        threads: Maximum number of threads.

    Raises:
        InputError: the method has no verifier.
    """
    verifier = verifier_of(method)
    views = []
    for query in queries:
        every = _matches(method, query.features, [features for features, _ in compared], threads, known=matches)
        pairs = [
            MatchedPair(query.features, features, matches, query.size, size)
            for (features, size), matches in zip(compared, every, strict=True)
        ]
        found = _verified(verifier, pairs, threads)
        if both_orders:
            again = [number for number, one in enumerate(found) if one is None]
            back = _verified(verifier, [_reversed(pairs[number]) for number in again], threads)
            for number, one in zip(again, back, strict=True):
                found[number] = one and Verification(_inverse(one.evidence), one.inliers[:, ::-1])
        views.append([_finding(method, query, pair, one) for pair, one in zip(pairs, found, strict=True)])
    return [
        max(each, key=lambda finding: finding.evidence.inliers if finding.evidence else 0)
        for each in zip(*views, strict=True)
    ]


def _matches(
    method: Method,
    query: Features,
    candidates: Sequence[Features],
    threads: int,
    *,
    known: Sequence[NDArray[np.int64] | None],
) -> list[NDArray[np.int64]]:
    matcher = method.matcher
    found = list(known) or [None] * len(candidates)
    missing = [candidate for candidate, matches in zip(candidates, found, strict=True) if matches is None]
    if missing and _matches_all(matcher):
        computed = iter(matcher.matches_all(query, missing, threads=threads))
    else:
        computed = (matcher.matches(query, candidate) for candidate in missing)
    return [next(computed) if matches is None else matches for matches in found]


def _verified(verifier: Verifier, pairs: Sequence[MatchedPair], threads: int) -> list[Verification | None]:
    if _verifies_all(verifier):
        return verifier.verify_all(pairs, threads=threads)
    return [
        verifier.verify(
            pair.query,
            pair.candidate,
            pair.matches,
            query_size=pair.query_size,
            candidate_size=pair.candidate_size,
        )
        for pair in pairs
    ]


@cache
def _provides(kind: type, contract: type) -> bool:
    """Whether the objects of a class fulfil an optional contract; ``isinstance`` of protocols is slow."""
    return issubclass(kind, contract)


def _matches_all(matcher: Matcher) -> TypeGuard[BatchMatcher]:
    return _provides(type(matcher), BatchMatcher)


def _verifies_all(verifier: Verifier) -> TypeGuard[BatchVerifier]:
    return _provides(type(verifier), BatchVerifier)


def _reversed(pair: MatchedPair) -> MatchedPair:
    """The same pair with the roles of query and candidate exchanged."""
    return MatchedPair(pair.candidate, pair.query, pair.matches[:, ::-1], pair.candidate_size, pair.query_size)


def _finding(method: Method, query: EncodedQuery, pair: MatchedPair, found: Verification | None) -> Finding:
    if found and query.flipped:
        found = replace(found, evidence=_unflipped(found.evidence, query.size[0]))
    return Finding(method, query, pair.candidate, pair.matches, found)


def verifier_of(method: Method) -> Verifier:
    """The verifier of a method.

    Raises:
        InputError: the method has no verifier.
    """
    if method.verifier is None:
        raise InputError(
            f"{method.name} has no keypoints, so there is no geometry to verify",
            hint="use a method with keypoints, for example sift",
        )
    return method.verifier


def _inverse(evidence: Evidence) -> Evidence:
    """Evidence with the roles of query and candidate exchanged."""
    inverse = np.linalg.inv(np.array(evidence.transform))
    rows = (inverse / inverse[2, 2]).tolist()
    return replace(
        evidence,
        transform=(tuple(rows[0]), tuple(rows[1]), tuple(rows[2])),
        query_outline=evidence.candidate_outline,
        candidate_outline=evidence.query_outline,
        query_overlap=evidence.candidate_overlap,
        candidate_overlap=evidence.query_overlap,
    )


def _unflipped(evidence: Evidence, width: int) -> Evidence:
    """Convert evidence about the mirror image to pixels of the image itself."""
    flip = np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    rows = (np.array(evidence.transform) @ flip).tolist()
    at_query: list[tuple[float, float]] = [(width - 1 - x, y) for x, y in evidence.query_outline]
    top_left, top_right, bottom_right, bottom_left = evidence.candidate_outline
    outline: Outline = (at_query[0], at_query[1], at_query[2], at_query[3])
    return replace(
        evidence,
        transform=(tuple(rows[0]), tuple(rows[1]), tuple(rows[2])),
        mirrored=True,
        query_outline=outline,
        candidate_outline=(top_right, top_left, bottom_left, bottom_right),
    )

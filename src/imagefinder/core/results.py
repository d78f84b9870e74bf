"""What a search returns, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Matrix: TypeAlias = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
"""Row by row; takes ``(x, y, 1)`` to ``(x', y', 1)`` times a factor."""

Point: TypeAlias = tuple[float, float]
"""x to the right and y down, in pixels; the centre of the first pixel is ``(0, 0)``."""

Outline: TypeAlias = tuple[Point, Point, Point, Point]
"""The images of the corners top left, top right, bottom right, bottom left of a frame."""

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""

Ranking: TypeAlias = Literal["matches", "verified"]
"""By the matcher's score alone, or by what geometry confirms of it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One transform that explains many matches between two pictures.

    Attributes:
        inliers: How many matches it explains, each at a place of its own.
        matches: Of how many.
        model: The simplest kind of transform that explains them.
        transform: Query pixels to candidate pixels.
        mirrored: Whether the query is a mirror image of the candidate; the transform has it in it.
        query_outline: The frame of the candidate, drawn in the query; it may reach beyond the picture.
        candidate_outline: The frame of the query, drawn in the candidate.
        query_overlap: Part of the query's area that the candidate covers, between 0 and 1.
        candidate_overlap: Part of the candidate's area that the query covers.
    """

    inliers: int
    matches: int
    model: Literal["similarity", "affine", "homography"]
    transform: Matrix
    mirrored: bool
    query_outline: Outline
    candidate_outline: Outline
    query_overlap: float
    candidate_overlap: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "inliers": self.inliers,
            "matches": self.matches,
            "model": self.model,
            "transform": [list(row) for row in self.transform],
            "mirrored": self.mirrored,
            "query_outline": [list(point) for point in self.query_outline],
            "candidate_outline": [list(point) for point in self.candidate_outline],
            "query_overlap": self.query_overlap,
            "candidate_overlap": self.candidate_overlap,
        }


@dataclass(frozen=True, slots=True)
class Hit:
    """One image of the answer.

    Attributes:
        rank: 1 for the best.
        id: Of the image.
        score: What the matcher returned; higher is better.
        evidence: The geometry that was found; ``None`` where none was, or none was looked for.
    """

    rank: int
    id: str
    score: float
    evidence: Evidence | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form; it has ``evidence`` only where there is some."""
        found = {"evidence": self.evidence.to_dict()} if self.evidence else {}
        return {"rank": self.rank, "id": self.id, "score": self.score, **found}


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        hits: Best first; equal scores in order of id. Ranked by ``verified``, those with evidence come first, by
            inliers, then score, then id.
        method: Name of the method that answered.
        mode: ``exact``: every image was scored.
        fingerprint: Digest of what made the features (parameters, weights, version).
        searched: How many images were compared.
        timings: Stage (``decode``, ``extract``, ``match``, ``verify``, ``total``) -> seconds.
        ranking: ``matches``: by score; ``verified``: by geometry.
        verified: How many of the best by score were put to that test.
    """

    hits: tuple[Hit, ...]
    method: str
    mode: Literal["exact"]
    fingerprint: str
    searched: int
    timings: Mapping[str, float]
    ranking: Ranking = "matches"
    verified: int = 0

    @property
    def ids(self) -> list[str]:
        """The ids of the hits, best first."""
        return [hit.id for hit in self.hits]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "method": self.method,
            "mode": self.mode,
            "fingerprint": self.fingerprint,
            "searched": self.searched,
            "ranking": self.ranking,
            "verified": self.verified,
            "timings": dict(self.timings),
            "hits": [hit.to_dict() for hit in self.hits],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two images side by side.

    Attributes:
        method: Name of the method.
        fingerprint: Digest of what made the features.
        score: What the matcher returned.
        features_a: Descriptors of the first image (1 for global methods).
        features_b: Of the second.
        timings: Stage -> seconds.
    """

    method: str
    fingerprint: str
    score: float
    features_a: int
    features_b: int
    timings: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "method": self.method,
            "fingerprint": self.fingerprint,
            "score": self.score,
            "features_a": self.features_a,
            "features_b": self.features_b,
            "timings": dict(self.timings),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a stored image was found, or that nothing but chance speaks for it.

    Attributes:
        id: Of the stored image, the candidate.
        method: Name of the method.
        fingerprint: Digest of what made the features.
        score: What the matcher returned.
        evidence: The geometry that was found; ``None`` if there is none.
        matches: How many descriptors of the query have a partner in the candidate.
        inliers: The matches that the geometry explains: the place in the query and that in the candidate.
        query_size: Pixels that places in the query refer to.
        candidate_size: Pixels that places in the candidate refer to.
    """

    id: str
    method: str
    fingerprint: str
    score: float
    evidence: Evidence | None
    matches: int
    inliers: tuple[tuple[Point, Point], ...]
    query_size: Size
    candidate_size: Size

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "id": self.id,
            "method": self.method,
            "fingerprint": self.fingerprint,
            "score": self.score,
            "evidence": self.evidence.to_dict() if self.evidence else None,
            "matches": self.matches,
            "inliers": [[list(here), list(there)] for here, there in self.inliers],
            "query_size": list(self.query_size),
            "candidate_size": list(self.candidate_size),
        }

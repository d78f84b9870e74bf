"""What a search returns, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Hit:
    """One image of the answer.

    Attributes:
        rank: 1 for the best.
        id: Of the image.
        score: What the matcher returned; higher is better.
    """

    rank: int
    id: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"rank": self.rank, "id": self.id, "score": self.score}


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        hits: Best first; equal scores in order of id.
        method: Name of the method that answered.
        mode: ``exact``: every image was scored.
        fingerprint: Digest of what made the features (parameters, weights, version).
        searched: How many images were compared.
        timings: Stage (``decode``, ``extract``, ``match``, ``total``) -> seconds.
    """

    hits: tuple[Hit, ...]
    method: str
    mode: Literal["exact"]
    fingerprint: str
    searched: int
    timings: Mapping[str, float]

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

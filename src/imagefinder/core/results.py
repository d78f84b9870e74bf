"""What a search returns, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from imagefinder.core.records import AnnIndexState

Matrix: TypeAlias = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
"""Row by row; takes ``(x, y, 1)`` to ``(x', y', 1)`` times a factor."""

Point: TypeAlias = tuple[float, float]
"""x to the right and y down, in pixels; the centre of the first pixel is ``(0, 0)``."""

Outline: TypeAlias = tuple[Point, Point, Point, Point]
"""The images of the corners top left, top right, bottom right, bottom left of a frame."""

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""

Box: TypeAlias = tuple[float, float, float, float]
"""A part of a picture: x and y of its upper left corner, width, height, in pixels."""

Ranking: TypeAlias = Literal["matches", "evidence"]
"""By the matcher's score alone, or by all that speaks for a hit."""

Mode: TypeAlias = Literal["auto", "exact", "fast"]
"""``exact``: every image is scored. ``fast``: those that an index proposes. ``auto``: whichever suits the size."""

Decision: TypeAlias = Literal["match", "possible", "none"]
"""What an E-value says: at most 0.01, at most 1, or more."""

Relation: TypeAlias = Literal["identical", "edited copy", "part of", "contains", "same scene", "similar"]
"""What kind of hit it is, the query seen from its side: ``part of`` says that the query is part of the hit."""

AUTO = "auto"
"""Name of all methods of a collection together."""

LOOKS_ALIKE = 0.5
"""From this agreement on both show one picture. Edited copies have more, mostly far more; two packages with the
same logo, or two photographs of one house, have less: away from the logo nothing fits."""

NEARLY_ALL = 0.8
"""A picture is covered when this part of it is: a frame, or turning it by a few degrees, takes off so much."""


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
        found_by: ``keypoints`` or ``tokens`` of the method, ``closer look`` (keypoints of both pictures reduced,
            whatever the method), or ``frame`` (one picture laid on the other as it is; there are no inliers).
        method: Name of the method whose features it was found with; empty for a ``frame``.
        log10_chance: Logarithm to base 10 of how many transforms would explain as many matches if these lay
            anywhere; an upper bound.
        agreement: Part of what both pictures show that looks alike, once one is laid on the other: between 0 and
            1; ``None`` where that was not compared.
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
    found_by: Literal["keypoints", "tokens", "closer look", "frame"] = "keypoints"
    method: str = ""
    log10_chance: float = 0.0
    agreement: float | None = None

    @property
    def placement(self) -> Relation:
        """What two pictures that look alike are to one another, by which one covers which."""
        query_covered, candidate_covered = self.query_overlap >= NEARLY_ALL, self.candidate_overlap >= NEARLY_ALL
        if query_covered:
            return "edited copy" if candidate_covered else "part of"
        return "contains" if candidate_covered else "same scene"

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
            "found_by": self.found_by,
            "method": self.method,
            "log10_chance": self.log10_chance,
            "agreement": self.agreement,
        }


@dataclass(frozen=True, slots=True)
class MethodScore:
    """What one method says of one image.

    Attributes:
        score: What its matcher returned.
        evalue: How many images of the collection would reach that by chance.
    """

    score: float
    evalue: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"score": self.score, "evalue": self.evalue}


@dataclass(frozen=True, slots=True)
class Hit:
    """One image of the answer.

    Attributes:
        rank: 1 for the best.
        id: Of the image.
        score: What the matcher returned; of several methods together: minus the logarithm to base 10 of the
            E-value. Higher is better.
        evidence: The geometry that was found; ``None`` where none was, or none was looked for.
        evalue: How many images of this collection would do as well by chance; small is strong. ``None`` where
            that was not asked for.
        decision: What the E-value says; ``None`` without one.
        relation: What kind of hit it is; ``None`` where nothing was looked for.
        methods: What each method says of the image, as far as it was asked: name -> its score.
    """

    rank: int
    id: str
    score: float
    evidence: Evidence | None = None
    evalue: float | None = None
    decision: Decision | None = None
    relation: Relation | None = None
    methods: Mapping[str, MethodScore] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "rank": self.rank,
            "id": self.id,
            "score": self.score,
            "evalue": self.evalue,
            "decision": self.decision,
            "relation": self.relation,
            "evidence": self.evidence.to_dict() if self.evidence else None,
            "methods": {name: score.to_dict() for name, score in self.methods.items()},
        }


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        hits: Best first; equal ones in order of id.
        method: Name of the method that answered, or ``auto`` for all methods of the collection together.
        mode: ``exact``: every image was scored; ``fast``: those that an index proposed.
        fingerprints: Method that took part -> digest of what made its features (parameters, weights, version).
        searched: How many images were compared or could have been proposed for it.
        timings: Stage (``decode``, ``extract``, ``match``, ``verify``, ``calibrate``, ``total``) -> seconds.
        ranking: ``matches``: by score; ``evidence``: by E-value.
        verified: How many of the best were looked at closely, for geometry and for what they show.
        boxes: The parts of the query that were asked with; empty for the whole.
        query_size: Width and height of the query in pixels; zeros if that is not known.
    """

    hits: tuple[Hit, ...]
    method: str
    mode: Literal["exact", "fast"]
    fingerprints: Mapping[str, str]
    searched: int
    timings: Mapping[str, float]
    ranking: Ranking = "matches"
    verified: int = 0
    boxes: tuple[Box, ...] = ()
    query_size: Size = (0, 0)

    @property
    def ids(self) -> list[str]:
        """The ids of the hits, best first."""
        return [hit.id for hit in self.hits]

    @property
    def fingerprint(self) -> str:
        """The digests of all methods that took part, for people."""
        return " ".join(self.fingerprints.values())

    @property
    def decision(self) -> Decision | None:
        """Of the best hit: ``none`` says that nothing in the collection shows this; ``None`` without E-values."""
        if not self.hits:
            return "none" if self.ranking == "evidence" else None
        return self.hits[0].decision

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "method": self.method,
            "mode": self.mode,
            "fingerprints": dict(self.fingerprints),
            "searched": self.searched,
            "ranking": self.ranking,
            "verified": self.verified,
            "boxes": [list(box) for box in self.boxes],
            "decision": self.decision,
            "timings": dict(self.timings),
            "hits": [hit.to_dict() for hit in self.hits],
        }


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What became of the indexes of a collection.

    Attributes:
        indexes: One per method.
        problems: What was found wrong, for people; empty where nothing was looked for.
        seconds: How long it took.
    """

    indexes: tuple[AnnIndexState, ...]
    problems: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "indexes": [state.to_dict() for state in self.indexes],
            "problems": list(self.problems),
            "seconds": self.seconds,
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
        evidence: The geometry that was found, the first image being the query; ``None`` if there is none.
        relation: What the first is to the second; ``None`` where the evidence is too weak to say.
    """

    method: str
    fingerprint: str
    score: float
    features_a: int
    features_b: int
    timings: Mapping[str, float]
    evidence: Evidence | None = None
    relation: Relation | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "method": self.method,
            "fingerprint": self.fingerprint,
            "score": self.score,
            "features_a": self.features_a,
            "features_b": self.features_b,
            "evidence": self.evidence.to_dict() if self.evidence else None,
            "relation": self.relation,
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
        outliers: The matches that it does not explain, likewise.
        heat_of: Name of the pooled network that the heat is of; empty without heat.
        query_heat: What each cell of the query's grid contributes to that network's cosine, row by row; the sum is
            the cosine.
        candidate_heat: Likewise for the candidate; see ``candidate_from``.
        query_seen: The part of the query that its grid divides evenly, which is all that the network saw; the
            whole picture is ``(0, 0, width, height)``. Zeros without a grid.
        candidate_seen: Likewise for the candidate.
        candidate_from: What the candidate's heat was computed from: its unchanged ``file``, or its ``thumbnail``,
            whose sum is near the cosine only. Empty where there is no such heat.
        query_cell: Width and height in pixels of what one token of the query stands for; zeros for keypoints.
        candidate_cell: Likewise for the candidate.
        evalue: See ``Hit``.
        decision: See ``Hit``.
        relation: See ``Hit``.
        numbers: What the E-value was computed from: name -> number.
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
    outliers: tuple[tuple[Point, Point], ...] = ()
    heat_of: str = ""
    query_heat: tuple[tuple[float, ...], ...] = ()
    candidate_heat: tuple[tuple[float, ...], ...] = ()
    query_seen: Box = (0.0, 0.0, 0.0, 0.0)
    candidate_seen: Box = (0.0, 0.0, 0.0, 0.0)
    candidate_from: Literal["file", "thumbnail", ""] = ""
    query_cell: tuple[float, float] = (0.0, 0.0)
    candidate_cell: tuple[float, float] = (0.0, 0.0)
    evalue: float | None = None
    decision: Decision | None = None
    relation: Relation | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "id": self.id,
            "method": self.method,
            "fingerprint": self.fingerprint,
            "score": self.score,
            "evalue": self.evalue,
            "decision": self.decision,
            "relation": self.relation,
            "numbers": dict(self.numbers),
            "evidence": self.evidence.to_dict() if self.evidence else None,
            "matches": self.matches,
            "inliers": [[list(here), list(there)] for here, there in self.inliers],
            "outliers": [[list(here), list(there)] for here, there in self.outliers],
            "heat_of": self.heat_of,
            "query_heat": [list(row) for row in self.query_heat],
            "candidate_heat": [list(row) for row in self.candidate_heat],
            "query_seen": list(self.query_seen),
            "candidate_seen": list(self.candidate_seen),
            "candidate_from": self.candidate_from,
            "query_cell": list(self.query_cell),
            "candidate_cell": list(self.candidate_cell),
            "query_size": list(self.query_size),
            "candidate_size": list(self.candidate_size),
        }


DuplicateKind: TypeAlias = Literal["identical", "edited copies", "overlapping"]
"""What holds a group of duplicates together."""


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images of a collection that show the same.

    Attributes:
        a: Id of the one that is proposed to go, where one of them is.
        b: Id of the other.
        relation: Of ``a``, the query, to ``b``: ``part of`` says that ``a`` is part of ``b``.
        evidence: The geometry that was found, from ``a`` to ``b``; ``None`` for identical ones.
        agreement: See ``Evidence``.
    """

    a: str
    b: str
    relation: Relation
    evidence: Evidence | None = None
    agreement: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "a": self.a,
            "b": self.b,
            "relation": self.relation,
            "agreement": self.agreement,
            "evidence": self.evidence.to_dict() if self.evidence else None,
        }


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Images of a collection that show the same.

    Attributes:
        kind: ``identical``: the same bytes, or the same pixels. ``edited copies``: the same picture in other
            sizes, colours, encodings, with text and so on. ``overlapping``: parts of one another, or the same
            scene.
        ids: The one proposed to be kept comes first; of overlapping ones all are worth keeping.
        pairs: Which of them were compared, and what was found.
    """

    kind: DuplicateKind
    ids: tuple[str, ...]
    pairs: tuple[DuplicatePair, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"kind": self.kind, "ids": list(self.ids), "pairs": [pair.to_dict() for pair in self.pairs]}


@dataclass(frozen=True, slots=True)
class DuplicateReport:
    """The duplicates of a collection.

    Attributes:
        groups: Identical ones first, then edited copies, then overlapping ones; of each kind those first whose
            best image comes first.
        images: How many images were looked at.
        candidates: How many pairs the methods proposed.
        verified: How many pairs were looked at closely.
        methods: Names of the methods that took part.
        timings: Stage (``read``, ``propose``, ``verify``, ``group``, ``total``) -> seconds.
    """

    groups: tuple[DuplicateGroup, ...]
    images: int
    candidates: int
    verified: int
    methods: tuple[str, ...]
    timings: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "images": self.images,
            "candidates": self.candidates,
            "verified": self.verified,
            "methods": list(self.methods),
            "timings": dict(self.timings),
            "groups": [group.to_dict() for group in self.groups],
        }

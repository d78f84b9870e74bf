"""What a search returns, as data; ``core.serialization`` gives the JSON form of all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from imagefinder.core.serialization import Described

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
    """One transform that explains many matches between two pictures."""

    inliers: int
    """Number of matches that the transform explains, each at a place of its own."""

    matches: int
    """Number of matches it was fitted to."""

    model: Literal["similarity", "affine", "homography"]
    """The simplest kind of transform that explains them."""

    transform: Matrix
    """Query pixels to candidate pixels."""

    mirrored: bool
    """Whether the query is a mirror image of the candidate; the transform includes the mirroring."""

    query_outline: Outline
    """The frame of the candidate, drawn in the query; it may reach beyond the picture."""

    candidate_outline: Outline
    """The frame of the query, drawn in the candidate."""

    query_overlap: float
    """Part of the query's area that the candidate covers, between 0 and 1."""

    candidate_overlap: float
    """Part of the candidate's area that the query covers, between 0 and 1."""

    found_by: Literal["keypoints", "tokens", "thumbnails", "whole image"] = "keypoints"
    """What was compared: the ``keypoints`` or ``tokens`` of the method, keypoints of both ``thumbnails`` (with any
    method), or the ``whole image``: both images at the same size, without matches, so there are no inliers."""

    method: str = ""
    """Name of the method whose features matched; empty where no method's features were used."""

    log10_chance: float = 0.0
    """Logarithm to base 10 of how many transforms would explain as many matches if these lay anywhere; an upper
    bound."""

    agreement: float | None = None
    """Part of what both pictures show that looks alike, once one is laid on the other: between 0 and 1; ``None``
    where that was not compared."""

    @property
    def placement(self) -> Relation:
        """What two pictures that look alike are to one another, by which one covers which."""
        query_covered, candidate_covered = self.query_overlap >= NEARLY_ALL, self.candidate_overlap >= NEARLY_ALL
        if query_covered:
            return "edited copy" if candidate_covered else "part of"
        return "contains" if candidate_covered else "same scene"


@dataclass(frozen=True, slots=True)
class MethodScore:
    """The score of one image by one method."""

    score: float
    """What its matcher returned."""

    evalue: float
    """Number of images of the collection expected to reach this score by chance."""


@dataclass(frozen=True, slots=True)
class Hit(Described):
    """One image of the results."""

    rank: int
    """1 for the best."""

    id: str
    """Id of the image."""

    score: float
    """What the matcher returned; of several methods together: minus the logarithm to base 10 of the E-value.
    Higher is better."""

    evidence: Evidence | None = None
    """The geometry that was found; ``None`` if there is none, or none was looked for."""

    evalue: float | None = None
    """Number of images of this collection expected to do as well by chance; small is strong. ``None`` where
    E-values were not computed."""

    decision: Decision | None = None
    """What the E-value says; ``None`` without one."""

    relation: Relation | None = None
    """What kind of hit it is; ``None`` where the pictures were not compared."""

    methods: Mapping[str, MethodScore] = field(default_factory=dict)
    """Method that scored this image -> its score."""


@dataclass(frozen=True, slots=True)
class SearchResult(Described):
    """The results of one query."""

    hits: tuple[Hit, ...]
    """Best first; ties in order of id."""

    method: str
    """Name of the method, or ``auto`` for all methods of the collection together."""

    mode: Literal["exact", "fast"]
    """``exact``: every image was scored. ``fast``: those that the ANN index proposed."""

    fingerprints: Mapping[str, str]
    """Method that took part -> digest of what made its features (parameters, weights, version)."""

    searched: int
    """Number of images that were scored, or that the ANN index could propose."""

    timings: Mapping[str, float]
    """stage -> seconds"""

    ranking: Ranking = "matches"
    """``matches``: by score. ``evidence``: by E-value."""

    verified: int = 0
    """Number of best candidates that were compared closely: geometry, and what the pictures show."""

    boxes: tuple[Box, ...] = ()
    """Regions of the query that counted; empty for the whole image."""

    query_size: Size = (0, 0)
    """Width and height of the query in pixels; zeros if unknown."""

    decision: Decision | None = None
    """Decision of the best hit; ``none``: nothing in the collection shows the query. ``None`` without E-values."""

    @property
    def ids(self) -> list[str]:
        """The ids of the hits, best first."""
        return [hit.id for hit in self.hits]

    @property
    def fingerprint(self) -> str:
        """The digests of all methods that took part, for people."""
        return " ".join(self.fingerprints.values())


def decision_of(hits: Sequence[Hit], ranking: Ranking) -> Decision | None:
    """The decision of a whole result: that of its best hit; ``none`` if a search by evidence has no hits."""
    if not hits:
        return "none" if ranking == "evidence" else None
    return hits[0].decision


@dataclass(frozen=True, slots=True)
class Comparison(Described):
    """Two images side by side."""

    method: str
    """Name of the method."""

    fingerprint: str
    """Digest of what made the features."""

    score: float
    """What the matcher returned."""

    features_a: int
    """Number of descriptors of the first image (1 for global methods)."""

    features_b: int
    """Number of descriptors of the second image."""

    timings: Mapping[str, float]
    """stage -> seconds"""

    evidence: Evidence | None = None
    """The geometry that was found, with the first image as the query; ``None`` if there is none."""

    relation: Relation | None = None
    """What the first image is to the second; ``None`` where the evidence is too weak to say."""


@dataclass(frozen=True, slots=True)
class Explanation(Described):
    """Why an image of the collection was found, or that only chance supports it."""

    id: str
    """Id of the image, the candidate."""

    method: str
    """Name of the method."""

    fingerprint: str
    """Digest of what made the features."""

    score: float
    """What the matcher returned."""

    evidence: Evidence | None
    """The geometry that was found; ``None`` if there is none."""

    matches: int
    """Number of descriptors of the query that have a match in the candidate."""

    inliers: tuple[tuple[Point, Point], ...]
    """The matches that the geometry explains: the place in the query and the place in the candidate."""

    query_size: Size
    """Width and height in pixels that places in the query refer to."""

    candidate_size: Size
    """Width and height in pixels that places in the candidate refer to."""

    outliers: tuple[tuple[Point, Point], ...] = ()
    """The matches that the geometry does not explain, as ``inliers``."""

    heat_of: str = ""
    """Name of the pooled network that the heat is of; empty without heat."""

    query_heat: tuple[tuple[float, ...], ...] = ()
    """What each cell of the query's grid contributes to that network's cosine, row by row; they add up to it."""

    candidate_heat: tuple[tuple[float, ...], ...] = ()
    """The same for the cells of the candidate; see ``candidate_from``."""

    query_seen: Box = (0.0, 0.0, 0.0, 0.0)
    """The part of the query that its grid divides evenly, which is all that the network saw; the whole picture is
    ``(0, 0, width, height)``. Zeros without a grid."""

    candidate_seen: Box = (0.0, 0.0, 0.0, 0.0)
    """The same for the candidate."""

    candidate_from: Literal["file", "thumbnail", ""] = ""
    """What the candidate's heat was computed from: its unchanged ``file``, or its ``thumbnail``, whose sum is only
    near the cosine. Empty without such heat."""

    query_cell: tuple[float, float] = (0.0, 0.0)
    """Width and height in pixels of what one token of the query stands for; zeros for keypoints."""

    candidate_cell: tuple[float, float] = (0.0, 0.0)
    """The same for the candidate."""

    evalue: float | None = None
    """See ``Hit``."""

    decision: Decision | None = None
    """See ``Hit``."""

    relation: Relation | None = None
    """See ``Hit``."""

    numbers: Mapping[str, int | float | None] = field(default_factory=dict)
    """What the E-value was computed from: name -> number; in JSON ``null`` for infinity."""


DuplicateKind: TypeAlias = Literal["identical", "edited copies", "overlapping"]
"""What holds a group of duplicates together."""


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images of a collection that show the same."""

    a: str
    """Id of the image that is proposed for removal, where one of them is."""

    b: str
    """Id of the other image."""

    relation: Relation
    """Of ``a``, the query, to ``b``: ``part of`` says that ``a`` is part of ``b``."""

    evidence: Evidence | None = None
    """The geometry that was found, from ``a`` to ``b``; ``None`` for identical images."""

    agreement: float | None = None
    """See ``Evidence``."""


@dataclass(frozen=True, slots=True)
class DuplicateGroup(Described):
    """Images of a collection that show the same."""

    kind: DuplicateKind
    """``identical``: the same bytes, or the same pixels. ``edited copies``: the same picture in other sizes,
    colours, encodings, with text and so on. ``overlapping``: parts of one another, or the same scene."""

    ids: tuple[str, ...]
    """The image proposed to be kept comes first; of overlapping images all are worth keeping."""

    pairs: tuple[DuplicatePair, ...]
    """The pairs that were compared, and what was found."""


@dataclass(frozen=True, slots=True)
class DuplicateReport:
    """The duplicates of a collection."""

    groups: tuple[DuplicateGroup, ...]
    """Identical images first, then edited copies, then overlapping ones; of each kind those first whose best image
    comes first."""

    images: int
    """Number of images in the collection."""

    candidates: int
    """Number of pairs that the methods proposed."""

    verified: int
    """Number of pairs that were compared closely."""

    methods: tuple[str, ...]
    """Names of the methods that took part."""

    timings: Mapping[str, float]
    """Stage (``read``, ``propose``, ``verify``, ``group``, ``total``) -> seconds."""

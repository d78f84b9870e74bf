"""The results of searches, comparisons and duplicate detection; ``core.serialization`` converts them to JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from imagefinder.core.serialization import Described

Matrix: TypeAlias = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
"""A 3 x 3 homogeneous transform in row-major order; it maps ``(x, y, 1)`` to a multiple of ``(x', y', 1)``."""

Point: TypeAlias = tuple[float, float]
"""x (to the right) and y (down) in pixels; the centre of the first pixel is ``(0, 0)``."""

Outline: TypeAlias = tuple[Point, Point, Point, Point]
"""The transformed corners of an image: top left, top right, bottom right, bottom left."""

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""

Box: TypeAlias = tuple[float, float, float, float]
"""A region of an image: x and y of its top left corner, width and height, in pixels."""

Ranking: TypeAlias = Literal["matches", "evidence"]
"""``matches``: by the score of one method. ``evidence``: by E-value, which combines scores and geometry."""

Mode: TypeAlias = Literal["auto", "exact", "fast"]
"""``exact``: score every image. ``fast``: score the candidates of the ANN index. ``auto``: choose by size."""

Decision: TypeAlias = Literal["match", "possible", "none"]
"""``match``: E-value of at most 0.01. ``possible``: at most 1. ``none``: more."""

Relation: TypeAlias = Literal[
    "identical", "edited copy", "part of", "contains", "same scene", "same layout", "similar"
]
"""How the query relates to the hit. ``part of``: the query is part of the hit. ``same scene``: another picture of
the same thing. ``same layout``: a document of the same layout. It is as certain as the decision: a ``possible``
match may have this relation."""

AUTO = "auto"
"""Method name that stands for all methods of a collection together."""

PRIOR = "prior"
"""Version of the null model of a collection that is not calibrated yet."""

LOOKS_THE_SAME = "looks the same at this resolution"
"""Note on images that look the same, but could not be compared in full resolution."""

LOOKS_ALIKE = 0.5
"""Minimum agreement of two versions of the same image. Edited copies have more, mostly far more. Photographs of
two packages with the same logo, or two photographs of one house, have less."""

NEARLY_ALL = 0.8
"""Minimum overlap at which an image counts as covered; adding a border, or rotating by a few degrees, costs the
rest."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The geometric evidence that two images match: one transform that explains many matches."""

    inliers: int
    """Number of matches that the transform explains, each at a distinct position."""

    matches: int
    """Number of matches before verification."""

    model: Literal["similarity", "affine", "homography"]
    """The simplest transform model that explains the inliers."""

    transform: Matrix
    """Maps pixels of the query to pixels of the candidate."""

    mirrored: bool
    """Whether the query is a mirror image of the candidate; the transform includes the reflection."""

    query_outline: Outline
    """Outline of the candidate in the query, in pixels; it may extend beyond the image."""

    candidate_outline: Outline
    """Outline of the query in the candidate, in pixels; it may extend beyond the image."""

    query_overlap: float
    """Fraction of the query's area that the candidate covers, 0 to 1."""

    candidate_overlap: float
    """Fraction of the candidate's area that the query covers, 0 to 1."""

    found_by: Literal["keypoints", "tokens", "thumbnails", "whole image"] = "keypoints"
    """Source of the evidence. ``keypoints`` or ``tokens``: those of the method. ``thumbnails``: the keypoints of
    both thumbnails, whatever the method. ``whole image``: the images scaled to the same size, without any
    matches."""

    method: str = ""
    """Name of the method whose features were matched; empty if none were."""

    log10_chance: float = 0.0
    """Log10 of an upper bound on the number of transforms that would explain as many matches if these were placed
    at random."""

    agreement: float | None = None
    """Fraction of the overlap that looks alike once the images are registered, 0 to 1; ``None`` if it was not
    measured."""

    copy_distance: float | None = None
    """How far the images are from being versions of one picture, at least 0; up to 1 they are. ``None`` if that
    was not checked."""

    @property
    def placement(self) -> Relation:
        """The relation of the query to the candidate, by how much of each the other covers, if both look alike."""
        query_covered, candidate_covered = self.query_overlap >= NEARLY_ALL, self.candidate_overlap >= NEARLY_ALL
        if query_covered:
            return "edited copy" if candidate_covered else "part of"
        return "contains" if candidate_covered else "same scene"


@dataclass(frozen=True, slots=True)
class MethodScore:
    """The score of one image by one method."""

    score: float
    """Score of the method's matcher; higher is better."""

    evalue: float
    """Expected number of images in the collection that reach this score by chance."""


@dataclass(frozen=True, slots=True)
class Hit(Described):
    """One image in the results of a search."""

    rank: int
    """Position in the results; 1 is the best."""

    id: str
    """Id of the image."""

    score: float
    """Score of the method's matcher or, for several methods together, -log10 of the E-value. For a text, the
    probability that the image shows it; for a text and an image, the sum of both standardised scores. Higher is
    better."""

    evidence: Evidence | None = None
    """Geometric evidence; ``None`` if none was found, or the image was not verified."""

    evalue: float | None = None
    """Expected number of images in the collection that do as well by chance; lower is stronger. ``None`` if
    E-values were not computed."""

    decision: Decision | None = None
    """Match, possible match or no match, by the E-value; ``None`` without an E-value."""

    relation: Relation | None = None
    """How the query relates to this image; ``None`` if the images were not compared."""

    methods: Mapping[str, MethodScore] = field(default_factory=dict)
    """Method name -> score of this image by that method."""

    stack: tuple[str, ...] = ()
    """Ids of the other versions of the same picture (raw and JPEG, edited copies, bursts)."""

    note: str = ""
    """What limits the relation, for example "looks the same at this resolution"; usually empty."""


@dataclass(frozen=True, slots=True)
class Label(Described):
    """A class that an image may show: a suggestion of a classifier."""

    name: str
    """Name of the class, for example ``espresso``."""

    probability: float
    """Probability of the class as the classifier states it, 0 to 1."""


@dataclass(frozen=True, slots=True)
class WordsInfo(Described):
    """How the text of a query was understood. Its scores are not calibrated, so there is no decision."""

    method: str
    """Name of the method whose vectors were compared with the text."""

    words: tuple[str, ...]
    """The words and phrases that were searched for."""

    ignored: tuple[str, ...]
    """Words of the text that the method does not know, and that had no effect."""

    classes: tuple[str, ...]
    """The classes of the method's classifier that the words name, at most 20; empty without a classifier."""

    threshold: float
    """An image shows the text if its score is at least this; a search with words alone omits other images."""

    shown: int
    """Number of images that show the text."""

    best: float | None
    """Highest score of the text of any image; ``None`` if no image was searched."""


@dataclass(frozen=True, slots=True)
class SearchResult(Described):
    """The results of one query."""

    hits: tuple[Hit, ...]
    """Best first; ties are ordered by id."""

    method: str
    """Name of the method, or ``auto`` for all methods of the collection together."""

    mode: Literal["exact", "fast"]
    """``exact``: every image was scored. ``fast``: the candidates of the ANN index were scored."""

    fingerprints: Mapping[str, str]
    """Method name -> digest of the fingerprint of its features (parameters, weights, version)."""

    searched: int
    """Number of images that were scored or, in ``fast`` mode, covered by the ANN index."""

    timings: Mapping[str, float]
    """Stage -> seconds."""

    ranking: Ranking = "matches"
    """Order of the hits. ``matches``: by score. ``evidence``: by E-value."""

    verified: int = 0
    """Number of candidates that were spatially verified."""

    boxes: tuple[Box, ...] = ()
    """Regions of the query that were searched with; empty for the whole image."""

    query_size: Size = (0, 0)
    """Width and height of the query in pixels; zeros if unknown."""

    decision: Decision | None = None
    """Decision of the best hit; ``none``: the collection has no match. ``None`` without
    E-values."""

    null_model: str | None = None
    """Version of the null model behind the E-values; ``None`` if none was used. Results with equal versions are
    comparable."""

    words: WordsInfo | None = None
    """How the text of the query was understood; ``None`` without a text."""

    @property
    def ids(self) -> list[str]:
        """The ids of the hits, best first."""
        return [hit.id for hit in self.hits]

    @property
    def fingerprint(self) -> str:
        """The fingerprint digests of all methods, separated by spaces."""
        return " ".join(self.fingerprints.values())


def decision_of(hits: Sequence[Hit], ranking: Ranking) -> Decision | None:
    """The decision of a result: that of its best hit; ``none`` if a search by evidence has no hits."""
    if not hits:
        return "none" if ranking == "evidence" else None
    return hits[0].decision


@dataclass(frozen=True, slots=True)
class Comparison(Described):
    """The comparison of two images."""

    method: str
    """Name of the method."""

    fingerprint: str
    """Digest of the fingerprint of the features."""

    score: float
    """Score of the method's matcher; higher is better."""

    features_a: int
    """Number of descriptors of the first image; 1 for global features."""

    features_b: int
    """Number of descriptors of the second image; 1 for global features."""

    timings: Mapping[str, float]
    """Stage -> seconds."""

    evidence: Evidence | None = None
    """Geometric evidence, with the first image as the query; ``None`` if none was found."""

    relation: Relation | None = None
    """How the first image relates to the second; ``None`` if the evidence is too weak."""

    note: str = ""
    """What limits the relation, for example "looks the same at this resolution"; usually empty."""


@dataclass(frozen=True, slots=True)
class Explanation(Described):
    """The evidence for an image of the collection, whether or not it is a match."""

    id: str
    """Id of the explained image, the candidate."""

    method: str
    """Name of the method, or ``auto`` for all methods of the collection together."""

    fingerprint: str
    """Digest of the fingerprint of the features."""

    score: float
    """Score of the method's matcher or, for several methods together, -log10 of the E-value. Higher is better."""

    evidence: Evidence | None
    """Geometric evidence; ``None`` if none was found."""

    matches: int
    """Number of descriptors of the query that have a match in the candidate."""

    inliers: tuple[tuple[Point, Point], ...]
    """The matches that the transform explains: position in the query, position in the candidate."""

    query_size: Size
    """Width and height of the query in pixels; positions in the query refer to this size."""

    candidate_size: Size
    """Width and height of the candidate in pixels; positions in the candidate refer to this size."""

    outliers: tuple[tuple[Point, Point], ...] = ()
    """The matches that the transform does not explain, as pairs of positions."""

    heat_of: str = ""
    """Name of the pooling network whose heat maps these are; empty without heat maps."""

    query_heat: tuple[tuple[float, ...], ...] = ()
    """Heat map of the query: the contribution of each grid cell to the cosine, by rows; the cells sum to the
    cosine."""

    candidate_heat: tuple[tuple[float, ...], ...] = ()
    """Heat map of the candidate, in the same form."""

    query_seen: Box = (0.0, 0.0, 0.0, 0.0)
    """Region of the query that the network sees and the heat map covers; ``(0, 0, width, height)`` is the whole
    image. Zeros without a heat map."""

    candidate_seen: Box = (0.0, 0.0, 0.0, 0.0)
    """Region of the candidate that its heat map covers."""

    candidate_from: Literal["file", "thumbnail", ""] = ""
    """Source of the candidate's heat map: its unchanged ``file``, or its ``thumbnail``, for which the sum only
    approximates the cosine. Empty without a heat map."""

    query_cell: tuple[float, float] = (0.0, 0.0)
    """Width and height in pixels of the cell behind one token of the query; zeros for keypoints."""

    candidate_cell: tuple[float, float] = (0.0, 0.0)
    """Width and height in pixels of the cell behind one token of the candidate; zeros for keypoints."""

    evalue: float | None = None
    """Expected number of images in the collection that do as well by chance; ``None`` if it was not computed."""

    decision: Decision | None = None
    """Match, possible match or no match, by the E-value; ``None`` without an E-value."""

    relation: Relation | None = None
    """How the query relates to the candidate; ``None`` if the images were not compared."""

    null_model: str | None = None
    """Version of the null model behind the E-value, as in the result of a search; ``None`` if none was used."""

    numbers: Mapping[str, int | float | None] = field(default_factory=dict)
    """The numbers behind the E-value: name -> value; infinity is ``null`` in JSON."""

    note: str = ""
    """What limits the relation, for example "looks the same at this resolution"; usually empty."""


DuplicateKind: TypeAlias = Literal["identical", "edited copies", "overlapping"]
"""The weakest relation in a group of duplicates."""


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images of a collection that are duplicates or overlap."""

    a: str
    """Id of the worse image, the query of the evidence."""

    b: str
    """Id of the other image."""

    relation: Relation
    """How ``a`` relates to ``b``; ``part of``: ``a`` is part of ``b``."""

    evidence: Evidence | None = None
    """Geometric evidence, with ``a`` as the query; ``None`` for identical images."""

    agreement: float | None = None
    """Fraction of the overlap that looks alike once the images are registered, 0 to 1; ``None`` if it was not
    measured."""

    note: str = ""
    """What limits the relation, for example "looks the same at this resolution"; usually empty."""


@dataclass(frozen=True, slots=True)
class DuplicateGroup(Described):
    """A group of images that are duplicates of one another, or overlap."""

    kind: DuplicateKind
    """``identical``: the same bytes, or the same pixels in all frames and in full depth. ``edited copies``:
    versions of the same image, for example resized, recoloured, recompressed or with text added. ``overlapping``:
    parts of one another, pictures of the same scene, or documents of the same layout."""

    ids: tuple[str, ...]
    """Ids of the images, the best one first. It stays if another one is spare; overlapping images all stay."""

    pairs: tuple[DuplicatePair, ...]
    """The pairs of the group that were compared."""

    spare: tuple[str, ...] = field(default=(), kw_only=True)
    """Ids of the images whose files can be deleted: each was compared with the first image of the group, and both
    files are on disk, unchanged and distinct. Empty for overlapping images."""

    reasons: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Id -> why this image is neither kept nor spare, for example because its file no longer exists."""


@dataclass(frozen=True, slots=True)
class DuplicateReport:
    """The duplicates of a collection."""

    groups: tuple[DuplicateGroup, ...]
    """Groups of identical images first, then of edited copies, then of overlapping images; within a kind ordered
    by their best image."""

    images: int
    """Number of images in the collection."""

    candidates: int
    """Number of candidate pairs proposed by the methods."""

    verified: int
    """Number of pairs that were spatially verified."""

    methods: tuple[str, ...]
    """Names of the methods used."""

    timings: Mapping[str, float]
    """Stage (``read``, ``propose``, ``verify``, ``group``, ``check``, ``total``) -> seconds."""

    states: Mapping[str, str] = field(default_factory=dict)
    """Id -> state of the file when it was compared (device, inode, size, times), for the images that stay and the
    spare ones. A file that has another state now must not be deleted."""

"""Spatial verification of candidates: a common geometry of the matches, and agreement of the overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import PhotometricCheck, Store
from imagefinder.core.errors import MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, LocalFeatures
from imagefinder.core.method import Method
from imagefinder.core.pages import page_of
from imagefinder.core.results import Evidence, Outline, Size
from imagefinder.images.resize import thumbnail as make_thumbnail
from imagefinder.kernels.threads import share
from imagefinder.runtime import Runtime
from imagefinder.search.candidates import Candidate, Candidates
from imagefinder.search.encoding import EncodedQuery, QueryImage, augment
from imagefinder.search.geometry import Finding, find_geometries
from imagefinder.search.retrieval import Scores
from imagefinder.search.thumbnail_source import ThumbnailSource
from imagefinder.verification.relation import looks_alike

ASPECT = 0.05
"""Maximum relative difference of the aspect ratios of images that are compared as a whole."""

THUMBNAILS = 6
"""Number of top-ranked candidates without a geometry whose thumbnails are compared, in calibration and search."""


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """The result of verifying one candidate.

    Attributes:
        candidate: The candidate; ``None`` if it was deleted before verification.
        keypoints: Method name -> finding by its keypoints, with or without evidence.
        thumbnails: Finding by the keypoints of both thumbnails; ``None`` if they were not compared.
        is_same: Whether it is identical to the query, by bytes or pixels.
    """

    candidate: Candidate | None
    keypoints: Mapping[str, Finding]
    thumbnails: Finding | None = None
    is_same: bool = False

    @property
    def findings(self) -> list[Finding]:
        """The findings with evidence: by keypoints in order of the methods, then by thumbnails."""
        every = [*self.keypoints.values(), *([self.thumbnails] if self.thumbnails else [])]
        return [finding for finding in every if finding.evidence]


class PairVerifier:
    """Verifies one query image against candidates; the features of the query's thumbnail are computed once.

    Search, calibration, duplicates, ``compare`` and explanations all use it.
    """

    # wide: all but the first three are optional.
    def __init__(
        self,
        thumbnails: ThumbnailSource,
        photometric_check: PhotometricCheck,
        image: QueryImage,
        *,
        mirror: bool,
        both_orders: bool = False,
        threads: int = 1,
    ) -> None:
        """Create a verifier; nothing is computed yet.

        Args:
            thumbnails: Provides the features of thumbnails; its method has a verifier.
            photometric_check: Compares registered images.
            image: The query image.
            mirror: Also compare the mirror image of the query's thumbnail.
            both_orders: Also look for a geometry from the candidate to the query, so that the order of two images
                does not matter.
            threads: Maximum number of threads for matching and verifying several candidates.
        """
        self._thumbnails = thumbnails
        self._photometric_check = photometric_check
        self._image = image
        self._mirror = mirror
        self._both_orders = both_orders
        self._threads = threads
        self._queries: list[EncodedQuery] | None = None
        self._thumbnail: bytes | None = None

    def keypoints(
        self,
        method: Method,
        queries: Sequence[EncodedQuery],
        compared: Sequence[tuple[Candidate, Features]],
        matches: Sequence[NDArray[np.int64] | None] = (),
    ) -> list[Finding | None]:
        """Find a geometry with each candidate by the features of a method.

        Args:
            method: A method with a verifier.
            queries: The query, and possibly its mirror image.
            compared: The candidates, each with its features by this method as a batch of one.
            matches: For a single query, its matches with each candidate, where they are known.

        Returns:
            For each candidate, the finding; ``None`` if the features of either image have no positions.
        """
        usable: list[int] = []
        if has_positions(queries[0].features):
            usable = [number for number, (_, features) in enumerate(compared) if has_positions(features)]
        given = [(compared[number][1], compared[number][0].size) for number in usable]
        found: list[Finding | None] = [None] * len(compared)
        known = [matches[number] for number in usable] if matches else ()
        for number, finding in zip(usable, self._geometries(method, queries, given, known), strict=True):
            found[number] = self._checked(finding, compared[number][0])
        return found

    def thumbnails(self, candidates: Sequence[Candidate]) -> list[Finding | None]:
        """Find a geometry with each candidate by the keypoints of thumbnails.

        Coarse keypoints survive blur, strong compression and enlargement, and a low threshold finds them even in
        smooth images. Both images are compared at the same size, so the same keypoints are found.

        Returns:
            For each candidate, the finding; ``None`` if either image has no thumbnail.
        """
        found: list[Finding | None] = [None] * len(candidates)
        if self._image.pixels.size == 0:
            return found
        features = self._thumbnails.of_candidates(candidates)
        given = [
            (one, candidate.size) for one, candidate in zip(features, candidates, strict=True) if one is not None
        ]
        if not given:
            return found
        findings = iter(self._geometries(self._thumbnails.method, self._thumbnail_queries(), given))
        for number, candidate in enumerate(candidates):
            if features[number] is not None:
                found[number] = self._checked(next(findings), candidate, thumbnails=True)
        return found

    def _geometries(
        self,
        method: Method,
        queries: Sequence[EncodedQuery],
        compared: Sequence[tuple[Features, Size]],
        matches: Sequence[NDArray[np.int64] | None] = (),
    ) -> list[Finding]:
        return find_geometries(
            method, queries, compared, matches=matches, both_orders=self._both_orders, threads=self._threads
        )

    def _thumbnail_queries(self) -> list[EncodedQuery]:
        """The features of the query's thumbnail, and possibly those of its mirror image."""
        if self._queries is None:
            method = self._thumbnails.method
            features = self._thumbnails.of_query(self._image)
            query = EncodedQuery(self._image, features, method.extractor.fingerprint(), indexed=True)
            self._queries = augment(method, query, mirror=self._mirror)
        return self._queries

    def whole_image(self, candidate: Candidate, *, mirrored: bool) -> Evidence:
        """Evidence that the whole images match, or one matches the mirror image of the other, with agreement."""
        return self.agreement(whole_image(self._image.size, candidate.size, mirrored=mirrored), candidate)

    def aligned(self, candidate: Candidate, ways: Sequence[bool] | None = None) -> Evidence | None:
        """Evidence from comparing the whole images; ``None`` unless it shows a copy.

        Args:
            candidate: The candidate; see also ``same_shape``.
            ways: Whether to mirror the query, for each comparison; ``None``: as it is and, if wanted, mirrored.
        """
        if not same_shape(self._image.size, candidate.size):
            return None
        ways = (False, True)[: 1 + self._mirror] if ways is None else ways
        found = (self.whole_image(candidate, mirrored=way) for way in ways)
        return max(filter(looks_alike, found), key=lambda evidence: evidence.agreement or 0, default=None)

    def agreement(self, evidence: Evidence, candidate: Candidate) -> Evidence:
        """Add the ``agreement`` to evidence, if the pixels of both images are available."""
        if candidate.pixels.size == 0 or self._image.pixels.size == 0:
            return evidence
        value = self._photometric_check.agreement(
            self._image.pixels, self._image.size, candidate.pixels, candidate.size, evidence
        )
        return replace(evidence, agreement=value)

    def is_same(self, candidate: Candidate) -> bool:
        """Whether the images are identical: the same bytes, or the same size and thumbnail."""
        image = self._image
        if image.boxes:
            return False
        if image.sha256 and candidate.sha256 == image.sha256 and page_of(candidate.id) == page_of(image.id):
            return True
        if candidate.size != image.size:
            return False
        if self._thumbnail is None:
            self._thumbnail = image.thumbnail if image.id else make_thumbnail(image.pixels)
        return bool(self._thumbnail) and candidate.thumbnail == self._thumbnail

    def _checked(self, finding: Finding, candidate: Candidate, *, thumbnails: bool = False) -> Finding:
        """A finding whose evidence has its origin and agreement."""
        if finding.verification is None:
            return finding
        evidence = replace(finding.verification.evidence, method=finding.method.name)
        if thumbnails:
            evidence = replace(evidence, found_by="thumbnails")
        evidence = self.agreement(evidence, candidate)
        return replace(finding, verification=replace(finding.verification, evidence=evidence))


def verify(
    store: Store,
    runtime: Runtime,
    scores: Sequence[Scores],
    image: QueryImage,
    ids: Sequence[str],
    *,
    mirror: bool,
) -> dict[str, Verified]:
    """Verify the candidates of a search; the best of those without a geometry are compared by thumbnails.

    Args:
        store: The store of the candidates.
        runtime: Provides thumbnail method and cache, photometric check and number of threads.
        scores: Scores by each method.
        image: The query image.
        ids: Ids of the candidates; deleted ones get no findings.
        mirror: Also compare the mirror image of the query.
    """
    threads = share(runtime.settings.threads)
    candidates = Candidates(store)
    candidates.prefetch(ids)
    source = ThumbnailSource(runtime.thumbnail_method, store, runtime.thumbnail_cache)
    verifier = PairVerifier(source, runtime.photometric_check, image, mirror=mirror, threads=threads)
    present = {image_id: candidate for image_id in ids if (candidate := candidates.get(image_id))}
    findings: dict[str, dict[str, Finding]] = {image_id: {} for image_id in present}
    for one in scores:
        for view, compared in _by_view(one, present):
            matches = [one.matches_of(candidate.id, view) for candidate, _ in compared]
            found = verifier.keypoints(one.method, [one.queries[view]], compared, matches)
            for (candidate, _), finding in zip(compared, found, strict=True):
                if finding:
                    findings[candidate.id][one.method.name] = finding
    verified = {image_id: Verified(None, {}) for image_id in ids}
    for image_id, candidate in present.items():
        verified[image_id] = Verified(candidate, findings[image_id], is_same=verifier.is_same(candidate))
    # Networks rank best the images with too few keypoints.
    lead = min(scores, key=lambda one: one.method.verifier is not None)
    unexplained = [image_id for image_id in ids if not verified[image_id].findings]
    unexplained.sort(key=lambda image_id: (-lead.standard_of(image_id), image_id))
    best = [image_id for image_id in unexplained[:THUMBNAILS] if image_id in present]
    found = verifier.thumbnails([present[image_id] for image_id in best])
    for image_id, thumbnails in zip(best, found, strict=True):
        verified[image_id] = replace(verified[image_id], thumbnails=thumbnails)
    return verified


def _by_view(
    scores: Scores, candidates: Mapping[str, Candidate]
) -> Iterator[tuple[int, list[tuple[Candidate, Features]]]]:
    """Each augmentation of the query with the candidates to verify it against, if the method has a verifier."""
    if scores.method.verifier is None:
        return
    views: list[list[tuple[Candidate, Features]]] = [[] for _ in scores.queries]
    for image_id, features in scores.features_of(candidates).items():
        views[int(scores.likely[scores.rows[image_id]])].append((candidates[image_id], features))
    yield from ((view, some) for view, some in enumerate(views) if some)


# -- parts of verification -----------------------------------------------------------------------------------


def has_positions(features: Features) -> bool:
    """Whether features have positions, which imported ones lack; true for images without any keypoints."""
    if not isinstance(features, LocalFeatures):
        return False
    sizes = features.keypoints[:, 2]
    return len(sizes) == 0 or bool(sizes[0] > 0) or bool((sizes > 0).any())


def stored_features(store: Store, image_id: str, method: str) -> Features | None:
    """Features of a stored image; ``None`` if it was removed, or has no features of this method."""
    try:
        return store.features(image_id, method)
    except (UnknownImageError, MethodNotIndexedError):
        return None


def same_shape(size: Size, other: Size) -> bool:
    """Whether images of these sizes have nearly the same aspect ratio, so that they are compared as a whole."""
    if min(*size, *other) < 1:
        return False
    ratios = [width / height for width, height in (size, other)]
    return abs(ratios[0] - ratios[1]) <= ASPECT * max(ratios)


def whole_image(size: Size, other: Size, *, mirrored: bool) -> Evidence:
    """Evidence that maps the frame of one image, or of its mirror image, onto the frame of the other."""
    x, y = other[0] / size[0], other[1] / size[1]
    right = (size[0] - 0.5) * x - 0.5
    across = (-x, 0.0, right) if mirrored else (x, 0.0, (x - 1) / 2)
    return Evidence(
        inliers=0,
        matches=0,
        model="similarity" if abs(x - y) <= 1e-6 * x else "affine",
        transform=(across, (0.0, y, (y - 1) / 2), (0.0, 0.0, 1.0)),
        mirrored=mirrored,
        query_outline=_corners(size, mirrored=mirrored),
        candidate_outline=_corners(other, mirrored=mirrored),
        query_overlap=1.0,
        candidate_overlap=1.0,
        found_by="whole image",
    )


def _corners(size: Size, *, mirrored: bool) -> Outline:
    left, right, bottom = -0.5, size[0] - 0.5, size[1] - 0.5
    if mirrored:
        left, right = right, left
    return (left, -0.5), (right, -0.5), (right, bottom), (left, bottom)

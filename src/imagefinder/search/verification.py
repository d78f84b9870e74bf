"""Spatial verification of candidates: a common geometry of the matches, and agreement of the overlap."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import PhotometricCheck, Store, Verification, Verifier
from imagefinder.core.errors import InputError, MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, LocalFeatures, rescale
from imagefinder.core.method import Method
from imagefinder.core.pages import page_of
from imagefinder.core.results import Evidence, Outline, Size
from imagefinder.images.resize import thumbnail as make_thumbnail
from imagefinder.runtime import Runtime
from imagefinder.search.candidates import Candidate, Candidates
from imagefinder.search.encoding import EncodedQuery, QueryImage, augment, extract
from imagefinder.search.retrieval import Scores
from imagefinder.verification.relation import looks_alike

ASPECT = 0.05
"""Maximum relative difference of the aspect ratios of images that are compared as a whole."""

THUMBNAILS = 6
"""Number of top-ranked candidates without a geometry whose thumbnails are compared, in calibration and search."""


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

    def __init__(
        self,
        thumbnail_method: Method,
        photometric_check: PhotometricCheck,
        image: QueryImage,
        *,
        mirror: bool,
        both_orders: bool = False,
        features: dict[str, Features] | None = None,
    ) -> None:
        """Create a verifier; nothing is computed yet.

        Args:
            thumbnail_method: Compares thumbnails; has a verifier.
            photometric_check: Compares registered images.
            image: The query image.
            mirror: Also compare the mirror image of the query's thumbnail.
            both_orders: Also look for a geometry from the candidate to the query, so that the order of two images
                does not matter.
            features: Cache of candidate id -> thumbnail features, shared by the verifiers of several queries.
        """
        self._thumbnail_method = thumbnail_method
        self._photometric_check = photometric_check
        self._image = image
        self._mirror = mirror
        self._both_orders = both_orders
        self._features = {} if features is None else features
        self._queries: list[EncodedQuery] | None = None
        self._lock = threading.Lock()
        self._thumbnail: bytes | None = None

    def keypoints(
        self, method: Method, queries: Sequence[EncodedQuery], candidate: Candidate, features: Features
    ) -> Finding | None:
        """Find a geometry by the features of a method; ``None`` if the features of either image have no positions.

        Args:
            method: A method with a verifier.
            queries: The query, and possibly its mirror image.
            candidate: The candidate.
            features: Features of the candidate by this method, as a batch of one.
        """
        if not (has_positions(queries[0].features) and has_positions(features)):
            return None
        found = find_geometry(method, queries, features, candidate.size, both_orders=self._both_orders)
        return self._checked(found, candidate)

    def thumbnails(self, candidate: Candidate) -> Finding | None:
        """Find a geometry by the keypoints of both thumbnails; ``None`` if either image has no thumbnail.

        Coarse keypoints survive blur, strong compression and enlargement, and a low threshold finds them even in
        smooth images. Both images are compared at the same size, so the same keypoints are found.
        """
        if candidate.pixels.size == 0 or self._image.pixels.size == 0:
            return None
        method = self._thumbnail_method
        with self._lock:  # several threads compare candidates
            if self._queries is None:
                features = rescale(extract(method, self._image), self._image.pixels, self._image.size)
                query = EncodedQuery(self._image, features, method.extractor.fingerprint(), indexed=True)
                self._queries = augment(method, query, mirror=self._mirror)
        if candidate.id not in self._features:
            extracted = method.extractor.extract([candidate.pixels])
            self._features[candidate.id] = rescale(extracted, candidate.pixels, candidate.size)
        features = self._features[candidate.id]
        found = find_geometry(method, self._queries, features, candidate.size, both_orders=self._both_orders)
        if found.verification:
            evidence = replace(found.verification.evidence, found_by="thumbnails")
            found = replace(found, verification=replace(found.verification, evidence=evidence))
        return self._checked(found, candidate)

    def whole_image(self, candidate: Candidate, *, mirrored: bool) -> Evidence:
        """Evidence that the whole images match, or one matches the mirror image of the other, with agreement."""
        return self.agreement(whole_image(self._image.size, candidate.size, mirrored=mirrored), candidate)

    def aligned(self, candidate: Candidate) -> Evidence | None:
        """Evidence from comparing the whole images, as they are or mirrored; ``None`` unless it shows a copy."""
        sizes = self._image.size, candidate.size
        if min(*sizes[0], *sizes[1]) < 1:
            return None
        ratios = [width / height for width, height in sizes]
        if abs(ratios[0] - ratios[1]) > ASPECT * max(ratios):
            return None
        found = (self.whole_image(candidate, mirrored=way) for way in (False, True)[: 1 + self._mirror])
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

    def _checked(self, finding: Finding, candidate: Candidate) -> Finding:
        if finding.verification is None:
            return finding
        evidence = self.agreement(replace(finding.verification.evidence, method=finding.method.name), candidate)
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
        runtime: Provides thumbnail method, photometric check and number of threads.
        scores: Scores by each method.
        image: The query image.
        ids: Ids of the candidates; deleted ones get no findings.
        mirror: Also compare the mirror image of the query.
    """
    candidates = Candidates(store)
    candidates.prefetch(ids)
    features_by = {one.method.name: one.features_of(ids) for one in scores if one.method.verifier}
    verifier = PairVerifier(runtime.thumbnail_method, runtime.photometric_check, image, mirror=mirror)

    def keypoints(image_id: str) -> Verified:
        candidate = candidates.get(image_id)
        if candidate is None:
            return Verified(None, {})
        findings = {}
        for one in scores:
            if one.method.verifier is None or image_id not in one.rows:
                continue
            features = features_by[one.method.name].get(image_id)
            if features is not None:
                finding = verifier.keypoints(one.method, [one.query_for(image_id)], candidate, features)
                if finding:
                    findings[one.method.name] = finding
        return Verified(candidate, findings, is_same=verifier.is_same(candidate))

    def thumbnails(image_id: str) -> Finding | None:
        candidate = candidates.get(image_id)
        return None if candidate is None else verifier.thumbnails(candidate)

    with ThreadPoolExecutor(runtime.settings.threads) as pool:
        verified = dict(zip(ids, pool.map(keypoints, ids), strict=True))
        # Networks rank best the images with too few keypoints.
        lead = min(scores, key=lambda one: one.method.verifier is not None)
        unexplained = [image_id for image_id in ids if not verified[image_id].findings]
        unexplained.sort(key=lambda image_id: (-lead.standard_of(image_id), image_id))
        best = unexplained[:THUMBNAILS]
        for image_id, finding in zip(best, pool.map(thumbnails, best), strict=True):
            verified[image_id] = replace(verified[image_id], thumbnails=finding)
    return verified


# -- parts of verification -----------------------------------------------------------------------------------


def find_geometry(
    method: Method, queries: Sequence[EncodedQuery], candidate: Features, size: Size, *, both_orders: bool = False
) -> Finding:
    """Find a geometry between a candidate and the query or its mirror image, whichever has more inliers.

    With ``both_orders``, one from the candidate to the query will do.

    Raises:
        InputError: the method has no verifier.
    """
    verifier = verifier_of(method)
    findings = []
    for query in queries:
        matches = method.matcher.matches(query.features, candidate)
        found = verifier.verify(query.features, candidate, matches, query_size=query.size, candidate_size=size)
        if found is None and both_orders:
            back = matches[:, ::-1]
            found = verifier.verify(candidate, query.features, back, query_size=size, candidate_size=query.size)
            found = found and Verification(_inverse(found.evidence), found.inliers[:, ::-1])
        if found and query.flipped:
            found = replace(found, evidence=_unflipped(found.evidence, query.size[0]))
        findings.append(Finding(method, query, candidate, matches, found))
    return max(findings, key=lambda finding: finding.evidence.inliers if finding.evidence else 0)


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


def has_positions(features: Features) -> bool:
    """Whether features have positions, which imported ones lack; true for images without any keypoints."""
    if not isinstance(features, LocalFeatures):
        return False
    return len(features.keypoints) == 0 or bool((features.keypoints[:, 2] > 0).any())


def stored_features(store: Store, image_id: str, method: str) -> Features | None:
    """Features of a stored image; ``None`` if it was removed, or has no features of this method."""
    try:
        return store.features(image_id, method)
    except (UnknownImageError, MethodNotIndexedError):
        return None


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


def _corners(size: Size, *, mirrored: bool) -> Outline:
    left, right, bottom = -0.5, size[0] - 0.5, size[1] - 0.5
    if mirrored:
        left, right = right, left
    return (left, -0.5), (right, -0.5), (right, bottom), (left, bottom)


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

"""Spatial verification: one geometry behind the matches, and whether both images look alike where they overlap."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import PhotometricCheck, Store, Verification, Verifier
from imagefinder.core.errors import InputError, MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, LocalFeatures, RgbImage
from imagefinder.core.method import Method
from imagefinder.core.results import Evidence, Outline, Size
from imagefinder.images.resize import thumbnail as make_thumbnail
from imagefinder.runtime import Runtime
from imagefinder.search.candidates import Candidate, Candidates
from imagefinder.search.encoding import EncodedQuery, QueryImage, augment, extract
from imagefinder.search.retrieval import Scores

THUMBNAILS = 6
"""Number of the best candidates without a geometry whose thumbnails are compared, in calibration and in search."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What geometry says about a query and one candidate.

    Attributes:
        method: Whose features were compared.
        query: The query as it was compared: itself or its mirror image.
        candidate: Features of the candidate, a batch of one.
        matches: ``(M, 2)`` int64, rows of ``query.features`` and ``candidate``.
        verification: The geometry, in pixels of the query itself; ``None`` if there is none.
    """

    method: Method
    query: EncodedQuery
    candidate: Features
    matches: NDArray[np.int64]
    verification: Verification | None

    @property
    def evidence(self) -> Evidence | None:
        """Of the geometry; ``None`` if there is none."""
        return self.verification.evidence if self.verification else None


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """What verification found about one candidate.

    Attributes:
        candidate: The candidate; ``None`` if it was deleted before.
        keypoints: Method -> what geometry says about its own keypoints, with or without evidence.
        thumbnails: What geometry says about both thumbnails; ``None`` where they were not compared.
        is_same: Whether it is the query itself, by its bytes or its pixels.
    """

    candidate: Candidate | None
    keypoints: Mapping[str, Finding]
    thumbnails: Finding | None = None
    is_same: bool = False

    @property
    def findings(self) -> list[Finding]:
        """Those with evidence: of the keypoints, in order of the methods, then of the thumbnails."""
        every = [*self.keypoints.values(), *([self.thumbnails] if self.thumbnails else [])]
        return [finding for finding in every if finding.evidence]


class PairVerifier:
    """Compares one query image closely with candidates; what it needs of the query it computes once.

    Search, calibration, duplicates, ``compare`` and explanations all compare pairs with it.
    """

    def __init__(
        self,
        thumbnail_method: Method,
        photometric_check: PhotometricCheck,
        image: QueryImage,
        *,
        mirror: bool,
        features: dict[str, Features] | None = None,
    ) -> None:
        """Nothing is computed yet.

        Args:
            thumbnail_method: Compares thumbnails; has a verifier.
            photometric_check: Compares registered images.
            image: The query image.
            mirror: Compare the mirror image of its thumbnail too.
            features: Thumbnail features of candidates by id, shared by the verifiers of several queries.
        """
        self._thumbnail_method = thumbnail_method
        self._photometric_check = photometric_check
        self._image = image
        self._mirror = mirror
        self._features = {} if features is None else features
        self._queries: list[EncodedQuery] | None = None
        self._lock = threading.Lock()
        self._thumbnail: bytes | None = None

    def keypoints(
        self, method: Method, queries: Sequence[EncodedQuery], candidate: Candidate, features: Features
    ) -> Finding | None:
        """Geometry by the method's own features; ``None`` where those of either side have no positions.

        Args:
            method: Must have a verifier.
            queries: The query, and perhaps its mirror image.
            candidate: The candidate.
            features: Its features by this method, a batch of one.
        """
        if not (has_positions(queries[0].features) and has_positions(features)):
            return None
        return self._checked(find_geometry(method, queries, features, candidate.size), candidate)

    def thumbnails(self, candidate: Candidate) -> Finding | None:
        """Geometry by keypoints of what thumbnails show, whatever the method; ``None`` if there is no thumbnail.

        Coarse keypoints survive blur, strong compression and enlargement, and a low threshold finds them even in
        smooth images; both sides are compared at the same size, so they have the same ones.
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
        found = find_geometry(method, self._queries, self._features[candidate.id], candidate.size)
        if found.verification:
            evidence = replace(found.verification.evidence, found_by="thumbnails")
            found = replace(found, verification=replace(found.verification, evidence=evidence))
        return self._checked(found, candidate)

    def frame(self, candidate: Candidate, *, mirrored: bool) -> Evidence:
        """One frame laid on the other as it is, or mirrored, with how much looks alike then."""
        return self.agreement(frame(self._image.size, candidate.size, mirrored=mirrored), candidate)

    def agreement(self, evidence: Evidence, candidate: Candidate) -> Evidence:
        """The evidence with its ``agreement``, where both images can be seen."""
        if candidate.pixels.size == 0 or self._image.pixels.size == 0:
            return evidence
        value = self._photometric_check.agreement(
            self._image.pixels, self._image.size, candidate.pixels, candidate.size, evidence
        )
        return replace(evidence, agreement=value)

    def is_same(self, candidate: Candidate) -> bool:
        """Whether the bytes are the same, or the size and, to the last pixel, the thumbnail."""
        image = self._image
        if image.boxes:
            return False
        if image.sha256 and candidate.sha256 == image.sha256:
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
    """Verify each candidate; the best of those without a geometry have their thumbnails compared.

    Args:
        store: Holds the candidates.
        runtime: Holds the thumbnail method, the photometric check and the number of threads.
        scores: Of each method.
        image: The query image.
        ids: Of the candidates; of one that is gone by now nothing is found.
        mirror: Compare the mirror image of the query too.
    """
    candidates = Candidates(store)
    verifier = PairVerifier(runtime.thumbnail_method, runtime.photometric_check, image, mirror=mirror)

    def keypoints(image_id: str) -> Verified:
        candidate = candidates.get(image_id)
        if candidate is None:
            return Verified(None, {})
        findings = {}
        for one in scores:
            if one.method.verifier is None or image_id not in one.rows:
                continue
            features = one.features_of(image_id)
            if features is None:
                features = stored_features(store, image_id, one.method.name)
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
        # Networks rank best what has too few keypoints of its own.
        lead = min(scores, key=lambda one: one.method.verifier is not None)
        unexplained = [image_id for image_id in ids if not verified[image_id].findings]
        unexplained.sort(key=lambda image_id: (-lead.standard_of(image_id), image_id))
        best = unexplained[:THUMBNAILS]
        for image_id, finding in zip(best, pool.map(thumbnails, best), strict=True):
            verified[image_id] = replace(verified[image_id], thumbnails=finding)
    return verified


# -- parts of verification -----------------------------------------------------------------------------------


def find_geometry(method: Method, queries: Sequence[EncodedQuery], candidate: Features, size: Size) -> Finding:
    """What geometry says about the query or its mirror image, whichever has more inliers.

    Raises:
        InputError: the method has no verifier.
    """
    verifier = verifier_of(method)
    findings = []
    for query in queries:
        matches = method.matcher.matches(query.features, candidate)
        found = verifier.verify(query.features, candidate, matches, query_size=query.size, candidate_size=size)
        if found and query.flipped:
            found = replace(found, evidence=_unflipped(found.evidence, query.size[0]))
        findings.append(Finding(method, query, candidate, matches, found))
    return max(findings, key=lambda finding: finding.evidence.inliers if finding.evidence else 0)


def verifier_of(method: Method) -> Verifier:
    """The verifier of a method.

    Raises:
        InputError: it has none.
    """
    if method.verifier is None:
        raise InputError(
            f"{method.name} has no keypoints, so there is no geometry to verify",
            hint="sift is a method that has them",
        )
    return method.verifier


def has_positions(features: Features) -> bool:
    """Whether keypoints have positions; those of imported features do not. No keypoints at all lack nothing."""
    if not isinstance(features, LocalFeatures):
        return False
    return len(features.keypoints) == 0 or bool((features.keypoints[:, 2] > 0).any())


def stored_features(store: Store, image_id: str, method: str) -> Features | None:
    """Features of a stored image; ``None`` if it is gone, or has none by this method."""
    try:
        return store.features(image_id, method)
    except (UnknownImageError, MethodNotIndexedError):
        return None


def rescale(features: Features, pixels: RgbImage, size: Size) -> Features:
    """Local features of a reduced image with their positions in pixels of the whole one."""
    x, y = size[0] / pixels.shape[1], size[1] / pixels.shape[0]
    if not isinstance(features, LocalFeatures) or (x, y) == (1.0, 1.0):
        return features
    keypoints = features.keypoints.copy()
    keypoints[:, 0] = (keypoints[:, 0] + 0.5) * x - 0.5
    keypoints[:, 1] = (keypoints[:, 1] + 0.5) * y - 0.5
    keypoints[:, 2] *= (x * y) ** 0.5
    return LocalFeatures(features.descriptors, keypoints, features.offsets)


def frame(size: Size, other: Size, *, mirrored: bool) -> Evidence:
    """That one image, or its mirror image, fills the frame of the other."""
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


def _unflipped(evidence: Evidence, width: int) -> Evidence:
    """Evidence about the mirror image, in pixels of the image itself."""
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

"""What speaks for the best candidates: a common geometry, and that both look alike where they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store, Verifier
from imagefinder.core.errors import ImageError, InputError, MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, LocalFeatures, RgbImage
from imagefinder.core.method import Examiner, Method
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import Evidence, Outline, Point, Size
from imagefinder.images.decode import decode
from imagefinder.images.resize import thumbnail as make_thumbnail
from imagefinder.search.question import Asked, Question, extract, views

THUMBNAIL_BYTES, THUMBNAIL_PIXELS = 4 << 20, 1 << 22
"""Far more than any thumbnail of ours has."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What geometry says about a query and one candidate.

    Attributes:
        view: The query as it was compared: itself or its mirror image.
        matches: ``(M, 2)`` int64, of that view.
        evidence: In pixels of the query itself; ``None`` if there is none.
    """

    view: Question
    matches: NDArray[np.int64]
    evidence: Evidence | None


class Scrutiny:
    """Looks at candidates of one query; what it needs of the query it makes once, at the first use."""

    def __init__(
        self,
        store: Store,
        examiner: Examiner,
        asked: Asked,
        *,
        mirror: bool,
        cache: dict[str, Features] | None = None,
    ) -> None:
        """Only stores.

        Args:
            store: Holds the candidates.
            examiner: Looks at pixels.
            asked: The query.
            mirror: Look at its mirror image, too.
            cache: Keeps what a closer look sees of candidates, where several queries look at the same ones.
        """
        self._cache = {} if cache is None else cache
        self._store = store
        self._examiner = examiner
        self._asked = asked
        self._mirror = mirror
        self._closer: list[Question] | None = None
        self._small: bytes | None = None
        self._thumbnails: dict[str, RgbImage | None] = {}
        self._records: dict[str, ImageRecord | None] = {}

    def keypoints(
        self, method: Method, asked: Sequence[Question], image_id: str, candidate: Features | None = None
    ) -> Evidence | None:
        """Geometry by the method's own features; none, too, where those of either side have no places.

        Args:
            method: Must have a verifier.
            asked: The query, and perhaps its mirror image.
            image_id: Of the candidate.
            candidate: Its features; read from the store if they are not at hand.
        """
        record = self._record(image_id)
        try:
            candidate = self._store.features(image_id, method.name) if candidate is None else candidate
        except (UnknownImageError, MethodNotIndexedError):
            return None
        if record is None or not (has_places(asked[0].features) and has_places(candidate)):
            return None
        found = look(method, asked, candidate, (record.width, record.height)).evidence
        return found and self._with_agreement(found, image_id)

    def closer_look(self, image_id: str) -> Evidence | None:
        """Geometry by keypoints of what a thumbnail still shows, whatever the method.

        Coarse keypoints survive blur, strong compression and enlargement, and a low threshold finds them even in
        smooth pictures; both sides are looked at in the same size, so they find the same ones.
        """
        found = self.closer_finding(image_id)
        if found is None or found.evidence is None:
            return None
        return self._with_agreement(replace(found.evidence, found_by="closer look"), image_id)

    def closer_finding(self, image_id: str) -> Finding | None:
        """What a closer look sees, matches included; ``None`` where there is nothing to look at."""
        record, thumbnail = self._record(image_id), self.thumbnail(image_id)
        if record is None or thumbnail is None:
            return None
        closer, size = self._examiner.closer, (record.width, record.height)
        if self._closer is None:
            features = scaled(extract(closer, self._asked), self._asked.pixels, self._asked.size)
            question = Question(self._asked, features, closer.extractor.fingerprint(), indexed=True)
            self._closer = views(closer, question, mirror=self._mirror)
        if image_id not in self._cache:
            self._cache[image_id] = scaled(closer.extractor.extract([thumbnail]), thumbnail, size)
        return look(closer, self._closer, self._cache[image_id], size)

    def is_same(self, image_id: str) -> bool:
        """Whether the bytes are the same, or the size and, to the last pixel, the thumbnail."""
        record = self._record(image_id)
        if record is None or self._asked.boxes:
            return False
        if self._asked.sha256 and record.sha256 == self._asked.sha256:
            return True
        if (record.width, record.height) != self._asked.size:
            return False
        if self._small is None:
            own = self._asked.id
            self._small = self._store.thumbnail(own) if own else make_thumbnail(self._asked.pixels)
        try:
            return bool(self._small) and self._store.thumbnail(image_id) == self._small
        except UnknownImageError:
            return False

    def thumbnail(self, image_id: str) -> RgbImage | None:
        """The candidate's thumbnail, if it has one that can be read and the candidate is still there."""
        if image_id not in self._thumbnails:
            self._thumbnails[image_id] = read_thumbnail(self._store, image_id)
        return self._thumbnails[image_id]

    def _record(self, image_id: str) -> ImageRecord | None:
        """Of the candidate; ``None`` if it was gone when first looked at."""
        if image_id not in self._records:
            try:
                self._records[image_id] = self._store.get(image_id)
            except UnknownImageError:
                self._records[image_id] = None
        return self._records[image_id]

    def _with_agreement(self, found: Evidence, image_id: str) -> Evidence:
        record, thumbnail = self._record(image_id), self.thumbnail(image_id)
        if record is None or thumbnail is None:
            return found
        agreement = self._examiner.photometer.agreement(
            self._asked.pixels, self._asked.size, thumbnail, (record.width, record.height), found
        )
        return replace(found, agreement=agreement)


def read_thumbnail(store: Store, image_id: str) -> RgbImage | None:
    """The pixels of a thumbnail; ``None`` if there is none, or it cannot be read."""
    try:
        return decoded_thumbnail(store.thumbnail(image_id))
    except UnknownImageError:
        return None


def decoded_thumbnail(data: bytes) -> RgbImage | None:
    """The same of its bytes."""
    try:
        return decode(data, max_bytes=THUMBNAIL_BYTES, max_pixels=THUMBNAIL_PIXELS).rgb
    except ImageError:
        return None


def scaled(features: Features, pixels: RgbImage, size: Size) -> Features:
    """Local features of a reduced picture with their places in pixels of the whole one."""
    x, y = size[0] / pixels.shape[1], size[1] / pixels.shape[0]
    if not isinstance(features, LocalFeatures) or (x, y) == (1.0, 1.0):
        return features
    keypoints = features.keypoints.copy()
    keypoints[:, 0] = (keypoints[:, 0] + 0.5) * x - 0.5
    keypoints[:, 1] = (keypoints[:, 1] + 0.5) * y - 0.5
    keypoints[:, 2] *= (x * y) ** 0.5
    return LocalFeatures(features.descriptors, keypoints, features.offsets)


def verifier_of(method: Method) -> Verifier:
    """What looks for geometry.

    Raises:
        InputError: the method has nothing of the kind.
    """
    if method.verifier is None:
        raise InputError(
            f"{method.name} has no keypoints, so there is no geometry to verify",
            hint="sift is a method that has them",
        )
    return method.verifier


def look(method: Method, asked: Sequence[Question], candidate: Features, size: Size) -> Finding:
    """The view of the query that more inliers speak for; the first one if none does."""
    verifier = verifier_of(method)
    findings = []
    for view in asked:
        matches = method.matcher.matches(view.features, candidate)
        evidence = verifier.verify(view.features, candidate, matches, query_size=view.size, candidate_size=size)
        if evidence and view.mirrored:
            evidence = _unmirrored(evidence, view.size[0])
        findings.append(Finding(view, matches, evidence))
    return max(findings, key=lambda finding: finding.evidence.inliers if finding.evidence else 0)


def has_places(features: Features) -> bool:
    """Whether keypoints say where they are; those of imported features do not. None at all lack nothing."""
    if not isinstance(features, LocalFeatures):
        return False
    return len(features.keypoints) == 0 or bool((features.keypoints[:, 2] > 0).any())


def no_places(method: Method) -> InputError:
    """The error for features without keypoints."""
    return InputError(
        f"these {method.name} features have no keypoints (imported ones never do): no geometry can be verified",
        hint="add the pictures themselves",
    )


def moved(evidence: Evidence, corner: Point) -> Evidence:
    """Evidence about a part of a picture, told in pixels of the whole."""
    if corner == (0.0, 0.0):
        return evidence
    back = np.array([[1.0, 0.0, -corner[0]], [0.0, 1.0, -corner[1]], [0.0, 0.0, 1.0]])
    rows = (np.array(evidence.transform) @ back).tolist()
    a, b, c, d = ((x + corner[0], y + corner[1]) for x, y in evidence.query_outline)
    return replace(
        evidence, transform=(tuple(rows[0]), tuple(rows[1]), tuple(rows[2])), query_outline=(a, b, c, d)
    )


def _unmirrored(evidence: Evidence, width: int) -> Evidence:
    """Evidence about the mirror image, told in pixels of the picture itself."""
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

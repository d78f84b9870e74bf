"""The contracts between the parts of imagefinder; ``imagefinder.testing`` provides a test suite for each.

All implementations must be safe to call from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import FeatureMap, Features, FeatureSpec, RgbImage
from imagefinder.core.filters import Filter
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import (
    AnnIndexState,
    Changes,
    Cursor,
    Entry,
    GalleryBlock,
    ImageRecord,
    ImageStatus,
    Proposals,
    StoreInfo,
)
from imagefinder.core.results import Evidence, Size
from imagefinder.core.store_parts import StoreParts


class Extractor(Protocol):
    """Computes the features of images."""

    @property
    def spec(self) -> FeatureSpec:
        """Kind, dimension and dtype of the features; available without loading a model."""
        ...

    def fingerprint(self) -> Fingerprint:
        """Everything that the features depend on: parameters, version and weights.

        Raises:
            ModelMissingError: the weights are not on this machine.
        """
        ...

    def extract(self, images: Sequence[RgbImage]) -> Features:
        """Features of each image, in order; independent of the rest of the batch (networks: within 1e-4).

        Args:
            images: Each ``(height, width, 3)`` uint8 RGB with at least one pixel. May be empty.

        Raises:
            ModelMissingError: the weights are not on this machine. There is no fallback.
        """
        ...


class Matcher(Protocol):
    """Compares features."""

    def score(self, query: Features, gallery: Features) -> NDArray[np.float64]:
        """Score each gallery image against the query; higher is better.

        Args:
            query: A batch of one image.
            gallery: A batch of B images with the same feature spec.

        Returns:
            ``(B,)`` float64, finite.
        """
        ...

    def matches(self, query: Features, candidate: Features) -> NDArray[np.int64]:
        """Match the descriptors of two images, each a batch of one.

        Returns:
            ``(M, 2)`` int64, descriptor indices (query, candidate), sorted; ``(0, 2)`` for global features.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class NearScores:
    """Scores with near matches.

    Attributes:
        scores: ``(B,)`` float64, as ``Matcher.score`` returns them.
        near: ``(B,)`` float64, numbers of near matches.
        matches: Number of a gallery image -> its matches, as ``Matcher.matches`` returns them; of some images.
    """

    scores: NDArray[np.float64]
    near: NDArray[np.float64]
    matches: Mapping[int, NDArray[np.int64]]


@runtime_checkable
class NearMatcher(Matcher, Protocol):
    """A matcher that also counts near matches: those too close to be likely by chance."""

    def score_near(self, query: Features, gallery: Features, *, room: int = 0) -> NearScores:
        """Score each gallery image against the query, and count near matches.

        Args:
            query: A batch of one image.
            gallery: A batch of B images with the same feature spec.
            room: Number of matches to keep, at most.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """The result of a successful spatial verification.

    Attributes:
        evidence: The transform, and how strongly the matches support it.
        inliers: ``(I, 2)`` int64, the matches that the transform explains, sorted; I is ``evidence.inliers``.
    """

    evidence: Evidence
    inliers: NDArray[np.int64]


class Verifier(Protocol):
    """Verifies that the matches between two images agree on one geometric transform."""

    def verify(
        self,
        query: Features,
        candidate: Features,
        matches: NDArray[np.int64],
        *,
        query_size: Size,
        candidate_size: Size,
    ) -> Verification | None:
        """Find the transform that explains most matches.

        Args:
            query: A batch of one image.
            candidate: A batch of one image.
            matches: ``(M, 2)`` int64, as ``Matcher.matches`` returns them; their order does not matter.
            query_size: Width and height of the query, in the pixels of its keypoints.
            candidate_size: Width and height of the candidate, in the pixels of its keypoints.

        Returns:
            ``None`` if chance would explain as many matches.
        """
        ...


class Mapper(Protocol):
    """Shows what a global vector was pooled from; optional for extractors of global features."""

    def map(self, image: RgbImage) -> FeatureMap:
        """The feature map whose mean is the vector of the image (within 1e-4 of its length).

        Raises:
            ModelMissingError: the weights are not on this machine.
        """
        ...


class PhotometricCheck(Protocol):
    """Measures how much of two registered images looks alike (photometric consistency)."""

    def agreement(
        self, query: RgbImage, query_size: Size, candidate: RgbImage, candidate_size: Size, evidence: Evidence
    ) -> float | None:
        """Fraction (0 to 1) of the overlap that looks alike after registration; ``None`` if too little overlaps.

        Both images may be thumbnails; the sizes are in the pixels that the transform refers to.
        """
        ...


class Tail(Protocol):
    """The upper tail of a distribution of impostor values: those of images that do not match."""

    def log10_p(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log10 of the probability that a wrong image reaches each value; non-increasing in the value."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The tail as JSON data; ``Calibrator.read`` is the inverse."""
        ...


class Calibrator(Protocol):
    """Fits the distribution of impostor values, for score calibration."""

    def fit(self, values: NDArray[np.float64], *, total: int, floor: float, scale: float) -> Tail:
        """Fit the tail of a sample.

        Args:
            values: ``(n,)`` float64, values of wrong images in any order; may be empty.
            total: Number of wrong images examined, at least ``n``; those without a value rank below all others.
            floor: The smallest possible value.
            scale: Expected scale of the tail (increase that makes a value e times as rare), for small samples.
        """
        ...

    def read(self, data: Mapping[str, Any]) -> Tail:
        """The tail that ``Tail.to_dict`` returned.

        Raises:
            ValueError: the data are not a tail.
        """
        ...


class Store(StoreParts, Protocol):
    """Stores images and their features.

    In a durable store, a ``put`` or ``delete`` that has returned survives a killed process and a power loss.
    Readers never see part of an image, and see the changes of other processes without reopening the store. If its
    files are moved, deleted or replaced, every call raises ``CollectionMovedError``.
    """

    def register(self, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
        """Register a method, which is required before its features are put.

        A new registration replaces the previous one as long as the store has no features of the method.

        Raises:
            FingerprintMismatchError: the store has features of the method with another fingerprint or spec.
        """
        ...

    def unregister(self, method: str) -> None:
        """Delete a method and all its features; unknown methods are ignored."""
        ...

    def put(self, entries: Sequence[Entry], *, replacing: Sequence[str] = (), copied: bool = False) -> None:
        """Add images, or replace those with the same ids. All of them are durable on return.

        An entry replaces the whole image, including the features of methods that the entry lacks, and clears the
        recorded failure of its id. It also clears the removals of its id: those with its URI and, if it has no
        source, all of them. The call is atomic: if it raises, nothing was put.

        Args:
            entries: The images.
            replacing: Ids that are removed first: the earlier ids of files that have moved.
            copied: Keep the times of the records (``added_at``), which come from another store.

        Raises:
            InputError: an id is empty, not valid Unicode or longer than ``MAX_ID_BYTES`` (``core.metadata``), or
                metadata are not a JSON object.
            ValueError: features of an unregistered method, of another spec, or not of exactly one image.
            FingerprintMismatchError: the method has since been registered with another fingerprint.
        """
        ...

    def put_features(self, image_id: str, features: Mapping[str, Features]) -> None:
        """Add or replace features of an existing image: method name -> features.

        Raises:
            UnknownImageError: no image has this id.
            ValueError, FingerprintMismatchError: as for ``put``.
        """
        ...

    def touch(self, image_id: str, *, uri: str, stamp: str) -> None:
        """Update URI and stamp of an image whose content is unchanged; unknown ids are ignored."""
        ...

    def delete(self, ids: Sequence[str], *, remember: bool = False) -> int:
        """Remove images and return the number removed; unknown ids are ignored.

        Args:
            ids: Ids of the images.
            remember: Record the removals (``removals``), so that indexing does not add the images again. An image
                without a URI cannot come from a source, so its removal is not recorded.
        """
        ...

    def get(self, image_id: str) -> ImageRecord:
        """The record of an image.

        Raises:
            UnknownImageError: no image has this id.
        """
        ...

    def thumbnail(self, image_id: str) -> bytes:
        """The JPEG thumbnail of an image; empty if it has none.

        Raises:
            UnknownImageError: no image has this id.
        """
        ...

    def features(self, image_id: str, method: str) -> Features:
        """The features of one image (a batch of one).

        Raises:
            UnknownImageError: no image has this id.
            MethodNotIndexedError: the image has no features of this method.
        """
        ...

    def status(self, ids: Sequence[str]) -> dict[str, ImageStatus]:
        """The status of each of these images; unknown ids are left out."""
        ...

    def images(
        self,
        *,
        after: str = "",
        limit: int = 100,
        source: str | None = None,
        where: Filter | None = None,
        contains: str = "",
    ) -> list[ImageRecord]:
        """A page of records, ordered by id (code points).

        Args:
            after: The last id of the previous page; empty for the first page.
            limit: Maximum number of records.
            source: Only images added from this source.
            where: Only images whose metadata match this filter.
            contains: Only images with this text in their id or metadata (``filters.contains_text``).
        """
        ...

    def scan(self, method: str) -> Iterator[GalleryBlock]:
        """All images that have features of a method, each once, in blocks of bounded size and arbitrary order.

        Images put or deleted during the scan may or may not appear, but never in part. The arrays must not be
        modified: the store may return the same ones to other callers.

        Raises:
            MethodNotIndexedError: the method is not registered.
            CollectionCorruptError: features do not match their checksum.
        """
        ...

    def select(self, method: str, ids: Sequence[str]) -> GalleryBlock:
        """The features of some images, in the order of ``ids``, without duplicates.

        Unknown ids, and images without features of the method, are left out.

        Raises:
            MethodNotIndexedError: the method is not registered.
            CollectionCorruptError: features do not match their checksum.
        """
        ...

    def changes(self, method: str, since: Cursor | None) -> Changes:
        """Changes to the features of a method since a cursor, for incremental updates of derived data.

        A follower applies ``new`` first, without the keys it knows already, and then ``gone``, without those it
        does not know. It then knows exactly the keys that existed in one state of the store, which contains every
        change that had returned before the call, whatever the number of writers. So it misses nothing, and a
        removed key never returns.

        A store keeps a limited record of removals. If ``since`` is older, or does not belong to the present
        history of this store (which was restored, or replaced by another), the changes are ``complete``.

        Args:
            method: Name of the method; if it is not registered, it has no features.
            since: Cursor of the last changes; ``None`` for all existing features.
        """
        ...

    def load(
        self, method: str, keys: NDArray[np.int64], *, where: Filter | None = None
    ) -> tuple[NDArray[np.int64], GalleryBlock]:
        """The features of some keys (ascending); removed ones are left out.

        Args:
            method: Name of the method.
            keys: ``(K,)`` int64.
            where: Only images whose metadata match this filter; features of others are not read.

        Returns:
            The keys that exist, ascending, and their images in the same order.

        Raises:
            MethodNotIndexedError: the method is not registered.
            CollectionCorruptError: features do not match their checksum.
        """
        ...

    def checksums(self, method: str, keys: NDArray[np.int64]) -> dict[int, int]:
        """Key -> checksum of its features and image id, for each key that exists."""
        ...

    def info(self) -> StoreInfo:
        """Number of images and failures, bytes on disk, and the methods."""
        ...

    def close(self) -> None:
        """Close all files. Repeated calls have no effect."""
        ...


class AnnIndex(Protocol):
    """An approximate nearest-neighbour index of one method: it proposes the candidates to score.

    It is derived from a store, never proposes removed images, and always proposes images that are not indexed yet.
    Several processes may use it at once.
    """

    def state(self) -> AnnIndexState:
        """Progress of indexing relative to the current state of the store."""
        ...

    def refresh(self, *, rebuild: bool = False, progress: Callable[[int, int], None] | None = None) -> bool:
        """Index the images that are not indexed yet.

        Args:
            rebuild: Train on the current collection again, and index all images.
            progress: Called with (done, total) images.

        Returns:
            Whether there was anything to do.

        Raises:
            CollectionCorruptError: features do not match their checksum.
        """
        ...

    def propose(self, queries: Features, n: int, *, where: Filter | None = None) -> list[Proposals]:
        """The ``n`` best candidates for each query, and all images that are not indexed yet.

        Args:
            queries: A batch; faster than one query at a time.
            n: Number of indexed images to propose; an index may propose up to twice as many.
            where: Propose enough images for about ``n`` to match this filter, where it is not too narrow. Images
                that do not match may be among them: ``Store.load`` applies the filter.
        """
        ...

    def sample(self, n: int) -> GalleryBlock:
        """A query-independent sample of about ``n`` images, largely stable as the collection changes."""
        ...

    def verify(self) -> list[str]:
        """Compare the index with the store; returns one sentence per problem."""
        ...

"""What a part must do to fit; ``imagefinder.testing`` holds the suites that check it.

Every implementation is safe to call from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import Decoded, FeatureMap, Features, FeatureSpec, RgbImage
from imagefinder.core.filters import Filter
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import (
    AnnIndexState,
    Changes,
    Damage,
    Entry,
    Failure,
    GalleryBlock,
    ImageRecord,
    ImageStatus,
    Proposals,
    StoreInfo,
)
from imagefinder.core.results import Evidence, Size


class Decoder(Protocol):
    """Encoded bytes in, pixels out, whatever the bytes are."""

    def decode(self, data: bytes, *, max_bytes: int, max_pixels: int) -> Decoded:
        """Decode the first frame of an encoded picture; ``images.decoding.decode.decode`` says how.

        Args:
            data: The encoded picture.
            max_bytes: Largest ``data`` accepted.
            max_pixels: Largest width x height accepted; checked before pixels are decoded.

        Raises:
            ImageError: the picture cannot be used.
        """
        ...

    def start(self) -> None:
        """Say that a picture will come soon; returns at once."""
        ...

    def close(self) -> None:
        """Let go of what is held; calling it again does nothing."""
        ...


class Fetcher(Protocol):
    """A URL in, encoded bytes out."""

    def fetch(self, url: str) -> bytes:
        """Download what an ``http(s)`` URL names.

        Raises:
            FetchError: the URL gave no image, or may not be used.
            ImageTooLargeError: the answer is over the limit.
        """
        ...

    def close(self) -> None:
        """Close all connections; calling it again does nothing."""
        ...


class Extractor(Protocol):
    """Pictures in, features out."""

    @property
    def spec(self) -> FeatureSpec:
        """The form of the features; known without loading anything."""
        ...

    def fingerprint(self) -> Fingerprint:
        """What the features depend on.

        Raises:
            ModelMissingError: the weights are needed and not here.
        """
        ...

    def extract(self, images: Sequence[RgbImage]) -> Features:
        """Features of each picture, in order; the same alone as in any batch (networks: to 1e-4).

        Args:
            images: Each ``(height, width, 3)`` uint8 RGB with at least one pixel. May be empty.

        Raises:
            ModelMissingError: the weights are needed and not here. Nothing else answers instead.
        """
        ...


class Matcher(Protocol):
    """Features in, scores out. Higher is better."""

    def score(self, query: Features, gallery: Features) -> NDArray[np.float64]:
        """How well each gallery image agrees with the query.

        Args:
            query: A batch of one image.
            gallery: A batch of B images of the same form.

        Returns:
            ``(B,)`` float64, finite.
        """
        ...

    def matches(self, query: Features, candidate: Features) -> NDArray[np.int64]:
        """Which descriptors agree: ``(M, 2)`` rows (query, candidate), sorted; ``(0, 2)`` for global features.

        Both arguments are batches of one image.
        """
        ...


@runtime_checkable
class NearMatcher(Matcher, Protocol):
    """A matcher that also says how many of the matches are near ones, which chance hardly ever gives."""

    def score_near(self, query: Features, gallery: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``score``, and likewise ``(B,)`` how much a close look promises."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """One geometry that explains matches.

    Attributes:
        evidence: The transform and how strong it is.
        inliers: ``(I, 2)`` int64, the matches that it explains, sorted; I is ``evidence.inliers``.
    """

    evidence: Evidence
    inliers: NDArray[np.int64]


class Verifier(Protocol):
    """Matches in, evidence out: whether they agree on one geometry. The order of the matches does not matter.

    All features are batches of one image; ``matches`` is what the matcher gives for them.
    """

    def verify(
        self,
        query: Features,
        candidate: Features,
        matches: NDArray[np.int64],
        *,
        query_size: Size,
        candidate_size: Size,
    ) -> Verification | None:
        """The transform that explains most matches; ``None`` where chance would explain as many.

        ``matches`` are ``(M, 2)`` int64 rows; the sizes are those in pixels that keypoints refer to.
        """
        ...


class Mapper(Protocol):
    """Optional beside an extractor of global features: what its vector is the mean of."""

    def map(self, image: RgbImage) -> FeatureMap:
        """The cells whose mean is the picture's vector (to 1e-4 of its length), and where they lie.

        Raises:
            ModelMissingError: the weights are needed and not here.
        """
        ...


class PhotometricCheck(Protocol):
    """Two registered images in, how much of them looks alike out."""

    def agreement(
        self, query: RgbImage, query_size: Size, candidate: RgbImage, candidate_size: Size, evidence: Evidence
    ) -> float | None:
        """Share of the common area that looks alike once the transform has registered both images, 0 to 1.

        ``None`` where too little can be compared. Both images may be thumbnails; the sizes are those in pixels
        that the transform refers to.
        """
        ...


class Tail(Protocol):
    """How often wrong pictures reach a value."""

    def log10_p(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithm to base 10 of the probability that a wrong picture reaches each value; never rises with it."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``Calibrator.read`` reads it."""
        ...


class Calibrator(Protocol):
    """Values of wrong pictures in, the law they follow out."""

    def fit(self, values: NDArray[np.float64], *, total: int, floor: float, scale: float) -> Tail:
        """The law behind a sample.

        Args:
            values: ``(n,)``, of wrong pictures, in any order; may be empty.
            total: How many wrong pictures were looked at, at least ``n``; those without a value had less than any.
            floor: The least value there can be.
            scale: By how much, about, a value must grow to become rarer by the factor e, where the sample says
                little.
        """
        ...

    def read(self, data: Mapping[str, Any]) -> Tail:
        """What ``Tail.to_dict`` wrote.

        Raises:
            ValueError: it is nothing of the kind.
        """
        ...


class Store(Protocol):
    """Keeps images and their features.

    A ``put`` or ``delete`` that returned survives a killed process and a power loss (stores that promise
    durability). A reader sees a whole image or none of it. Other processes' changes are seen without reopening.
    """

    def register(self, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
        """Announce a method before its features are put; doing so again changes nothing.

        While the store holds no features of the method, the last announcement counts.

        Raises:
            FingerprintMismatchError: the store holds features of that method made differently.
        """
        ...

    def unregister(self, method: str) -> None:
        """Forget a method and all its features; an unknown one is no error."""
        ...

    def put(self, entries: Sequence[Entry]) -> None:
        """Add images, or replace those whose ids are there. All of them are durable on return.

        An entry replaces the whole image: features of methods it does not bring are gone. A past failure of
        the id is forgotten. Where this raises, nothing was put.

        Raises:
            InputError: an id that is empty or no Unicode text, metadata that are no JSON object.
            ValueError: features of a method that was not registered, of another form, or not of one image.
            FingerprintMismatchError: someone has meanwhile announced the method differently from this object.
        """
        ...

    def put_features(self, image_id: str, features: Mapping[str, Features]) -> None:
        """Add or replace the features of some methods of an image that is there.

        Raises:
            UnknownImageError: no such image.
            ValueError, FingerprintMismatchError: as ``put``.
        """
        ...

    def touch(self, image_id: str, *, uri: str, stamp: str) -> None:
        """Note that an image was found unchanged under a new stamp; an unknown id is no error."""
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Remove images and return how many were there; unknown ids are no error."""
        ...

    def get(self, image_id: str) -> ImageRecord:
        """The record of an image.

        Raises:
            UnknownImageError: no such image.
        """
        ...

    def thumbnail(self, image_id: str) -> bytes:
        """Its JPEG thumbnail; empty if it has none.

        Raises:
            UnknownImageError: no such image.
        """
        ...

    def features(self, image_id: str, method: str) -> Features:
        """The features of one image (a batch of one).

        Raises:
            UnknownImageError: no such image.
            MethodNotIndexedError: the image has none of that method.
        """
        ...

    def status(self, ids: Sequence[str]) -> dict[str, ImageStatus]:
        """What is there of these images; ids that are not there are left out."""
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
        """A page of records ordered by id (code points), beginning behind the id ``after``.

        Args:
            after: The last id of the page before; empty for the first page.
            limit: At most so many.
            source: Only images added through this source.
            where: Only images whose metadata match.
            contains: Only images with this text in their id or in a text of their metadata (``filters.says``).
        """
        ...

    def scan(self, method: str) -> Iterator[GalleryBlock]:
        """All images that have features of a method, in blocks of bounded size, each image once.

        The order is the store's own. Images put or deleted meanwhile may be seen or not; each one seen is whole.
        The arrays are for reading only: the store may hand the same ones to others.

        Raises:
            MethodNotIndexedError: the method was never registered.
            CollectionCorruptError: features do not have their checksum.
        """
        ...

    def select(self, method: str, ids: Sequence[str]) -> GalleryBlock:
        """The features of some images, in the order of ``ids``, each once.

        Those that are not there, or have no features of the method, are left out.

        Raises:
            MethodNotIndexedError: the method was never registered.
            CollectionCorruptError: features do not have their checksum.
        """
        ...

    def changes(self, method: str, *, revision: int, last: int, count: int) -> Changes | None:
        """What became of the features of a method, for those who keep something derived from them.

        Args:
            method: Its name; of one that is not registered all features are gone.
            revision: Of the state that is known; -1 for none.
            last: The greatest key in that state; 0 for none.
            count: How many keys were there.

        Returns:
            ``None`` where nothing changed.
        """
        ...

    def load(self, method: str, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], GalleryBlock]:
        """The features behind some keys (ascending); those that are gone are left out.

        Returns:
            The keys that are there, ascending, and their images in the same order.

        Raises:
            MethodNotIndexedError: the method was never registered.
            CollectionCorruptError: features do not have their checksum.
        """
        ...

    def checksums(self, method: str, keys: NDArray[np.int64]) -> dict[int, int]:
        """A checksum of the features and the owner's id behind each key that is there."""
        ...

    def record_failures(self, failures: Sequence[Failure]) -> None:
        """Note images that could not be indexed; the same id again counts one more attempt."""
        ...

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """What could not be indexed, ordered by id (code points), beginning behind the id ``after``.

        Args:
            after: The last id of the page before; empty for the first page.
            limit: At most so many; ``None`` for all.
        """
        ...

    def forget_failures(self, ids: Sequence[str]) -> None:
        """Drop such notes; unknown ids are no error."""
        ...

    def info(self) -> StoreInfo:
        """Counts, bytes and methods."""
        ...

    def derived(self, name: str) -> bytes | None:
        """What was kept under a name and can be computed again; ``None`` if it is not there (any more)."""
        ...

    def put_derived(self, name: str, data: bytes) -> None:
        """Keep something that can be computed again; it may be lost at any time, but is never seen half."""
        ...

    def check(
        self,
        *,
        repair: bool = False,
        sound_thumbnail: Callable[[bytes], bool] = bool,
        sound_derived: Callable[[str, bytes], bool] = lambda _name, _data: True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Damage]:
        """Look at everything that is kept, and tell what is not as it was written; empty if nothing.

        Args:
            repair: Mend it: damaged rows are dropped, so that the next ``add`` makes them again; counts, indexes
                and what is derived are made anew.
            sound_thumbnail: Says whether a thumbnail is a picture.
            sound_derived: Says whether what was kept under a name can be used; folders of indexes check
                themselves.
            progress: Called with (done, total), of no fixed unit.
        """
        ...

    def backup(self, destination: Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Copy one consistent state, while others may write, to a place that can then be opened like this one.

        It appears there complete, checked and durable, or not at all.

        Args:
            destination: A folder that is not there, or empty.
            progress: Called with (done, total), of no fixed unit.

        Raises:
            SourceError: something is there.
            CollectionCorruptError: this collection is damaged.
            StoreError: it cannot be written, or the store keeps nothing that could be copied.
        """
        ...

    def derived_folder(self) -> Path | None:
        """Where files that can be computed again may be kept; it need not exist yet. ``None``: nowhere."""
        ...

    def close(self) -> None:
        """Let go of files; calling it again does nothing."""
        ...


class AnnIndex(Protocol):
    """Proposes candidates of one method, so that not every image need be scored; derived from a store.

    It never proposes what is gone, and always proposes what it has not indexed yet. Several processes may use it.
    """

    def state(self) -> AnnIndexState:
        """How far it has come, against the store as it is now."""
        ...

    def refresh(self, *, rebuild: bool = False, progress: Callable[[int, int], None] | None = None) -> bool:
        """Index what is not indexed yet.

        Args:
            rebuild: Begin anew, with what is learned from the collection as it is now.
            progress: Called with (done, total) images.

        Returns:
            Whether there was anything to do.

        Raises:
            CollectionCorruptError: features do not have their checksum.
        """
        ...

    def propose(self, queries: Features, n: int) -> list[Proposals]:
        """The ``n`` most promising images for each query, and all that are not indexed yet.

        Args:
            queries: A batch; of several views of one picture, together in less time than one by one.
            n: How many.
        """
        ...

    def sample(self, n: int) -> GalleryBlock:
        """About so many images of the collection, chosen without regard to any query; mostly the same ones."""
        ...

    def verify(self) -> list[str]:
        """Compare all of it with the store; what is wrong, for people."""
        ...

"""The records of a store: images, failures, changes, damage, and the state of indexes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import Features, FeatureSpec, LocalFeatures
from imagefinder.core.file_metadata import NO_FILE_METADATA, FileMetadata
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.previews import KeptKind


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a collection.

    Attributes:
        id: Opaque, user-defined identifier: any text of 1 to 1,024 bytes in UTF-8 (``metadata.MAX_ID_BYTES``).
        uri: URI that the image came from (``file:``, ``http:``, ``https:`` or ``archive:``); empty if unknown.
        sha256: SHA-256 of the encoded image, hexadecimal.
        size_bytes: Size of the encoded image in bytes.
        width: Width in pixels, upright.
        height: Height in pixels, upright.
        format: Encoded format, for example ``JPEG``.
        source: URI of the folder, archive or list that the image was added from, used for pruning; empty if none.
        stamp: Changes when the content may have changed, for example size and modification time of a file.
        metadata: User-defined JSON object.
        added_at: Time of the last put in seconds since 1970; set by the store.
        file_metadata: What the file says about the image.
    """

    id: str
    uri: str
    sha256: str
    size_bytes: int
    width: int
    height: int
    format: str
    source: str = ""
    stamp: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    added_at: float = 0.0
    file_metadata: FileMetadata = NO_FILE_METADATA

    @property
    def filterable(self) -> Mapping[str, Any]:
        """The metadata that filters see: those of the user, and what the file says."""
        if not self.file_metadata.properties:
            return self.metadata
        return {**self.file_metadata.properties, **self.metadata}

    @property
    def searchable(self) -> list[Mapping[str, Any]]:
        """The texts to search: the metadata of the user, and what the file says, without places."""
        return [self.metadata, self.file_metadata.shown()]

    @property
    def version(self) -> str:
        """Identifies the stored content, for detecting replacements: the hash or, if there is none, the time."""
        return self.sha256 or repr(self.added_at)


@dataclass(frozen=True, slots=True, eq=False)
class ThumbnailFeatures:
    """Features of the thumbnail of an image, which spatial verification would otherwise compute again and again.

    Attributes:
        fingerprint: Fingerprint of the features.
        features: A batch of one; keypoints in pixels of the image itself.
    """

    fingerprint: Fingerprint
    features: LocalFeatures


@dataclass(frozen=True, slots=True)
class ThumbnailUsage:
    """Number and size of stored features of thumbnails.

    Attributes:
        images: Number of images whose thumbnail has features.
        bytes: Their size in the store, in bytes.
    """

    images: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An image as it is put into a store: record, features and thumbnail.

    Attributes:
        image: The record.
        features: Method name -> features of this image, a batch of one.
        thumbnail: Encoded JPEG of at most 256 x 256 pixels (elongated images: 8,192 x 128); may be empty.
        thumbnail_features: Features of the thumbnail; ``None`` if they were not computed.
        kept: What the collection keeps of an uploaded image, by kind.
    """

    image: ImageRecord
    features: Mapping[str, Features]
    thumbnail: bytes = b""
    thumbnail_features: ThumbnailFeatures | None = None
    kept: Mapping[KeptKind, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """The stored state of an image, from which indexing decides whether to read the image again.

    Attributes:
        sha256: SHA-256 of the encoded image, hexadecimal.
        stamp: Changes when the content may have changed.
        uri: URI that the image came from.
        methods: Names of the methods that the image has features of.
        file_stamp: ``FileMetadata.stamp``.
    """

    sha256: str
    stamp: str
    uri: str
    methods: frozenset[str]
    file_stamp: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be indexed.

    Attributes:
        id: Id that the image would have had.
        uri: URI of the image.
        code: ``code`` of the error.
        message: ``message`` of the error.
        attempts: Number of attempts; counted by the store.
        at: Time of the last attempt in seconds since 1970; set by the store.
        source: URI of the folder, archive or list that names the image; empty if none.
    """

    id: str
    uri: str
    code: str
    message: str
    attempts: int = 1
    at: float = 0.0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Removal:
    """An image that was removed from the collection and must not return with the next ``add``.

    Attributes:
        id: Id of the image.
        uri: URI that the image came from.
        sha256: SHA-256 of the encoded image, hexadecimal.
        source: URI of the folder, archive or list that the image was added from; empty if none.
        at: Time of the removal in seconds since 1970; set by the store.
    """

    id: str
    uri: str
    sha256: str
    source: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True, weakref_slot=True)
class GalleryBlock:
    """Ids and features of some images, for one method.

    Attributes:
        ids: Ids of the images.
        features: A batch of ``len(ids)`` images.
    """

    ids: tuple[str, ...]
    features: Features


Cursor: TypeAlias = str
"""A position in the changes of a method: opaque ASCII text of at most 200 characters, which may be stored."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Changes to the stored features of a method since a cursor.

    A key identifies the features of one image by one method. Keys are never reused, and replaced features get a
    new key.

    Attributes:
        cursor: The position after these changes.
        new: ``(K,)`` int64, keys of existing features that were added since, ascending. They may include keys that
            were reported before, and keys smaller than those.
        sizes: ``(K,)`` int64, bytes of the features of each of these keys.
        gone: ``(G,)`` int64, keys of features that were removed since, in any order. They may include keys that
            were never reported, or repeatedly.
        complete: Whether ``new`` lists all existing keys, so that all others are gone.
    """

    cursor: Cursor
    new: NDArray[np.int64]
    sizes: NDArray[np.int64]
    gone: NDArray[np.int64]
    complete: bool = False

    @property
    def any(self) -> bool:
        """Whether there is anything to apply."""
        return self.complete or len(self.new) > 0 or len(self.gone) > 0


_NO_KEYS = np.empty(0, dtype=np.int64)

NO_FEATURES = Changes("", new=_NO_KEYS, sizes=_NO_KEYS, gone=_NO_KEYS, complete=True)
"""The changes of a method that is not registered."""


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """The features of one method in a collection.

    Attributes:
        fingerprint: Fingerprint of the features.
        spec: Kind, dimension and dtype of the features.
        images: Number of images with features of the method.
        bytes: Size of the features in bytes.
    """

    fingerprint: Fingerprint
    spec: FeatureSpec
    images: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """The state of a collection.

    Attributes:
        location: Description of the location, usually a folder.
        format_version: Version of the file format.
        images: Number of images.
        failures: Number of images that could not be indexed.
        methods: Method name -> its features in the collection.
        bytes_on_disk: Size of all files in bytes; 0 for a store in memory.
    """

    location: str
    format_version: int
    images: int
    failures: int
    methods: Mapping[str, MethodInfo]
    bytes_on_disk: int


CalibrationState: TypeAlias = Literal["current", "outdated", "running", "none"]
"""``current``; ``outdated``: the collection has changed much since; ``running``: in the background; ``none``: not
calibrated, so searches use the prior that imagefinder ships with, and are cautious."""


@dataclass(frozen=True, slots=True)
class CalibrationInfo:
    """The calibration of a collection.

    Attributes:
        state: Its state.
        null_model: Version of the null model that searches use.
        calibrated_images: Number of images of the collection when it was calibrated; 0 for the prior.
        images: Number of images now.
    """

    state: CalibrationState
    null_model: str
    calibrated_images: int
    images: int


DamageKind: TypeAlias = Literal[
    "database", "method", "record", "thumbnail", "features", "kept", "orphan", "counts", "derived"
]
"""Kind of damage: database structure, the record of a method, the record of an image, its thumbnail, its
features, its kept preview or original, rows without an owner, counts, or derived data."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Damage to stored data.

    Attributes:
        kind: What is damaged.
        message: Description in one sentence.
        image_id: Id of the affected image; empty if it does not affect a single image, or the id is unreadable.
        method: Name of the affected method; empty if it does not affect a single method.
        repaired: How the damage was repaired; empty if it was not.
    """

    kind: DamageKind
    message: str
    image_id: str = ""
    method: str = ""
    repaired: str = ""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """The result of a sweep: objects that no image uses any more are marked, and deleted after a while.

    Attributes:
        objects: Number of objects listed.
        marked: Number of them that were found unused for the first time.
        deleted: Number of unused objects that were deleted.
        waiting: Number of unused objects that are not old enough to be deleted.
    """

    objects: int
    marked: int
    deleted: int
    waiting: int


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of an integrity check of a collection.

    Attributes:
        location: Description of the location, usually a folder.
        images: Number of images, after repairs.
        damages: The damage found, in the order of the checks.
        seconds: Duration of the check.
        sound: Whether no damage was found.
    """

    location: str
    images: int
    damages: tuple[Damage, ...]
    seconds: float
    sound: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sound", not self.damages)

    @property
    def left(self) -> tuple[Damage, ...]:
        """The damage that was not repaired."""
        return tuple(damage for damage in self.damages if not damage.repaired)


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Candidates that an ANN index proposes for a query, best first.

    Attributes:
        keys: ``(P,)`` int64, keys of their features (``Changes``).
        scores: ``(P,)`` float64; higher is better. Images that are not indexed yet come first, with infinity.
    """

    keys: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DerivedData:
    """Derived data as a store returns them.

    Attributes:
        data: The data.
        version: Identifies these data among all that were ever stored under the name: short, opaque text.
    """

    data: bytes
    version: str


SHORTLIST = "shortlist-"
"""Prefix of the folder of an ANN index among the derived data; the name of the method follows."""


@dataclass(frozen=True, slots=True)
class AnnIndexState:
    """The state of an ANN index.

    Attributes:
        method: Name of the method.
        images: Number of images with features of the method.
        indexed: Number of indexed images.
        waiting: Number of images that are not indexed yet.
        segments: Number of segments.
        bytes: Size of its arrays in bytes.
        kept: Whether the whole index is on disk; always true for a store without a folder.
        outgrown: Whether the collection has outgrown its training, so that a rebuild would speed up searches.
    """

    method: str
    images: int
    indexed: int
    waiting: int
    segments: int
    bytes: int
    kept: bool
    outgrown: bool = False


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The state of the ANN indexes of a collection.

    Attributes:
        indexes: State of the index of each method.
        problems: Problems found, one sentence each; empty if nothing was checked.
        seconds: Duration of the operation.
    """

    indexes: tuple[AnnIndexState, ...]
    problems: tuple[str, ...]
    seconds: float

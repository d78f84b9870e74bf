"""What a store keeps about an image beside its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.fingerprint import Fingerprint


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a collection.

    Attributes:
        id: The user's name for it; opaque.
        uri: Where it came from: ``file:``, ``http:``, ``https:`` or ``archive:`` URI; empty if unknown.
        sha256: Of the encoded bytes, hexadecimal.
        size_bytes: Length of the encoded bytes.
        width: Pixels, upright.
        height: Pixels, upright.
        format: Encoded format, for example ``JPEG``.
        source: The folder, archive or list it was added through (a URI); empty if none. Pruning looks at this.
        stamp: Changes when the source says that the bytes may have changed (size and time of a file).
        metadata: The user's own JSON object.
        added_at: Seconds since 1970 when it was put; a store sets it.
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

    @property
    def version(self) -> str:
        """Changes when the image is replaced by another: the hash or, where none is stored, the time."""
        return self.sha256 or repr(self.added_at)


@dataclass(frozen=True, slots=True)
class Entry:
    """An image with all that is put together with it.

    Attributes:
        image: Its record.
        features: Method name -> features of exactly this one image (a batch of one).
        thumbnail: Encoded JPEG, at most 256 pixels a side; empty if there is none.
    """

    image: ImageRecord
    features: Mapping[str, Features]
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """What a store already has of an image: enough to decide whether to read it again.

    Attributes:
        sha256: Of the bytes that were indexed.
        stamp: See ``ImageRecord``.
        uri: See ``ImageRecord``.
        methods: The methods whose features are there.
    """

    sha256: str
    stamp: str
    uri: str
    methods: frozenset[str]


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be indexed.

    Attributes:
        id: The id it would have had.
        uri: Where it would have come from.
        code: ``code`` of the error.
        message: Its sentence.
        attempts: How often it was tried; a store counts.
        at: Seconds since 1970 of the last try; a store sets it.
        source: See ``ImageRecord``.
    """

    id: str
    uri: str
    code: str
    message: str
    attempts: int = 1
    at: float = 0.0
    source: str = ""


@dataclass(frozen=True, slots=True)
class GalleryBlock:
    """Some images of a collection with their features of one method.

    Attributes:
        ids: One per image.
        features: A batch of ``len(ids)`` images.
    """

    ids: tuple[str, ...]
    features: Features


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What became of the stored features of a method since a former state.

    A key stands for the features of one image by one method; it is never given twice, and features that are
    replaced get a new one.

    Attributes:
        revision: Of the present state.
        new: Ascending keys added since, all above the former ones.
        sizes: Bytes of each of them.
        alive: All present keys, ascending; ``None`` if none of the former ones is gone.
    """

    revision: int
    new: NDArray[np.int64]
    sizes: NDArray[np.int64]
    alive: NDArray[np.int64] | None


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """A method as a collection holds it.

    Attributes:
        fingerprint: What made the features.
        spec: Their form.
        images: How many images have them.
        bytes: Bytes of features stored.
    """

    fingerprint: Fingerprint
    spec: FeatureSpec
    images: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """The state of a collection.

    Attributes:
        location: Where it lies, for people.
        format_version: Of the files.
        images: How many images.
        failures: How many images could not be indexed.
        methods: Name -> what is held.
        bytes_on_disk: All files together; 0 for a store in memory.
    """

    location: str
    format_version: int
    images: int
    failures: int
    methods: Mapping[str, MethodInfo]
    bytes_on_disk: int


DamageKind: TypeAlias = Literal[
    "database", "method", "record", "thumbnail", "features", "orphan", "counts", "derived"
]
"""What can be damaged: the tables and indexes themselves; what is said of a method; what is said of an image; its
thumbnail; its features; rows that belong to nothing; the counts; what can be computed again."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was written.

    Attributes:
        kind: What is damaged.
        message: One sentence for people.
        image_id: Of the image concerned; empty if it is no single one, or cannot be read.
        method: Name of the method concerned, likewise.
        repaired: What was done to repair it; empty if nothing was.
    """

    kind: DamageKind
    message: str
    image_id: str = ""
    method: str = ""
    repaired: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check of a collection found.

    Attributes:
        location: Where it lies, for people.
        images: How many images it holds, after repairs.
        damages: What was found, in the order of the check.
        seconds: How long it took.
        sound: Whether nothing was found.
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
        """Damage that was found and not repaired."""
        return tuple(damage for damage in self.damages if not damage.repaired)


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Candidates for a query, the most promising first.

    Attributes:
        keys: ``(P,)`` int64, of their features; see ``Changes``.
        scores: ``(P,)`` float64; higher is better. Those that no index knows yet stand first, with infinity.
    """

    keys: NDArray[np.int64]
    scores: NDArray[np.float64]


SHORTLIST = "shortlist-"
"""So begin, before the name of the method, the folders of indexes among what is derived."""


@dataclass(frozen=True, slots=True)
class AnnIndexState:
    """How far an index has come.

    Attributes:
        method: Whose features it proposes from.
        images: How many images have such features.
        indexed: How many of them it knows.
        waiting: How many it does not know yet.
        segments: In how many parts.
        bytes: Of all of its arrays.
        kept: Whether all of it is in files, where the store has a folder for them.
        outgrown: Whether the collection has grown so much since its words were learned that searches take longer
            than they need to.
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
        indexes: One per method.
        problems: What was found wrong, one sentence each; empty where nothing was checked.
        seconds: How long it took.
    """

    indexes: tuple[AnnIndexState, ...]
    problems: tuple[str, ...]
    seconds: float

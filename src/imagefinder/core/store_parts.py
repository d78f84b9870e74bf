"""Parts of the ``Store`` contract: lookups by other properties than the id, derived data, leases and upkeep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from imagefinder.core.features import FeatureSpec, LocalFeatures
from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.filters import Filter
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.listing import BY_ID, EVERYTHING, Group, GroupBy, ListPosition, Order, Selection
from imagefinder.core.previews import KeptKind
from imagefinder.core.records import (
    Damage,
    DerivedData,
    Entry,
    Failure,
    ImageRecord,
    Removal,
    SweepReport,
    ThumbnailFeatures,
    ThumbnailUsage,
)


class StoreLookups(Protocol):
    """Lookups of stored and removed images."""

    def records(self, ids: Sequence[str]) -> dict[str, ImageRecord]:
        """The records of many images, by id; unknown ids are left out.

        Raises:
            CollectionCorruptError: a record does not match its checksum.
        """
        ...

    def thumbnails(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The JPEG thumbnails of many images, by id; empty for an image without one; unknown ids are left out.

        Raises:
            CollectionCorruptError: a thumbnail does not match its checksum.
        """
        ...

    def count(self, where: Filter | None = None, *, stacks: bool = False) -> int:
        """The number of images whose metadata match a filter; of all images without one.

        Args:
            where: The filter.
            stacks: Count the matching images of a stack as one.
        """
        ...

    def matching(self, where: Filter, ids: Sequence[str] | None = None) -> dict[str, str]:
        """The images whose metadata match a filter, and the stack of each; with ``ids``, only those among them.

        Returns:
            Id -> ``FileMetadata.stack``.
        """
        ...

    def entry(self, image_id: str) -> Entry:
        """An image with all its features and its thumbnail, in one consistent state.

        Raises:
            UnknownImageError: no image has this id.
            CollectionCorruptError: the features do not match their checksum.
        """
        ...

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        """Digests of the content of many images, by id, from stored checksums; unknown ids are left out.

        The content is the record, the thumbnail and the features of all methods. Two stores of any kind have the
        same content under an id exactly if the digests are equal; ``stores.digests`` defines them.
        """
        ...

    def copies(self, sha256: str) -> list[ImageRecord]:
        """The images with these bytes, ordered by id."""
        ...

    def equivalents(self, image_id: str) -> list[str]:
        """The stored ids that differ from this one at most in Unicode normalisation, ordered.

        File names written by macOS are decomposed (NFD), names typed by people composed (NFC).
        """
        ...

    def sample(self, method: str, n: int) -> list[str]:
        """Ids of up to ``n`` images with features of a method, chosen by content, largely stable as images change.

        The images are those with the smallest hashes: the SHA-256 of the encoded image or, if there is none, a
        hash of the features. So the choice depends neither on ids nor on the order in which images were added. Of
        several images with the same content, only the one with the smallest id is chosen.

        Returns:
            The ids in the order of the hashes, so that a smaller sample is the beginning of a larger one.

        Raises:
            MethodNotIndexedError: the method is not registered.
        """
        ...

    def removals(
        self,
        *,
        after: str = "",
        limit: int | None = None,
        ids: Sequence[str] | None = None,
        sha256: str | None = None,
    ) -> list[Removal]:
        """Recorded removals (``delete``), ordered by id and URI.

        Args:
            after: The last id of the previous page; empty for the first page.
            limit: Number of removals; a page is longer if more removals have its last id. ``None``: no limit.
            ids: Only removals of these ids.
            sha256: Only removals of images with these bytes.
        """
        ...

    def record_removals(self, removals: Sequence[Removal]) -> None:
        """Record removals that come from another store, with their times, replacing those of the same id and URI.

        Raises:
            InputError: an id is empty or too long, or a text is not valid Unicode.
        """
        ...

    def move_removal(self, removal: Removal, moved: Removal) -> None:
        """Replace a recorded removal by that of the new id and URI of its file; an unknown one is ignored."""
        ...

    def forget_removals(self, ids: Sequence[str]) -> int:
        """Delete the recorded removals of these ids, and return how many there were."""
        ...


class StoreListings(Protocol):
    """Sorted listings of images, and their groups; ``core.listing`` defines by what."""

    def listing(
        self,
        selection: Selection = EVERYTHING,
        order: Order = BY_ID,
        *,
        after: ListPosition | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> list[ImageRecord]:
        """A page of records, sorted.

        Images added or removed between two pages do not make other images appear twice or not at all.

        Args:
            selection: Which images to list.
            order: The order of the listing.
            after: The position of the last image of the previous page; ``None`` for the beginning.
            offset: Number of images to skip from there.
            limit: Maximum number of records.

        Raises:
            CollectionCorruptError: a record does not match its checksum.
        """
        ...

    def groups(
        self,
        by: GroupBy,
        selection: Selection = EVERYTHING,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Group]:
        """The groups of images, ordered by their value (code points), none of them empty.

        Args:
            by: What images are grouped by.
            selection: Which images to group.
            after: The value of the last group of the previous page; ``None`` for the first page.
            limit: Maximum number of groups; ``None``: no limit.

        Raises:
            CollectionCorruptError: a record does not match its checksum.
        """
        ...


class StoreMetadata(Protocol):
    """Changes to the metadata of users (``ImageRecord.metadata``)."""

    def edit_metadata(self, ids: Sequence[str], edit: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> int:
        """Replace the metadata of images by what ``edit`` makes of them, all or none; unknown ids are ignored.

        Args:
            ids: Ids of the images.
            edit: Returns the new metadata; called once or more for each image.

        Returns:
            The number of images whose metadata changed.

        Raises:
            InputError: the new metadata are not a JSON object.
            CollectionCorruptError: a record does not match its checksum.
        """
        ...


class StoreFileMetadata(Protocol):
    """File metadata of images (``ImageRecord.file_metadata``), and the stacks that follow from them."""

    def put_file_metadata(self, made: Mapping[str, FileMetadata]) -> None:
        """Replace what files say about existing images, by id; unknown ids are ignored.

        Raises:
            InputError: the properties are not a JSON object, or a text is not valid Unicode.
        """
        ...

    def stacks(self, ids: Sequence[str]) -> dict[str, str]:
        """Id -> ``FileMetadata.stack`` of those of the images that may be in one; the others are left out."""
        ...

    def stacked(self, stacks: Sequence[str]) -> dict[str, list[str]]:
        """The ids of the images of each of these stacks, ordered."""
        ...

    def burst(self, bursts: Sequence[str]) -> dict[str, list[str]]:
        """The ids of the images with each of these ``FileMetadata.burst``, ordered."""
        ...


class StoreFailures(Protocol):
    """Recorded failures: images that could not be indexed."""

    def record_failures(self, failures: Sequence[Failure], *, copied: bool = False) -> None:
        """Record images that could not be indexed; each repetition of an id adds one to its attempts.

        Args:
            failures: The failures.
            copied: Keep their attempts and times, which come from another store.
        """
        ...

    def failures(self, *, after: str = "", limit: int | None = None) -> list[Failure]:
        """A page of recorded failures, as for ``images``; a ``limit`` of ``None`` returns all."""
        ...

    def forget_failures(self, ids: Sequence[str]) -> None:
        """Delete recorded failures; unknown ids are ignored."""
        ...


class StoreThumbnails(Protocol):
    """Features of thumbnails: data derived from images, of which ``put`` stores those of new ones.

    They are dropped with their thumbnail, and when the image is replaced. An image may lack them: then they are
    computed where they are needed.
    """

    def thumbnail_features(
        self, ids: Sequence[str], fingerprint: Fingerprint, spec: FeatureSpec
    ) -> dict[str, LocalFeatures]:
        """The features of many thumbnails, by id; images without intact ones are left out.

        Args:
            ids: Ids of images.
            fingerprint: Fingerprint of the features.
            spec: Kind, dimension and dtype of the features.
        """
        ...

    def put_thumbnail_features(
        self, made: Mapping[str, ThumbnailFeatures], thumbnails: Mapping[str, bytes]
    ) -> None:
        """Store features of the thumbnails of existing images, replacing earlier ones.

        Args:
            made: Id -> features.
            thumbnails: Id -> the thumbnail from which they were computed. An image that has another one by now, or
                that was removed, is left out.
        """
        ...

    def lacking_thumbnail_features(self, fingerprint: Fingerprint, *, limit: int) -> list[str]:
        """Ids of up to ``limit`` images that have a thumbnail but no features of it with this fingerprint."""
        ...

    def thumbnail_usage(self, fingerprint: Fingerprint) -> ThumbnailUsage:
        """Number and bytes of the features with this fingerprint."""
        ...


class StoreKept(Protocol):
    """Previews and originals of uploaded images: ``put`` stores them, and they are dropped with their image."""

    def kept(self, ids: Sequence[str], kind: KeptKind) -> dict[str, bytes]:
        """The previews or originals of many images, by id; images without one are left out.

        Raises:
            CollectionCorruptError: one of them does not match its checksum.
        """
        ...

    def kept_sizes(self, ids: Sequence[str]) -> dict[str, dict[KeptKind, int]]:
        """Bytes of what is kept of each of these images, by id and kind; images without anything are left out."""
        ...


class Lease(Protocol):
    """The right to do a piece of work alone, for a limited time; see ``StoreDerived.lease``."""

    def renew(self) -> bool:
        """Hold the lease for its full duration again, from now; returns whether it is still held."""
        ...

    def release(self) -> None:
        """End the lease; no effect if it is no longer held."""
        ...


class StoreDerived(Protocol):
    """Derived data, which can be recomputed and may be dropped at any time, and leases on computing them."""

    def derived(self, name: str) -> DerivedData | None:
        """The derived data stored under a name, and their version; ``None`` if there are none (any more)."""
        ...

    def put_derived(self, name: str, data: bytes, *, replaces: str | None = None) -> str | None:
        """Store derived data under a name; writes are atomic.

        Args:
            name: A plain word: lower-case letters, digits, ``.``, ``_`` and ``-``.
            data: The data.
            replaces: Store them only if the stored version is this one; the empty string: only if there are none.
                ``None`` replaces any version.

        Returns:
            The new version, or ``None`` if another version is stored: another writer was first.
        """
        ...

    def lease(self, name: str, seconds: float) -> Lease | None:
        """Obtain the lease of this name for ``seconds``; ``None`` while another holder has it.

        At most one thread of all processes that use the store has the lease. It ends with ``release``, or
        ``seconds`` after it was obtained or last renewed, also if the process of its holder was killed. A holder
        that was suspended for longer may find out late, so the result of work under a lease is stored with
        ``put_derived(..., replaces=...)``.
        """
        ...


class StoreUpkeep(Protocol):
    """Checks of the stored data."""

    def is_in_place(self) -> bool:
        """Whether the files are still those that were opened; true for a store without files."""
        ...

    def check(
        self,
        *,
        repair: bool = False,
        sound_thumbnail: Callable[[bytes], bool] = bool,
        sound_derived: Callable[[str, bytes], bool] = lambda _name, _data: True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Damage]:
        """Check all stored data; returns the damage found.

        Args:
            repair: Drop damaged rows, which the next ``add`` recreates; rebuild counts, indexes and derived data.
            sound_thumbnail: Returns whether an encoded thumbnail can be decoded.
            sound_derived: Returns whether derived data of a name are usable; not called for ANN indexes.
            progress: Called with (done, total), in no fixed unit.
        """
        ...


class StoreParts(
    StoreLookups,
    StoreListings,
    StoreMetadata,
    StoreFileMetadata,
    StoreFailures,
    StoreThumbnails,
    StoreKept,
    StoreDerived,
    StoreUpkeep,
    Protocol,
):
    """All parts that every store has."""


@runtime_checkable
class SupportsMonitoring(Protocol):
    """A store on other machines, which a service watches; optional."""

    def probe(self, seconds: float) -> None:
        """Check that every engine of the store answers.

        Raises:
            StoreError: one of them is away, refuses access, or did not answer within ``seconds``; names it.
        """
        ...

    def measures(self) -> Mapping[str, float]:
        """Numbers for monitoring, by name: of the connections of this process and of the standbys.

        Raises:
            StoreError: the store does not answer.
        """
        ...


@runtime_checkable
class SupportsBackup(Protocol):
    """A store that can copy itself into a folder; optional."""

    def backup(self, destination: Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Copy a consistent snapshot, which can be opened as a store, while others may write.

        The copy appears complete, verified and durable, or not at all.

        Args:
            destination: A folder that is empty or does not exist.
            progress: Called with (done, total), in no fixed unit.

        Raises:
            SourceError: the destination is not empty.
            CollectionCorruptError: this collection is damaged.
            StoreError: the copy cannot be written.
        """
        ...


@runtime_checkable
class SupportsSweep(Protocol):
    """A store that keeps data in an object store, where unused objects accumulate; optional."""

    def sweep(
        self,
        *,
        seconds: float = 86400.0,
        delete: bool = True,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> SweepReport | None:
        """Find objects that no image uses, and delete those found at least ``seconds`` ago.

        Objects become unused when their image is removed or replaced, and when a writer is killed.

        Args:
            seconds: Time between finding and deleting an object.
            delete: Whether to delete objects; otherwise they are only counted.
            progress: Called with (done, 0), the number of objects listed.

        Returns:
            ``None`` if another process is sweeping.

        Raises:
            StoreError: this store has no object store.
        """
        ...

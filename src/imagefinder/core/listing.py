"""Sorted, grouped and filtered listings of the images of a collection.

A store lists by a few properties of each image (``ListingRow``), which ``listing_row`` derives from its record.
They depend on nothing else, so that all stores list alike. ``docs/decisions/0043-browse.md`` gives the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

from imagefinder.core.filters import Filter, contains_text, folded
from imagefinder.core.pages import split_page
from imagefinder.core.records import ImageRecord
from imagefinder.core.tags import MAX_TAG, tags_of

Sort: TypeAlias = Literal["id", "taken", "name", "size", "added", "folder"]
"""Property to sort by; equal ones are sorted by id."""

GroupBy: TypeAlias = Literal["year", "month", "day", "folder", "format", "camera", "place", "rating", "tag"]
"""What images are grouped by. An image is in the group of each of its tags, and otherwise in one group."""

SORTS: tuple[Sort, ...] = get_args(Sort)
GROUPS: tuple[GroupBy, ...] = get_args(GroupBy)

PERIODS: Mapping[str, int] = {"year": 4, "month": 7, "day": 10}
"""Group -> length of the beginning of ``ListingRow.day`` that names it."""

MAX_NAME = 255
"""Number of characters by which names are sorted, so that they fit into the index of any database."""

MAX_LABEL = MAX_TAG
"""Maximum length of a camera, a place or a tag in listings; longer ones are cut."""

MAX_TAGS = 100
"""Maximum number of tags of an image in listings."""

TakenFrom: TypeAlias = Literal["metadata", "file", "added"]
"""Where the time comes from: the metadata, the modification time of the file, or the time of adding."""

_TAKEN = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(T[0-2][0-9]:[0-5][0-9]:[0-5][0-9])?")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class ListingRow:
    """What an image is sorted, grouped and filtered by.

    Attributes:
        taken: Local time at which the image was taken, ``YYYY-MM-DDThh:mm:ss``, without a zone (``taken_at``).
        day: Its day, ``YYYY-MM-DD``.
        name: File name, prepared for comparison (``name_key``).
        size: Size of the encoded image in bytes.
        added: Time of adding in seconds since 1970.
        folder: The id up to the last slash; empty without one.
        format: Encoded format, for example ``JPEG``.
        camera: Camera; empty if unknown.
        place: City and country, as the file says; empty if unknown.
        rating: Rating, -1 (rejected) to 5; 0 if there is none.
        tags: The tags of the user (key ``tags`` of the metadata) and the keywords in the file, sorted.
    """

    taken: str
    day: str
    name: str
    size: int
    added: float
    folder: str
    format: str
    camera: str
    place: str
    rating: int
    tags: tuple[str, ...]


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(ListingRow) if field.name != "tags")
"""The properties of which an image has one each, in the order of ``ListingRow``."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images to list; all conditions must hold.

    Attributes:
        folder: Only images of this folder and its subfolders; empty: of all folders.
        taken: Only images taken in this year, month or day, for example ``2026-05``; empty: at any time.
        formats: Only images of one of these formats; empty: of any.
        cameras: Only images of one of these cameras.
        places: Only images of one of these places.
        ratings: Only images with one of these ratings.
        tags: Only images with all of these tags.
        where: Only images whose metadata match this filter.
        contains: Only images with this text in their id or metadata.
        stack: Only images of this stack (``FileMetadata.stack``); empty: of any or none.
        collapsed: Of the images of a stack, only the one with the smallest id, even if other conditions reject it.
    """

    folder: str = ""
    taken: str = ""
    formats: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    ratings: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    where: Filter | None = None
    contains: str = ""
    stack: str = ""
    collapsed: bool = False

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Property -> the values that it may have; properties that may have any are left out."""
        named = {"format": self.formats, "camera": self.cameras, "place": self.places, "rating": self.ratings}
        return {name: values for name, values in named.items() if values}

    @property
    def reads_records(self) -> bool:
        """Whether the properties do not suffice, so that the records of the images must be read."""
        return self.where is not None or bool(self.contains)

    def accepts(self, properties: ListingRow) -> bool:
        """Whether an image with these properties meets the conditions that concern properties."""
        return (
            (not self.folder or f"{properties.folder}/".startswith(f"{self.folder}/"))
            and properties.taken.startswith(self.taken)
            and all(getattr(properties, name) in values for name, values in self.choices.items())
            and set(self.tags) <= set(properties.tags)
        )

    def accepts_record(self, record: ImageRecord) -> bool:
        """Whether an image meets the conditions that concern its record."""
        return (
            (self.where is None or self.where.matches(record.filterable))
            and (not self.contains or contains_text(self.contains, record.id, record.searchable))
            and (not self.stack or record.file_metadata.stack == self.stack)
        )


EVERYTHING = Selection()
"""All images."""


@dataclass(frozen=True, slots=True)
class ListPosition:
    """A position in a listing: that of the image with these values, which need not exist any more.

    Attributes:
        value: Value of the property that the listing is sorted by; the id if it is sorted by id.
        id: Id of the image.
    """

    value: str | int | float
    id: str


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a listing.

    Attributes:
        sort: Property to sort by.
        descending: Whether the largest comes first; the order is then reversed as a whole, ids included.
    """

    sort: Sort = "id"
    descending: bool = False

    def position(self, record: ImageRecord) -> ListPosition:
        """The position of an image."""
        value = record.id if self.sort == "id" else getattr(listing_row(record), self.sort)
        return ListPosition(value, record.id)


BY_ID = Order()
"""The order of ids."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of images.

    Attributes:
        value: What its images have in common; empty if it is unknown. A rating is a number in text.
        images: Number of images.
    """

    value: str
    images: int


def collapsed(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    """The images without those that share a stack with an image of a smaller id; in the same order."""
    every = list(records)
    first: dict[str, str] = {}
    for record in every:
        if stack := record.file_metadata.stack:
            first[stack] = min(first.get(stack, record.id), record.id)
    return [record for record in every if first.get(record.file_metadata.stack, record.id) == record.id]


def listing_row(record: ImageRecord) -> ListingRow:
    """The properties of an image."""
    metadata = record.filterable
    taken = taken_at(record)[0]
    return ListingRow(
        taken=taken,
        day=taken[: PERIODS["day"]],
        name=name_key(record.id),
        size=record.size_bytes,
        added=record.added_at,
        folder=record.id.rpartition("/")[0],
        format=record.format,
        camera=_label(_value(metadata, "exif", "camera")),
        place=_place(_value(metadata, "iptc", "city"), _value(metadata, "iptc", "country")),
        rating=_rating(_value(metadata, "xmp", "rating")),
        tags=_tags(metadata),
    )


def taken_at(record: ImageRecord) -> tuple[str, TakenFrom]:
    """The time at which an image was taken, as in ``ListingRow``, and where it comes from.

    Times of files and of adding are in UTC, because the zone of the camera is unknown.
    """
    taken = _value(record.filterable, "exif", "taken")
    found = _TAKEN.match(taken) if isinstance(taken, str) else None
    if found:
        return (found[0] if found[1] else f"{found[0]}T00:00:00"), "metadata"
    match record.stamp.split(":"):
        case [_, modified, _, _] if modified.isascii() and modified.isdigit():
            return _utc(int(modified) / 1e9), "file"
    return _utc(record.added_at), "added"


def name_key(image_id: str) -> str:
    """The file name in an id for comparison: without differences of case, and numbers by their value."""
    name = folded(split_page(image_id)[0].rpartition("/")[2])
    return _DIGITS.sub(_comparable, name)[:MAX_NAME]


def group_values(properties: ListingRow, by: GroupBy) -> tuple[str, ...]:
    """The groups that an image is in."""
    if by == "tag":
        return properties.tags
    if by in PERIODS:
        return (properties.day[: PERIODS[by]],)
    return (str(getattr(properties, by)),)


def counted_by(by: GroupBy) -> GroupBy:
    """The groups that a store counts; ``merged`` makes the others of them: months of days."""
    return "day" if by in PERIODS else by


def merged(counts: Iterable[tuple[str, int]], by: GroupBy, after: str | None, limit: int | None) -> list[Group]:
    """The groups of a listing, from (value, number) as counted, in order.

    Args:
        counts: The counts by ``counted_by(by)``; repeated values are added.
        by: What images are grouped by.
        after: Only groups with larger values.
        limit: Maximum number of groups; ``None``: no limit.
    """
    totals: dict[str, int] = {}
    for value, number in counts:
        group = value[: PERIODS.get(by)]
        totals[group] = totals.get(group, 0) + number
    found = [Group(value, number) for value, number in sorted(totals.items()) if after is None or value > after]
    return found if limit is None else found[: max(limit, 0)]


def _comparable(digits: re.Match[str]) -> str:
    """A number, its length first, so that 10 follows 9."""
    value = digits[0].lstrip("0") or "0"
    return f"{min(len(value), 99):02}{value}"


def _utc(seconds: float) -> str:
    """A time in seconds since 1970 in UTC; those that a calendar cannot represent are in 1970."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00"


def _value(metadata: Mapping[str, Any], *path: str) -> Any:
    value: Any = metadata
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _label(value: object) -> str:
    return value.strip()[:MAX_LABEL] if isinstance(value, str) else ""


def _rating(value: object) -> int:
    number = isinstance(value, int | float) and not isinstance(value, bool) and -1 <= value <= 5
    return int(value) if number else 0  # type: ignore[call-overload] # it is a number


def _place(city: object, country: object) -> str:
    return ", ".join(label for label in (_label(city), _label(country)) if label)


def _tags(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    keywords = _value(metadata, "iptc", "keywords")
    values = [*tags_of(metadata), *(keywords if isinstance(keywords, list) else [keywords])]
    return tuple(sorted({label for one in values if (label := _label(one))})[:MAX_TAGS])

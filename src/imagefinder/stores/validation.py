"""Validation and normalisation of arguments, shared by all stores."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from imagefinder.core.errors import FingerprintMismatchError, InputError
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.file_metadata import NO_FILE_METADATA, FileMetadata
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.listing import ListPosition
from imagefinder.core.metadata import check_new_id
from imagefinder.core.records import Entry, Failure, ImageRecord, Removal

_LARGEST_INTEGER = 2**63 - 1
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def is_valid_id(image_id: object) -> bool:
    """Whether an image could have this id: text that is not empty and valid Unicode."""
    if not isinstance(image_id, str) or not image_id:
        return False
    return _lone_surrogate(image_id) is None


def valid_ids(ids: Sequence[str]) -> list[str]:
    """The valid ids in their order, without duplicates.

    Raises:
        TypeError: a single string, which would be treated as a sequence of characters.
    """
    if isinstance(ids, str):
        raise TypeError(f"expected a sequence of ids, not the string {ids!r}")
    return [image_id for image_id in dict.fromkeys(ids) if is_valid_id(image_id)]


def check_text(name: str, value: object) -> str:
    """Check that a value is text that can be stored, and return it.

    Raises:
        InputError: it is not a string, or not valid Unicode.
    """
    if not isinstance(value, str):
        raise InputError(f"the {name} must be text, not {type(value).__name__}")
    position = _lone_surrogate(value)
    if position is not None:
        raise InputError(
            f"the {name} {value[:100]!a} is not valid Unicode text: unpaired surrogate at position {position}",
            hint="such text comes from a file name that is not valid UTF-8; choose another id or rename the file",
        )
    return value


def check_derived_name(name: str) -> str:
    """Check that derived data can be stored under a name, and return it.

    Raises:
        ValueError: the name is not a plain word, so it could point outside the folder.
    """
    if not _WORD.fullmatch(name):
        raise ValueError(f"the name of derived data must be a plain word, not {name!r}")
    return name


def check_lease(name: str, seconds: float) -> None:
    """Check the name and the duration of a lease.

    Raises:
        InputError: the name is not valid Unicode text.
        ValueError: the name is empty, or the duration is not a positive number.
    """
    if not check_text("name of a lease", name) or not 0 < seconds < math.inf:
        raise ValueError(f"a lease needs a name and a positive number of seconds, not {name!r} and {seconds!r}")


def normalise_image(image: ImageRecord) -> ImageRecord:
    """Validate a record and copy its metadata to plain JSON types.

    Raises:
        InputError: an empty id or one that is too long, invalid Unicode, a number out of range, or metadata that
            are not a JSON object.
    """
    _check_id(image.id)
    for name in ("uri", "sha256", "format", "source", "stamp"):
        check_text(f"{name} of image {image.id!r}", getattr(image, name))
    for name in ("size_bytes", "width", "height"):
        number = getattr(image, name)
        if not isinstance(number, int) or not 0 <= number <= _LARGEST_INTEGER:
            raise InputError(f"the {name} of image {image.id!r} must be an integer of at least 0, not {number!r}")
    return replace(
        image,
        metadata=json.loads(metadata_text(image.id, image.metadata)),
        file_metadata=normalise_file_metadata(image.id, image.file_metadata),
    )


def normalise_file_metadata(image_id: str, found: FileMetadata) -> FileMetadata:
    """Validate what a file says about an image, and copy it to plain JSON types.

    Raises:
        InputError: the properties are not a JSON object, or a text is not valid Unicode.
    """
    if found is NO_FILE_METADATA:
        return found
    for name in ("stamp", "stack", "burst"):
        check_text(f"file metadata ({name}) of image {image_id!r}", getattr(found, name))
    try:
        text = found.text()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the file metadata of image {image_id!r} are not a JSON object: {error}") from error
    if "\\u0000" in json.dumps(text):
        raise InputError(f"the file metadata of image {image_id!r} contain a NUL character")
    return replace(found, properties=json.loads(check_text(f"file metadata of image {image_id!r}", text)))


def stamped(entries: list[Entry], *, copied: bool) -> list[Entry]:
    """The entries with the present time as the time of adding, unless they are ``copied``."""
    if copied:
        return entries
    now = time.time()
    return [replace(entry, image=replace(entry.image, added_at=now)) for entry in entries]


def check_position(position: ListPosition | None) -> None:
    """Check the texts of a position in a listing.

    Raises:
        InputError: one of them is not valid Unicode.
    """
    for text in () if position is None else (position.value, position.id):
        if isinstance(text, str):
            check_text("position", text)


def metadata_text(image_id: str, metadata: Mapping[str, object]) -> str:
    """Encode the metadata of an image as JSON.

    Raises:
        InputError: the metadata are not a JSON object.
    """
    try:
        written = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the metadata of image {image_id!r} are not a JSON object: {error}") from error
    return check_text(f"metadata of image {image_id!r}", written)


def normalise_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Validate and copy entries; the last one of each id counts.

    Raises:
        InputError: invalid records (``normalise_image``).
        ValueError: features that are not a batch of one image.
    """
    plain: dict[str, Entry] = {}
    for entry in entries:
        image = normalise_image(entry.image)
        check_one_image(image.id, entry.features)
        plain.pop(image.id, None)
        made = entry.thumbnail_features
        if made:
            check_one_image(image.id, {"thumbnail": made.features})
        # Without a thumbnail, it is unknown what they were computed from.
        plain[image.id] = Entry(
            image,
            dict(entry.features),
            bytes(entry.thumbnail),
            made if entry.thumbnail else None,
            {kind: bytes(data) for kind, data in entry.kept.items() if data},
        )
    return list(plain.values())


def check_one_image(image_id: str, features: Mapping[str, Features]) -> None:
    """Check that the features of each method are a batch of one image.

    Raises:
        ValueError: features of no image, or of several.
    """
    for method, batch in features.items():
        if len(batch) != 1:
            raise ValueError(f"expected the {method} features of one image ({image_id!r}), not of {len(batch)}")


def normalise_failures(failures: Iterable[Failure]) -> list[Failure]:
    """Validate failures; invalid Unicode in messages is escaped.

    Raises:
        InputError: an empty id or one that is too long, or invalid Unicode in a field other than the message.
    """
    plain = []
    for failure in failures:
        _check_id(failure.id)
        for name in ("uri", "code", "source"):
            check_text(f"{name} of image {failure.id!r}", getattr(failure, name))
        message = failure.message.encode("utf-8", "backslashreplace").decode()
        plain.append(replace(failure, message=message))
    return plain


def check_removals(removals: Iterable[Removal]) -> None:
    """Check removals that come from another store.

    Raises:
        InputError: an empty id or one that is too long, or invalid Unicode.
    """
    for removal in removals:
        _check_id(removal.id)
        for name in ("uri", "sha256", "source"):
            check_text(f"{name} of removal {removal.id!r}", getattr(removal, name))


def fingerprint_mismatch(
    stored: Fingerprint, stored_spec: FeatureSpec, current: Fingerprint, current_spec: FeatureSpec
) -> FingerprintMismatchError | None:
    """The error for a method whose stored features were made differently; ``None`` if they were made alike."""
    # Compared as text, because a tuple becomes a list in JSON.
    if stored.to_json() == current.to_json() and stored_spec == current_spec:
        return None
    difference = stored.difference(current) or f"{stored_spec} vs. {current_spec}"
    return FingerprintMismatchError(
        f"the stored {stored.method} features were made differently: {difference} (stored vs. current)",
        hint="use the settings or weights they were made with, or add the images to a new collection",
    )


def check_registered(features: Mapping[str, Features], registered: Mapping[str, FeatureSpec]) -> None:
    """Check that all methods are registered and that their features have the registered spec.

    Raises:
        ValueError: an unregistered method or another spec.
    """
    for method, batch in features.items():
        if method not in registered:
            raise ValueError(f"the method {method!r} is not registered")
        if batch.spec() != registered[method]:
            raise ValueError(f"{method} features must be {registered[method]}, not {batch.spec()}")


def _check_id(image_id: str) -> None:
    if check_text("image id", image_id) == "":
        raise InputError("an image id must not be empty")
    check_new_id(image_id)


def _lone_surrogate(value: str) -> int | None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None

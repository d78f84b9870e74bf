"""What every store refuses, and the plain form in which it keeps the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from imagefinder.core.errors import FingerprintMismatchError, InputError
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, Failure, ImageRecord

_LARGEST_INTEGER = 2**63 - 1
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def is_id(image_id: object) -> bool:
    """Whether an image could have this id at all."""
    if not isinstance(image_id, str) or not image_id:
        return False
    return _lone_surrogate(image_id) is None


def ids_of(ids: Sequence[str]) -> list[str]:
    """The ids that an image could have, each once, in order.

    Raises:
        TypeError: a single text, which would be taken for a sequence of ids of one letter each.
    """
    if isinstance(ids, str):
        raise TypeError(f"a sequence of ids is needed, not the text {ids!r}")
    return [image_id for image_id in dict.fromkeys(ids) if is_id(image_id)]


def text(name: str, value: object) -> str:
    """The value, if it is text that can be kept.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, str):
        raise InputError(f"the {name} must be text, not {type(value).__name__}")
    position = _lone_surrogate(value)
    if position is not None:
        raise InputError(
            f"the {name} {value[:100]!a} is no valid Unicode text: half a surrogate pair at {position}",
            hint="a file name that is no UTF-8 gives such text; choose another id or rename the file",
        )
    return value


def derived_name(name: str) -> str:
    """The name, if derived data can be kept under it.

    Raises:
        ValueError: it is no plain word, so it could lead out of the folder.
    """
    if not _WORD.fullmatch(name):
        raise ValueError(f"derived data are kept under a plain word, not {name!r}")
    return name


def plain_image(image: ImageRecord) -> ImageRecord:
    """The record as it is kept: its metadata become a JSON object of our own.

    Raises:
        InputError: the id is empty, a text is no Unicode, a number is out of range, metadata are no JSON.
    """
    if text("image id", image.id) == "":
        raise InputError("an image id must not be empty")
    for name in ("uri", "sha256", "format", "source", "stamp"):
        text(f"{name} of image {image.id!r}", getattr(image, name))
    for name in ("size_bytes", "width", "height"):
        number = getattr(image, name)
        if not isinstance(number, int) or not 0 <= number <= _LARGEST_INTEGER:
            raise InputError(f"the {name} of image {image.id!r} must be a whole number from 0, not {number!r}")
    return replace(image, metadata=json.loads(metadata_text(image)))


def metadata_text(image: ImageRecord) -> str:
    """The metadata of an image as JSON.

    Raises:
        InputError: they are no JSON object.
    """
    try:
        written = json.dumps(dict(image.metadata), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the metadata of image {image.id!r} are no JSON object: {error}") from error
    return text(f"metadata of image {image.id!r}", written)


def plain_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Entries as they are kept; of several with one id, the last.

    Raises:
        InputError: see ``plain_image``.
        ValueError: features that are not those of one image.
    """
    plain: dict[str, Entry] = {}
    for entry in entries:
        image = plain_image(entry.image)
        check_one_image(image.id, entry.features)
        plain.pop(image.id, None)
        plain[image.id] = Entry(image, dict(entry.features), bytes(entry.thumbnail))
    return list(plain.values())


def check_one_image(image_id: str, features: Mapping[str, Features]) -> None:
    """Refuse a batch where the features of one image belong.

    Raises:
        ValueError: features of no image, or of several.
    """
    for method, batch in features.items():
        if len(batch) != 1:
            raise ValueError(f"image {image_id!r} needs {method} features of one image, not of {len(batch)}")


def plain_failures(failures: Iterable[Failure]) -> list[Failure]:
    """Failures as they are kept.

    Raises:
        InputError: an id or another name is no Unicode text. A message may hold anything.
    """
    plain = []
    for failure in failures:
        if text("image id", failure.id) == "":
            raise InputError("an image id must not be empty")
        for name in ("uri", "code", "source"):
            text(f"{name} of image {failure.id!r}", getattr(failure, name))
        message = failure.message.encode("utf-8", "backslashreplace").decode()
        plain.append(replace(failure, message=message))
    return plain


def mismatch(
    stored: Fingerprint, stored_spec: FeatureSpec, present: Fingerprint, present_spec: FeatureSpec
) -> FingerprintMismatchError | None:
    """The error to raise when a method is announced otherwise than it is stored; ``None`` if it is not."""
    # Compared as text: a tuple that went through JSON is a list, and still the same value.
    if stored.to_json() == present.to_json() and stored_spec == present_spec:
        return None
    difference = stored.difference(present) or f"{stored_spec} vs. {present_spec}"
    return FingerprintMismatchError(
        f"the stored {stored.method} features were made differently: {difference} (stored vs. current)",
        hint="use the settings or weights they were made with, or index into a new collection",
    )


def check_registered(features: Mapping[str, Features], registered: Mapping[str, FeatureSpec]) -> None:
    """Refuse features of unknown methods or of another form.

    Raises:
        ValueError: which, and why.
    """
    for method, batch in features.items():
        if method not in registered:
            raise ValueError(f"the method {method!r} was not registered")
        if batch.spec() != registered[method]:
            raise ValueError(f"{method} features must be {registered[method]}, not {batch.spec()}")


def _lone_surrogate(value: str) -> int | None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None

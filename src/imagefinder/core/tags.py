"""Tags of images: short texts in the list ``tags`` of their metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagefinder.core.errors import InputError

KEY = "tags"
"""Key of the metadata; its value is a list of texts, or one text."""

MAX_TAG = 200
"""Maximum length of a tag in characters."""


def checked(tags: Sequence[str]) -> list[str]:
    """Tags without white space around them, each once.

    Raises:
        InputError: a tag is empty or too long.
    """
    found = list(dict.fromkeys(tag.strip() for tag in tags))
    for tag in found:
        if not tag or len(tag) > MAX_TAG:
            reason = f"it has {len(tag):,} characters; the limit is {MAX_TAG}" if tag else "it is empty"
            raise InputError(f"the tag {tag[:60]!a} is invalid: {reason}", hint="choose another tag")
    return found


def tags_of(metadata: Mapping[str, Any]) -> list[Any]:
    """The value of ``KEY`` as a list."""
    value = metadata.get(KEY, [])
    return value if isinstance(value, list) else [value]


def edited(metadata: Mapping[str, Any], *, add: Sequence[str], remove: Sequence[str]) -> Mapping[str, Any]:
    """Metadata with some tags added and others removed; the other tags stay in their order."""
    old = tags_of(metadata)
    new = [tag for tag in old if tag not in remove]
    new += [tag for tag in add if tag not in new]
    if new == old:
        return metadata
    rest = {key: value for key, value in metadata.items() if key != KEY}
    return {**rest, KEY: new} if new else rest

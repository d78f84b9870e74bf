"""File metadata: when, where and with what an image was taken, its title, keywords and rating, as the file says.

The properties are kept apart from the metadata of the user, under names that are reserved for them, such as
``exif.taken``. Filters see both. Places are private: they are shown on request only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "time", "integer", "number", "texts"]
"""Type of a property; a time is text in ISO 8601, with the offset of its zone if that is known."""


@dataclass(frozen=True, slots=True)
class Property:
    """A property that files have.

    Attributes:
        kind: Type of its values.
        description: What it is, in a few words.
        place: Whether it is, or reveals, the place of an image.
    """

    kind: Kind
    description: str
    place: bool = False


PROPERTIES: Mapping[str, Property] = {
    "exif.taken": Property("time", "when the image was taken"),
    "exif.camera": Property("text", "make and model of the camera"),
    "exif.lens": Property("text", "model of the lens"),
    "exif.orientation": Property("integer", "orientation of the stored pixels, 1 to 8"),
    "exif.latitude": Property("number", "latitude in degrees, north positive", place=True),
    "exif.longitude": Property("number", "longitude in degrees, east positive", place=True),
    "exif.altitude": Property("number", "altitude in metres", place=True),
    "iptc.title": Property("text", "title"),
    "iptc.caption": Property("text", "caption or description"),
    "iptc.keywords": Property("texts", "keywords"),
    "iptc.creator": Property("text", "photographer or artist"),
    "iptc.copyright": Property("text", "copyright notice"),
    "iptc.city": Property("text", "city", place=True),
    "iptc.country": Property("text", "country", place=True),
    "live.video": Property("text", "file name of the video of a Live Photo"),
    "xmp.rating": Property("integer", "rating, 1 to 5; -1: rejected"),
}
"""Name -> property. A name is a namespace and a key: the standard that defines the property, whatever format the
value was read from."""

NAMESPACES = frozenset(name.partition(".")[0] for name in PROPERTIES)
"""Keys that metadata of users must not have."""

PLACES = frozenset(name for name, one in PROPERTIES.items() if one.place)
"""Properties that reveal the place of an image."""

Properties = Mapping[str, Mapping[str, Any]]
"""Namespace -> key -> value."""


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """Metadata of an image from its file and its sidecar files.

    Attributes:
        properties: The properties (``PROPERTIES``), by namespace and key.
        stamp: Identifies the reader of the properties and the sidecar files, to detect changes; empty if
            they were not read.
        stack: Identifies the stack of the image: images of one picture, such as raw and JPEG; empty without one.
        burst: Identifies the second and the camera of an image of a burst; empty if it is not known to be one.
    """

    properties: Properties = field(default_factory=dict)
    stamp: str = ""
    stack: str = ""
    burst: str = ""

    def text(self) -> str:
        """The properties as JSON; equal for equal properties."""
        return json.dumps(self.properties, sort_keys=True, ensure_ascii=False, allow_nan=False)

    def shown(self, *, places: bool = False) -> dict[str, Any]:
        """The properties, without places unless ``places``."""
        kept = {
            namespace: {
                key: value for key, value in values.items() if places or f"{namespace}.{key}" not in PLACES
            }
            for namespace, values in self.properties.items()
        }
        return {namespace: values for namespace, values in kept.items() if values}


NO_FILE_METADATA = FileMetadata()


def nested(properties: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Properties by namespace and key, from ``PROPERTIES``' dotted names."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in properties.items():
        namespace, _, key = name.partition(".")
        found.setdefault(namespace, {})[key] = value
    return found


def nested_names(properties: Properties) -> dict[str, Any]:
    """Properties by their dotted names; the inverse of ``nested``."""
    return {f"{namespace}.{key}": one for namespace, values in properties.items() for key, one in values.items()}

"""Properties from XMP packets, embedded or in ``.xmp`` files.

Source: XMP specification, parts 1 and 2; the namespaces are matched exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from imagefinder.images.metadata import values

MAX_BYTES = 4 << 20
"""Largest packet that is read."""

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_EXIF_EX = "{http://cipa.jp/exif/1.0/}"
_AUX = "{http://ns.adobe.com/exif/1.0/aux/}"
_TIFF = "{http://ns.adobe.com/tiff/1.0/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
_CAMERA = "{http://ns.google.com/photos/1.0/camera/}"
_DEFAULT = "{http://www.w3.org/XML/1998/namespace}lang"
_COORDINATE = re.compile(r"\s*(\d{1,3}),(\d{1,2}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])\s*")


def properties(packet: bytes) -> dict[str, Any]:
    """The properties in a packet; those that are missing or invalid are ``None``.

    There are none if the packet is not XML, is too large, or declares entities, which could exhaust memory.
    """
    if len(packet) > MAX_BYTES:
        return {}
    root = _parsed(packet.strip(b"\0 \t\r\n"))
    if root is None:
        return {}
    found = _values(root)

    def first(*names: str) -> str | None:
        return next((one[0] for name in names if (one := found.get(name))), None)

    return {
        "exif.taken": values.time(
            first(f"{_EXIF}DateTimeOriginal", f"{_PHOTOSHOP}DateCreated", f"{_XMP}CreateDate")
        ),
        "exif.camera": values.camera(values.text(first(f"{_TIFF}Make")), values.text(first(f"{_TIFF}Model"))),
        "exif.lens": values.text(first(f"{_EXIF_EX}LensModel", f"{_AUX}Lens")),
        "iptc.title": values.text(first(f"{_DC}title")),
        "iptc.caption": values.text(first(f"{_DC}description"), values.CAPTION),
        "iptc.keywords": values.texts(found.get(f"{_DC}subject", [])),
        "iptc.creator": values.text("; ".join(found.get(f"{_DC}creator", [])[:10])),
        "iptc.copyright": values.text(first(f"{_DC}rights")),
        "iptc.city": values.text(first(f"{_PHOTOSHOP}City")),
        "iptc.country": values.text(first(f"{_PHOTOSHOP}Country")),
        "xmp.rating": values.rating(first(f"{_XMP}Rating")),
        "burst": values.text(first(f"{_CAMERA}BurstID")),
        **values.coordinates(
            _coordinate(first(f"{_EXIF}GPSLatitude"), 90),
            _coordinate(first(f"{_EXIF}GPSLongitude"), 180),
            _altitude(first(f"{_EXIF}GPSAltitude"), first(f"{_EXIF}GPSAltitudeRef")),
        ),
    }


def _parsed(packet: bytes) -> Element | None:
    """The root of a document; ``None`` if it is not XML, or has a document type, which may declare entities."""
    parser, tree = expat.ParserCreate(namespace_separator="}"), TreeBuilder()

    def start(name: str, attributes: dict[str, str]) -> None:
        tree.start(_qualified(name), {_qualified(key): value for key, value in attributes.items()})

    def refuse(*_: object) -> None:
        raise ValueError("the document has a document type")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: tree.end(_qualified(name))
    parser.CharacterDataHandler = tree.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(packet, True)
        return tree.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError):
        return None


def _qualified(name: str) -> str:
    """The name as ``ElementTree`` writes it."""
    return f"{{{name}" if "}" in name else name


def _values(root: Element) -> dict[str, list[str]]:
    """Name -> values of the properties of the described resource: attributes, texts, and items of arrays."""
    found: dict[str, list[str]] = {}
    for description in root.iter(f"{_RDF}Description"):
        for name, value in description.attrib.items():
            found.setdefault(name, [value])
        for child in description:
            items = list(_items(child))
            if items:
                found.setdefault(child.tag, items)
    return found


def _items(element: Element) -> Iterator[str]:
    """The texts of a property; of alternatives in several languages, the default comes first."""
    items = element.findall(f"{_RDF}Alt/{_RDF}li")
    if items:
        items.sort(key=lambda item: item.get(_DEFAULT) != "x-default")
    else:
        items = element.findall(f"{_RDF}Bag/{_RDF}li") or element.findall(f"{_RDF}Seq/{_RDF}li") or [element]
    yield from (item.text for item in items if item.text and item.text.strip())


def _coordinate(value: str | None, most: int) -> float | None:
    """Degrees from ``DDD,MM.mmK`` or ``DDD,MM,SSK``."""
    found = _COORDINATE.fullmatch(value) if value and len(value) < 50 else None
    if not found:
        return None
    degrees = int(found[1]) + float(found[2]) / 60 + float(found[3] or 0) / 3600
    return values.number(-degrees if found[4] in "SW" else degrees, -most, most, 6)


def _altitude(value: str | None, reference: str | None) -> float | None:
    try:
        metres = values.number(Fraction(value[:40]), 0, 100_000, 1) if value else None
    except (ValueError, ZeroDivisionError):
        return None
    return -metres if metres and reference == "1" else metres

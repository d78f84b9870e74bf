"""Properties from IPTC-IIM, the records that Photoshop and press agencies write, by Pillow's parser.

Source: IPTC Information Interchange Model 4.2.
"""

from __future__ import annotations

from typing import Any

from PIL import ImageFile, IptcImagePlugin

from imagefinder.images.metadata import values

_UTF_8 = b"\x1b%G"


def properties(image: ImageFile.ImageFile) -> dict[str, Any]:
    """The properties in the IPTC records of an image; those that are missing or invalid are ``None``."""
    found: Any = IptcImagePlugin.getiptcinfo(image) or {}
    is_utf_8 = found.get((1, 90)) == _UTF_8

    def decoded(value: bytes) -> str | bytes:
        return value.decode("utf-8", "replace") if is_utf_8 else value

    def every(dataset: int) -> list[bytes]:
        value = found.get((2, dataset), [])
        return value if isinstance(value, list) else [value]

    def text(dataset: int, limit: int = values.TEXT) -> str | None:
        return next((values.text(decoded(one), limit) for one in every(dataset)), None)

    return {
        "exif.taken": values.time(f"{text(55) or ''} {text(60) or ''}".strip()),
        "iptc.title": text(5),
        "iptc.caption": text(120, values.CAPTION),
        "iptc.keywords": values.texts(map(decoded, every(25))),
        "iptc.creator": text(80),
        "iptc.copyright": text(116),
        "iptc.city": text(90),
        "iptc.country": text(101),
    }

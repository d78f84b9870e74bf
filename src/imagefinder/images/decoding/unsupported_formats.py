"""Formats people have that are not read, and what to do with each instead."""

from __future__ import annotations

import re
from typing import NamedTuple


class Refusal(NamedTuple):
    """What the bytes are, and what to do.

    Attributes:
        what: With its article: ``a PDF document``.
        hint: The next step.
    """

    what: str
    hint: str


_JPEG = "convert it to JPEG or PNG first"
_FRAME = "take a frame of it first, for example: ffmpeg -i FILE -frames:v 1 frame.png"
_EXPORT = "export it as JPEG or PNG with the program that made it"
_CAMERA = "export a JPEG with the camera's program, or convert it to DNG, whose preview is read"
_VIDEO = Refusal("a video", _FRAME)

_KINDS: tuple[tuple[bytes, Refusal], ...] = (
    (rb".{0,1019}?%PDF-", Refusal("a PDF document", "convert the page first: pdftoppm -r 150 -png FILE page")),
    (
        rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.{0,2000}?|<!--.{0,2000}?|<!DOCTYPE svg.{0,2000}?)?<svg[\s>:]",
        Refusal("an SVG drawing", "convert it first: rsvg-convert FILE -o drawing.png"),
    ),
    (
        rb"%!PS|\xc5\xd0\xd3\xc6",
        Refusal("a PostScript document", "convert it first: gs -sDEVICE=png16m -o page.png FILE"),
    ),
    (
        rb"\xff\x0a|\0{3}\x0cJXL \r\n\x87\n",
        Refusal(
            "a JPEG XL picture",
            "install the reader: pip install pillow-jxl-plugin; or convert it: djxl FILE picture.png",
        ),
    ),
    (rb".{4}ftypcrx ", Refusal("a Canon CR3 file", _CAMERA)),
    (rb"FUJIFILMCCD-RAW", Refusal("a Fujifilm RAF file", _CAMERA)),
    (rb"IIRO|IIRS|MMOR", Refusal("an Olympus ORF file", _CAMERA)),
    (rb"IIU\0", Refusal("a Panasonic RW2 file", _CAMERA)),
    (rb"FOVb", Refusal("a Sigma X3F file", _CAMERA)),
    (rb"\0MRM", Refusal("a Minolta MRW file", _CAMERA)),
    (rb".{4}(?:ftyp(?!avif|avis|hei|hev|mif1|msf1)|moov|mdat|wide)", _VIDEO),
    (rb"\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xb3\xba]|FLV\x01|0&\xb2u\x8ef\xcf\x11|OggS", _VIDEO),
    (rb"8BPS\0\x02", Refusal("a large Photoshop document (PSB)", _EXPORT)),
    (rb"gimp xcf", Refusal("a GIMP document (XCF)", _EXPORT)),
    (rb"AT&TFORM", Refusal("a DjVu document", "convert the page first: ddjvu -format=tiff -page=1 FILE page.tif")),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", Refusal("a Windows metafile", _EXPORT)),
    (rb"SIMPLE  =", Refusal("a FITS file", _EXPORT)),
    (rb".{128}DICM", Refusal("a DICOM file", "convert it first: dcm2img FILE picture.png")),
    (rb"v/1\x01", Refusal("an OpenEXR picture", _JPEG)),
    (rb"#\?(?:RADIANCE|RGBE)", Refusal("a Radiance HDR picture", _JPEG)),
    (rb"II\xbc", Refusal("a JPEG XR picture", _JPEG)),
    (rb"BPG\xfb", Refusal("a BPG picture", _JPEG)),
    (rb"FLIF", Refusal("a FLIF picture", _JPEG)),
    (rb"\x89HDF|GRIB|BUFR", Refusal("a file of measurements (HDF5, GRIB or BUFR)", _EXPORT)),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Refusal("an Office document", _EXPORT)),
    (
        rb"PK\x03\x04|7z\xbc\xaf|Rar!",
        Refusal("an archive", "unpack it and add the folder; .zip and .tar archives are read"),
    ),
    (rb"\x1f\x8b|BZh|\xfd7zXZ", Refusal("a compressed file", "unpack it first")),
    (
        rb"(?i:(?:\xef\xbb\xbf)?\s*<(?:!doctype )?html)",
        Refusal("a web page", "save the picture that it shows, not the page around it"),
    ),
)


def refusal(data: bytes) -> Refusal | None:
    """What the bytes are, if they are of a known format that is not read."""
    start = data[:8192]
    return next((known for pattern, known in _KINDS if re.match(pattern, start, re.DOTALL)), None)

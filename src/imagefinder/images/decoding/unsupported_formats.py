"""Signatures of common file formats that are not supported, each with a hint how to convert the file."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple


class UnsupportedFormat(NamedTuple):
    """A file format that is recognised but not supported.

    Attributes:
        name: For messages: ``PDF document``.
        hint: How to convert such a file.
    """

    name: str
    hint: str


_JPEG = "convert it to JPEG or PNG first"
_FRAME = "extract a frame first, for example: ffmpeg -i FILE -frames:v 1 frame.png"
_EXPORT = "export it as JPEG or PNG from the program that created it"
_CAMERA = "export a JPEG with the camera software, or convert the file to DNG, whose preview is used"
_VIDEO = UnsupportedFormat("video", _FRAME)

_SIGNATURES: tuple[tuple[bytes, UnsupportedFormat], ...] = (
    (rb".{0,1019}?%PDF-", UnsupportedFormat("PDF", "convert the page first: pdftoppm -r 150 -png FILE page")),
    (
        rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.{0,2000}?|<!--.{0,2000}?|<!DOCTYPE svg.{0,2000}?)?<svg[\s>:]",
        UnsupportedFormat("SVG", "convert it first: rsvg-convert FILE -o drawing.png"),
    ),
    (
        rb"%!PS|\xc5\xd0\xd3\xc6",
        UnsupportedFormat("PostScript", "convert it first: gs -sDEVICE=png16m -o page.png FILE"),
    ),
    (
        rb"\xff\x0a|\0{3}\x0cJXL \r\n\x87\n",
        UnsupportedFormat(
            "JPEG XL",
            "install the decoder: pip install pillow-jxl-plugin; or convert the file: djxl FILE image.png",
        ),
    ),
    (rb".{4}ftypcrx ", UnsupportedFormat("Canon CR3", _CAMERA)),
    (rb"FUJIFILMCCD-RAW", UnsupportedFormat("Fujifilm RAF", _CAMERA)),
    (rb"IIRO|IIRS|MMOR", UnsupportedFormat("Olympus ORF", _CAMERA)),
    (rb"IIU\0", UnsupportedFormat("Panasonic RW2", _CAMERA)),
    (rb"FOVb", UnsupportedFormat("Sigma X3F", _CAMERA)),
    (rb"\0MRM", UnsupportedFormat("Minolta MRW", _CAMERA)),
    (rb".{4}(?:ftyp(?!avif|avis|hei|hev|mif1|msf1)|moov|mdat|wide)", _VIDEO),
    (rb"\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xb3\xba]|FLV\x01|0&\xb2u\x8ef\xcf\x11|OggS", _VIDEO),
    (rb"8BPS\0\x02", UnsupportedFormat("Photoshop large document (PSB)", _EXPORT)),
    (rb"gimp xcf", UnsupportedFormat("GIMP image (XCF)", _EXPORT)),
    (rb"AT&TFORM", UnsupportedFormat("DjVu", "convert the page first: ddjvu -format=tiff -page=1 FILE page.tif")),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", UnsupportedFormat("Windows metafile (WMF or EMF)", _EXPORT)),
    (rb"SIMPLE  =", UnsupportedFormat("FITS", _EXPORT)),
    (rb".{128}DICM", UnsupportedFormat("DICOM", "convert it first: dcm2img FILE image.png")),
    (rb"v/1\x01", UnsupportedFormat("OpenEXR", _JPEG)),
    (rb"#\?(?:RADIANCE|RGBE)", UnsupportedFormat("Radiance HDR", _JPEG)),
    (rb"II\xbc", UnsupportedFormat("JPEG XR", _JPEG)),
    (rb"BPG\xfb", UnsupportedFormat("BPG", _JPEG)),
    (rb"FLIF", UnsupportedFormat("FLIF", _JPEG)),
    (rb"\x89HDF|GRIB|BUFR", UnsupportedFormat("scientific data (HDF5, GRIB or BUFR)", _EXPORT)),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", UnsupportedFormat("Office document", _EXPORT)),
    (
        rb"PK\x03\x04.{26}(?:\[Content_Types\]\.xml|_rels/|mimetypeapplication/)",
        UnsupportedFormat("Office document or e-book", _EXPORT),
    ),
    (
        rb"PK\x03\x04|7z\xbc\xaf|Rar!",
        UnsupportedFormat(
            "archive", "unpack it and add the folder; only .zip and .tar archives are read directly"
        ),
    ),
    (
        rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18",
        UnsupportedFormat("compressed file", "unpack it first"),
    ),
    (rb"ID3|fLaC|RIFF.{4}WAVE", UnsupportedFormat("audio", "extract its cover image first")),
    (
        rb"(?i:(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.{0,2000}?-->\s*)*"
        rb"<(?:!doctype html|html|head|body|title|meta|script)[\s>])",
        UnsupportedFormat("web page", "save the image itself instead of the page that shows it"),
    ),
    (rb"version https://git-lfs", UnsupportedFormat("Git LFS pointer", "download the file itself: git lfs pull")),
    (
        rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[{\"\d\]])",
        UnsupportedFormat("JSON", "it may be an error message of the server that it was downloaded from"),
    ),
    (rb"(?:\xef\xbb\xbf)?\s*<\?xml", UnsupportedFormat("XML", _EXPORT)),
)

_TEXT = UnsupportedFormat("text", "open it in an editor: it may be an error message instead of an image")


def identify_unsupported(data: bytes) -> UnsupportedFormat | None:
    """Identify a known but unsupported format by its first bytes; ``None`` if no signature matches."""
    start = data[:8192]
    found = next((found for pattern, found in _SIGNATURES if re.match(pattern, start, re.DOTALL)), None)
    return found or (_TEXT if _is_text(start) else None)


def _is_text(start: bytes) -> bool:
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start)  # the last character may be cut off
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and all(c.isprintable() or c.isspace() for c in text)

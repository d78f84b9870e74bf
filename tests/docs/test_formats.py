"""Each row of docs/concepts/formats.md, checked with a file of that format."""

import gzip
import io
import re
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagefinder.core import image_formats
from imagefinder.core.errors import ImageError, NotAnImageError
from imagefinder.images.decoding.decode import decode
from imagefinder.indexing.source_item import is_image_name
from imagefinder.testing.extractors import textured_image

PAGE = (Path(__file__).parents[2] / "docs" / "concepts" / "formats.md").read_text(encoding="utf-8")


def rows(section):
    part = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    table = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


PIXELS = textured_image(5, 64, 64)


def pillow(kind, *, frames=1, **options):
    def make():
        first, *others = (Image.fromarray(turned) for turned in (PIXELS, PIXELS[::-1], PIXELS[:, ::-1])[:frames])
        buffer = io.BytesIO()
        first.save(buffer, kind, **options, **({"save_all": True, "append_images": others} if others else {}))
        return buffer.getvalue()

    return make


def several(kind, **options):
    return pillow(kind, frames=3, **options)


def heic():
    import pillow_heif

    pillow_heif.register_heif_opener()
    return pillow("HEIF", quality=95)()


def pfm():
    return b"Pf\n64 64\n-1.0\n" + PIXELS[::-1, :, 1].astype("<f4").tobytes()


def psd(version=1):
    planes = PIXELS.transpose(2, 0, 1).tobytes()
    return b"8BPS" + struct.pack(">H6xHIIHH", version, 3, 64, 64, 8, 3) + bytes(12) + b"\0\0" + planes


def camera(make=b"", *, jpeg=None, tags=(), photometric=32803, compression=1, head=b""):
    """A camera file: a thumbnail, sensor data in a sub-directory, and in another one the JPEG."""
    jpeg = pillow("JPEG", quality=95)() if jpeg is None else jpeg
    out = bytearray(b"II*\0" + struct.pack("<I", 8 + len(head)) + head)

    def directory(entries, follows=0):
        place, values = len(out), b""
        after = place + 2 + 12 * len(entries) + 4
        out.extend(struct.pack("<H", len(entries)))
        for tag, kind, value in sorted(entries):
            if isinstance(value, bytes):
                where, number = after + len(values), len(value)
                values += value
                field = value.ljust(4, b"\0") if number <= 4 else struct.pack("<I", where)
            elif isinstance(value, list):
                field, number = struct.pack("<I", after + len(values)), len(value)
                values += struct.pack(f"<{number}I", *value)
            else:
                field, number = struct.pack("<I", value), 1
            out.extend(struct.pack("<HHI", tag, kind, number) + field)
        out.extend(struct.pack("<I", follows) + values)
        return place

    base = 8 + len(head)
    if base % 2:
        raise ValueError("directories begin at even places")
    # The first directory is at the front and names places behind it, so sizes are found by a first pass.
    sub_at = [0, 0]
    jpeg_at = thumb_at = 0
    for _ in range(2):
        del out[base:]
        directory(
            [
                (254, 4, 1),
                (256, 4, 4),
                (257, 4, 3),
                (258, 3, 8),
                (259, 3, 1),
                (262, 3, 1),
                (271, 2, make + b"\0" * 5),
                (273, 4, thumb_at),
                (274, 3, 6),
                (277, 3, 1),
                (278, 4, 3),
                (279, 4, 12),
                (330, 4, sub_at),
                *tags,
            ]
        )
        thumb_at = len(out)
        out.extend(bytes(range(12)))
        sub_at = [
            directory([(256, 4, 8), (257, 4, 8), (258, 3, 16), (259, 3, compression), (262, 3, photometric)]),
            directory([(259, 3, 6), (513, 4, jpeg_at), (514, 4, len(jpeg))] if jpeg else [(259, 3, 6)]),
        ]
        jpeg_at = len(out)
        out.extend(jpeg)
    return bytes(out)


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    return buffer.getvalue()


def box(kind, rest=bytes(24)):
    return struct.pack(">I4s4s", 24, b"ftyp", kind) + rest


READ = {
    "JPEG": (pillow("JPEG", quality=95), "JPEG"),
    "JPEG, several images (MPO)": (several("MPO", quality=95), "MPO"),
    "PNG": (pillow("PNG"), "PNG"),
    "PNG, animated (APNG)": (several("PNG"), "PNG"),
    "GIF, animated": (several("GIF"), "GIF"),
    "WebP": (pillow("WEBP", lossless=True), "WEBP"),
    "WebP, animated": (several("WEBP", lossless=True), "WEBP"),
    "TIFF": (pillow("TIFF", compression="tiff_lzw"), "TIFF"),
    "TIFF, several pages": (several("TIFF"), "TIFF"),
    "BMP": (pillow("BMP"), "BMP"),
    "HEIC": (heic, "HEIF"),
    "AVIF": (pillow("AVIF", quality=95), "AVIF"),
    "JPEG 2000": (pillow("JPEG2000"), "JPEG2000"),
    "Photoshop (PSD)": (psd, "PSD"),
    "ICO": (pillow("ICO", sizes=[(16, 16), (64, 64)]), "ICO"),
    "ICNS": (pillow("ICNS"), "ICNS"),
    "TGA": (pillow("TGA"), "TGA"),
    "PPM, PGM, PBM": (pillow("PPM"), "PPM"),
    "PFM": (pfm, "PPM"),
    "PCX": (pillow("PCX"), "PCX"),
    "QOI": (pillow("QOI"), "QOI"),
    "SGI": (pillow("SGI"), "SGI"),
    "DDS": (pillow("DDS"), "DDS"),
    "DNG": (lambda: camera(b"Pixel", tags=[(50706, 1, bytes([1, 4, 0, 0]))]), "DNG"),
    "Canon CR2": (lambda: camera(b"Canon", head=b"CR\2\0\0\0\0\0"), "CR2"),
    "Nikon NEF": (lambda: camera(b"NIKON CORPORATION", compression=34713), "NEF"),
    "Sony ARW": (lambda: camera(b"SONY", compression=32767), "ARW"),
    "Pentax PEF": (lambda: camera(b"PENTAX", compression=65535), "PEF"),
}
TURNED = {"DNG", "Canon CR2", "Nikon NEF", "Sony ARW", "Pentax PEF"}  # made above with orientation 6
GREY = {"PFM"}

REJECTED = {
    "JPEG XL": (lambda: b"\xff\x0a" + bytes(40), "JPEG XL"),
    "camera file without a preview": (lambda: camera(b"Canon", jpeg=b""), "camera file"),
    "Canon CR3": (lambda: box(b"crx "), "CR3"),
    "Fujifilm RAF": (lambda: b"FUJIFILMCCD-RAW 0201FF" + bytes(80), "RAF"),
    "Olympus ORF": (lambda: b"IIRO\x08\0\0\0" + bytes(40), "ORF"),
    "Panasonic RW2": (lambda: b"IIU\0\x18\0\0\0" + bytes(40), "RW2"),
    "Photoshop, large (PSB)": (lambda: psd(2), "PSB"),
    "PDF": (pillow("PDF"), "PDF"),
    "SVG": (lambda: b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "PostScript, EPS": (pillow("EPS"), "PostScript"),
    "MP4, MOV": (lambda: box(b"isom"), "video"),
    "WebM, Matroska": (lambda: b"\x1aE\xdf\xa3" + bytes(40), "video"),
    "AVI": (lambda: b"RIFF\0\0\0\0AVI LIST" + bytes(40), "video"),
    "MPEG": (lambda: b"\0\0\x01\xba" + bytes(40), "video"),
    "GIMP (XCF)": (lambda: b"gimp xcf v011\0" + bytes(40), "XCF"),
    "DjVu": (lambda: b"AT&TFORM\0\0\0\0DJVU" + bytes(40), "DjVu"),
    "Windows metafile": (lambda: b"\xd7\xcd\xc6\x9a" + bytes(40), "metafile"),
    "FITS": (lambda: b"SIMPLE  =                    T".ljust(2880), "FITS"),
    "DICOM": (lambda: bytes(128) + b"DICM" + bytes(40), "DICOM"),
    "OpenEXR": (lambda: b"v/1\x01" + bytes(40), "OpenEXR"),
    "Radiance HDR": (lambda: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "Radiance"),
    "JPEG XR": (lambda: b"II\xbc\x01" + bytes(40), "JPEG XR"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
    "Office document": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), "Office"),
    "ZIP archive": (zipped, "archive"),
    "gzip": (lambda: gzip.compress(b"<svg/>"), "compressed"),
    "web page": (lambda: b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
    "JSON": (lambda: b'{"error": "not found"}', "JSON"),
    "XML": (lambda: b'<?xml version="1.0"?><Error/>', "XML"),
    "text": (lambda: b"access denied", "text"),
    "Git LFS pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "audio": (lambda: b"ID3\x04" + bytes(40), "audio"),
}


def test_rows_and_samples_correspond():
    assert [row[0] for row in rows("Read")] == list(READ)
    assert [row[0] for row in rows("Rejected")] == list(REJECTED)


@pytest.mark.parametrize("name", READ)
def test_is_read(name):
    make, kind = READ[name]
    picture = decode(make(), max_bytes=1 << 24, max_pixels=1 << 24)
    assert picture.format == kind
    expected = PIXELS.astype(int)
    if name in TURNED:
        expected = np.rot90(expected, -1)
    if name in GREY:
        grey = expected[:, :, 1].astype(float)
        grey = np.rint((grey - grey.min()) * (255 / (grey.max() - grey.min())))
        expected = np.repeat(grey[:, :, None], 3, axis=2)
    rgb = picture.rgb
    if name == "ICNS":  # Pillow writes every size that there is
        rgb = np.asarray(Image.fromarray(rgb).reduce(rgb.shape[0] // 64))
    assert rgb.shape == expected.shape
    # Lossy formats and palettes change values a little; another frame, or a turned one, differs by far more.
    assert np.abs(rgb - expected).mean() < 12


@pytest.mark.parametrize("name", REJECTED)
def test_is_rejected_by_name_with_advice(name):
    make, said = REJECTED[name]
    if name == "JPEG XL" and "JXL" in Image.ID:
        pytest.skip("a reader for JPEG XL is installed")
    with pytest.raises(NotAnImageError, match=said) as caught:
        decode(make(), max_bytes=1 << 24, max_pixels=1 << 24)
    advice = next(row[3] for row in rows("Rejected") if row[0] == name)
    for command in re.findall(r"`([^`.]+?)`", advice.partition(";")[0]):
        assert command in caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize("row", rows("Read") + rows("Rejected"), ids=lambda row: row[0])
def test_which_extensions_are_indexed(row):
    assert row[2] in ("indexed", "skipped")
    for ending in row[1].split():
        assert is_image_name(f"x{ending}") == (row[2] == "indexed"), ending


def test_an_ordinary_tiff_is_read_completely():
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "TIFF", tiffinfo={271: "NIKON CORPORATION"})
    assert decode(buffer.getvalue(), max_bytes=1 << 24, max_pixels=1 << 24).format == "TIFF"


def test_the_orientation_of_a_preview_wins():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 1
    Image.fromarray(PIXELS).save(buffer, "JPEG", quality=95, exif=exif)
    picture = decode(camera(b"Canon", jpeg=buffer.getvalue()), max_bytes=1 << 24, max_pixels=1 << 24)
    assert np.abs(picture.rgb.astype(int) - PIXELS).mean() < 12


def test_sensor_data_is_not_read_as_a_preview():
    lossless = b"\xff\xd8\xff\xc3\x00\x0b\x10\x00\x40\x00\x40\x01\x01\x11\x00" + bytes(100_000)
    with pytest.raises(NotAnImageError, match="no preview"):
        decode(camera(b"Canon", jpeg=lossless), max_bytes=1 << 24, max_pixels=1 << 24)


@pytest.mark.parametrize("cut", range(8, 700, 13))
def test_a_damaged_camera_file_is_rejected_with_a_reason(cut):
    whole = camera(b"NIKON CORPORATION", compression=34713)
    broken = whole[:cut] + bytes([255, 255, 255, 255]) + whole[cut + 4 :]
    for data in (whole[:cut], broken):
        with suppress(ImageError):
            decode(data, max_bytes=1 << 24, max_pixels=1 << 24)


def extensions(section, *, indexed=True):
    return {
        name.lstrip(".") for row in rows(section) if (row[2] == "indexed") == indexed for name in row[1].split()
    }


def test_the_list_of_formats_is_complete():
    """The messages, the page and this document name the formats of one list."""
    listed = {suffix for suffixes in image_formats.READ.values() for suffix in suffixes}
    assert extensions("Read") - listed == set()
    assert listed - extensions("Read") <= {"heics", "heifs", "avifs", "jpc"}  # rare names of formats in the table
    assert set(image_formats.REJECTED) <= extensions("Rejected")

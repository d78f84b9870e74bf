import io
import shutil
import subprocess
import zlib
from fractions import Fraction

import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from imagefinder.core.file_metadata import PROPERTIES
from imagefinder.images.decoding.pool import DecoderPool
from imagefinder.images.metadata.read import read

pillow_heif.register_heif_opener()
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" {}>'
    "<dc:title><rdf:Alt><rdf:li>{}</rdf:li></rdf:Alt></dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def with_exif(taken="2024:07:01 12:30:05", latitude=48.858370, longitude=-2.294481):
    exif = Image.Exif()
    exif[271], exif[272], exif[315], exif[18246] = "Apple", "iPhone 12", b"J\xc3\xb6rg", 4
    details = exif.get_ifd(0x8769)
    details[36867], details[36881], details[37521], details[42036] = taken, "+02:00", "12", "Lens"

    def degrees(value):
        value = abs(value)
        minutes = value % 1 * 60
        return tuple(
            IFDRational(Fraction(p).limit_denominator(10**6)) for p in (int(value), int(minutes), minutes % 1 * 60)
        )

    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "S" if latitude < 0 else "N", degrees(latitude)
    gps[3], gps[4] = "W" if longitude < 0 else "E", degrees(longitude)
    gps[5], gps[6] = b"\1", IFDRational(7, 2)
    return exif


EXPECTED = {
    "exif.taken": "2024-07-01T12:30:05.120+02:00",
    "exif.camera": "Apple iPhone 12",
    "exif.lens": "Lens",
    "exif.latitude": 48.85837,
    "exif.longitude": -2.294481,
    "exif.altitude": -3.5,
    "iptc.creator": "J\u00f6rg",
    "xmp.rating": 4,
}


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_exif_of_all_formats(kind):
    found = read(encoded(kind, exif=with_exif()))
    found.pop("exif.orientation", None)
    assert found == EXPECTED


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_xmp_of_all_formats(kind):
    packet = XMP.format('xmp:Rating="5"', "Title").encode()
    options = {"tiffinfo": {700: packet}} if kind == "TIFF" else {"xmp": packet}
    found = read(encoded(kind, **options))
    assert (found["xmp.rating"], found["iptc.title"]) == (5, "Title")


@pytest.mark.parametrize("late", [False, True])
def test_metadata_of_a_png_before_and_after_its_pixels(late):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.format("", "Title"))
    data = encoded("PNG", pnginfo=info, exif=with_exif())
    if late:
        start, end = data.index(b"iTXt") - 4, data.index(b"IDAT") - 4
        last = data.index(b"IEND") - 4
        data = data[:start] + data[end:last] + data[start:end] + data[last:]
    found = read(data)
    assert found["iptc.title"] == "Title"
    assert found["exif.camera"] == "Apple iPhone 12"


def test_a_sidecar_counts_before_the_file_and_takeout_last():
    data = encoded("JPEG", exif=with_exif(), xmp=XMP.format('xmp:Rating="5"', "Embedded").encode())
    assert read(data)["xmp.rating"] == 5  # before the rating in EXIF
    sidecar = XMP.format('xmp:Rating="1"', "Sidecar").encode()
    json = b'{"description": "Caption", "photoTakenTime": {"timestamp": "1"}, '
    json += b'"geoData": {"latitude": 1, "longitude": 1}}'
    found = read(data, [sidecar, json])
    assert (found["xmp.rating"], found["iptc.title"], found["iptc.caption"]) == (1, "Sidecar", "Caption")
    assert found["exif.taken"] == EXPECTED["exif.taken"]
    assert found["exif.latitude"] == EXPECTED["exif.latitude"]
    assert read(encoded("JPEG"), [json])["exif.taken"] == "1970-01-01T00:00:01+00:00"


def test_one_damaged_part_leaves_the_others():
    data = encoded("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", xmp=XMP.format('xmp:Rating="5"', "x").encode())
    assert read(data) == {"xmp.rating": 5, "iptc.title": "x"}


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\xff\xd8\xff", b"II*\0" + b"\xff" * 50, b"\x89PNG\r\n\x1a\n", b"MM\0*"]
)
def test_no_image_has_none(data):
    assert read(data) == {}


def test_pixels_are_not_decoded():
    """A PNG whose pixels are damaged, and would take 0.8 GB."""
    data = encoded("PNG", exif=with_exif())
    place = data.index(b"IDAT")
    header = data[12:16] + (2**14).to_bytes(4) * 2 + data[24:29]
    damaged = (
        data[:12] + header + zlib.crc32(header).to_bytes(4) + data[33 : place + 4] + b"\0" * 8 + data[place + 12 :]
    )
    assert read(damaged)["exif.camera"] == "Apple iPhone 12"


def test_workers_read_metadata():
    pool = DecoderPool(workers=1, seconds=10, memory=1 << 30)
    try:
        data = encoded("JPEG", exif=with_exif()) + b"\0" * (2 << 20)
        assert pool.read_metadata(data)["exif.camera"] == "Apple iPhone 12"
        assert pool.read_metadata(data, [XMP.format("", "S").encode(), b"{}"])["iptc.title"] == "S"
        assert pool.read_metadata(b"no image") == {}
    finally:
        pool.close()


ascii_text = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(
    taken=st.datetimes().map(lambda one: one.replace(microsecond=0)),
    latitude=st.floats(-89.9, 89.9).map(lambda one: round(one, 6)),
    longitude=st.floats(0.1, 179.9).map(lambda one: round(one, 6)),
    camera=ascii_text,
)
def test_round_trip_through_pillow(taken, latitude, longitude, camera):
    exif = with_exif(f"{taken:%Y:%m:%d %H:%M:%S}".rjust(19, "0"), latitude, longitude)
    exif[271], exif[272] = "", camera
    found = read(encoded("JPEG", exif=exif))
    assert found["exif.taken"] == f"{taken.isoformat()}.120+02:00"
    assert found["exif.latitude"] == pytest.approx(latitude, abs=2e-6)
    assert found["exif.longitude"] == pytest.approx(longitude, abs=2e-6)
    assert found["exif.camera"] == camera


@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not installed")
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
def test_round_trip_through_exiftool(tmp_path, suffix):
    """All properties, as another program writes them: XMP, EXIF and, where the format has it, IPTC."""
    file = tmp_path / f"a.{suffix}"
    Image.new("RGB", (64, 48), "red").save(file)
    arguments = [
        *("-EXIF:DateTimeOriginal=2024:07:01 12:30:05", "-EXIF:OffsetTimeOriginal=-05:30", "-EXIF:Make=Canon"),
        *("-EXIF:Model=Canon EOS R5", "-EXIF:LensModel=EF 50mm", "-EXIF:Orientation#=6", "-EXIF:GPSLatitude=33.5"),
        *(
            "-EXIF:GPSLatitudeRef=S",
            "-EXIF:GPSLongitude=151.25",
            "-EXIF:GPSLongitudeRef=E",
            "-EXIF:GPSAltitude=3.5",
        ),
        *(
            "-XMP-dc:Title=Gr\u00f6\u00dfe \u65e5\u672c",
            "-XMP-dc:Subject=a",
            "-XMP-dc:Subject=\u6d77",
            "-XMP:Rating=3",
        ),
        *("-XMP-photoshop:City=Z\u00fcrich", "-XMP-photoshop:Country=Schweiz"),
    ]
    texts = [
        "-IPTC:Caption-Abstract=c",
        "-IPTC:By-line=b",
        "-IPTC:CopyrightNotice=\u00a9",
        "-IPTC:CodedCharacterSet=UTF8",
    ]
    xmp_texts = ["-XMP-dc:Description=c", "-XMP-dc:Creator=b", "-XMP-dc:Rights=\u00a9"]
    command = [
        "exiftool",
        "-q",
        "-m",
        "-overwrite_original",
        *arguments,
        *(xmp_texts if suffix == "png" else texts),
        file,
    ]
    subprocess.run(command, check=True)
    found = read(file.read_bytes())
    assert found == {
        "exif.taken": "2024-07-01T12:30:05-05:30",
        "exif.camera": "Canon EOS R5",
        "exif.lens": "EF 50mm",
        "exif.orientation": 6,
        "exif.latitude": -33.5,
        "exif.longitude": 151.25,
        "exif.altitude": 3.5,
        "iptc.title": "Gr\u00f6\u00dfe \u65e5\u672c",
        "iptc.caption": "c",
        "iptc.keywords": ["a", "\u6d77"],
        "iptc.creator": "b",
        "iptc.copyright": "\u00a9",
        "iptc.city": "Z\u00fcrich",
        "iptc.country": "Schweiz",
        "xmp.rating": 3,
    }
    assert found.keys() | {"live.video"} == PROPERTIES.keys()

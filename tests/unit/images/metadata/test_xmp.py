from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.images.metadata import xmp

HEAD = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" {}>"""
TAIL = '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'


def read(attributes="", elements=""):
    found = xmp.properties((HEAD.format(attributes) + elements + TAIL).encode())
    return {name: value for name, value in found.items() if value is not None}


def test_attributes_and_elements_are_read():
    assert read('xmp:Rating="4" tiff:Make="Canon" tiff:Model="Canon R5" GCamera:BurstID="b-1"') == {
        "xmp.rating": 4,
        "exif.camera": "Canon R5",
        "burst": "b-1",
    }
    assert read("", "<xmp:Rating>-1</xmp:Rating><photoshop:City>Paris</photoshop:City>") == {
        "xmp.rating": -1,
        "iptc.city": "Paris",
    }


def test_arrays_and_languages():
    title = (
        '<dc:title><rdf:Alt><rdf:li xml:lang="de">Meer</rdf:li><rdf:li xml:lang="x-default">Sea</rdf:li></rdf:Alt>'
        "</dc:title><dc:subject><rdf:Bag><rdf:li>a</rdf:li><rdf:li/><rdf:li>b</rdf:li></rdf:Bag></dc:subject>"
        "<dc:creator><rdf:Seq><rdf:li>One</rdf:li><rdf:li>Two</rdf:li></rdf:Seq></dc:creator>"
    )
    assert read("", title) == {"iptc.title": "Sea", "iptc.keywords": ["a", "b"], "iptc.creator": "One; Two"}


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        ("48,51.5022N", "2,17.6689E", (48.85837, 2.294482)),
        ("33,51,24S", "151,12.9179E", (-33.856667, 151.215298)),
        ("91,0N", "0,0E", None),
        ("48.85", "2.29", None),
        ("0,0N", "0,0E", None),
    ],
)
def test_coordinates(latitude, longitude, expected):
    found = read(f'exif:GPSLatitude="{latitude}" exif:GPSLongitude="{longitude}"')
    assert (found["exif.latitude"], found["exif.longitude"]) == expected if expected else found == {}


def test_altitude():
    place = 'exif:GPSLatitude="1,0N" exif:GPSLongitude="1,0E"'
    assert read(f'{place} exif:GPSAltitude="355/10"')["exif.altitude"] == 35.5
    assert read(f'{place} exif:GPSAltitude="3/1" exif:GPSAltitudeRef="1"')["exif.altitude"] == -3.0
    assert "exif.altitude" not in read(f'{place} exif:GPSAltitude="3/0"')


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no xml",
        b"<a><b></a>",
        b"\xff\xfe<\0a\0",
        b"<a/>" * 10,
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l11;</a>'.encode(),
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l11;</a>'.encode("utf-16"),
        b"<a>" * 100_000,
        b"<a>" + b" " * xmp.MAX_BYTES + b"</a>",
    ],
)
def test_hostile_and_damaged_packets_have_none(packet):
    assert xmp.properties(packet) == {}


plain = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(
    title=plain, keywords=st.lists(plain, min_size=1, max_size=5, unique=True), rating=st.sampled_from([-1, 1, 5])
)
def test_texts_survive(title, keywords, rating):
    items = "".join(f"<rdf:li>{escape(word)}</rdf:li>" for word in keywords)
    elements = (
        f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{escape(title)}</rdf:li></rdf:Alt></dc:title>'
        f"<dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject>"
    )
    try:
        (HEAD + elements).encode()
    except UnicodeEncodeError:
        return
    found = read(f'xmp:Rating="{rating}"', elements)
    if any(ord(letter) in (0xFFFE, 0xFFFF) for letter in title + "".join(keywords)):
        return  # not allowed in XML
    assert found == {"iptc.title": title, "iptc.keywords": keywords, "xmp.rating": rating}

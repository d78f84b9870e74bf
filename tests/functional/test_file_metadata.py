"""A messy library through the command line: sidecar files, Takeout, a Live Photo, edited copies, a burst."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from command import run as call
from PIL import Image

from imagefinder.testing.extractors import textured_image

FIXTURES = Path(__file__).parents[1] / "fixtures" / "collections"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{}"/></rdf:RDF></x:xmpmeta>'
)


def save(path, seed, *, taken="", quality=92):
    exif = Image.Exif()
    if taken:
        exif[271], exif[272] = "Canon", "Canon EOS R5"
        exif.get_ifd(0x8769).update({36867: taken, 36881: "+02:00", 37521: str(seed)})
        exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 30.1), 3: "E", 4: (2.0, 17.0, 40.1)})
    Image.fromarray(textured_image(seed, 120, 160)).save(path, quality=quality, exif=exif)


@pytest.fixture
def library(tmp_path):
    folder = tmp_path / "library"
    folder.mkdir()
    save(folder / "IMG_0001.jpg", 1, taken="2024:07:01 12:30:05")
    save(folder / "IMG_E0001.jpg", 1, quality=60)
    (folder / "IMG_0001.MOV").write_bytes(b"video")
    (folder / "IMG_0001.xmp").write_text(XMP.format(4))
    save(folder / "takeout.jpg", 2)
    (folder / "takeout.jpg.supplemental-metadata.json").write_text(
        json.dumps({"description": "Am Meer", "photoTakenTime": {"timestamp": "1719829805"}})
    )
    for seed in (11, 12, 13):
        save(folder / f"DSC_{seed}.jpg", seed, taken="2024:08:01 10:00:00")
    save(folder / "damaged metadata.jpg", 5)
    (folder / "damaged metadata.xmp").write_text("<!DOCTYPE a [<!ENTITY a 'b'>]><a>&a;</a>")
    return folder


def test_a_library(library, tmp_path):
    place = ("-c", str(tmp_path / "c"))

    def listed(*options):
        return {image["id"]: image for image in json.loads(call(*place, "list", "--json", *options).stdout)}

    done = call(*place, "add", library, "--method", "sift")
    assert done.returncode == 0, done.stderr
    assert "7 added" in done.stdout
    assert "in stacks: 3 further versions of pictures" in done.stdout
    images = listed()
    assert images["IMG_0001.jpg"]["file_metadata"] == {
        "exif": {"taken": "2024-07-01T12:30:05.100+02:00", "camera": "Canon EOS R5"},
        "live": {"video": "IMG_0001.MOV"},
        "xmp": {"rating": 4},
    }
    assert images["takeout.jpg"]["file_metadata"]["iptc"] == {"caption": "Am Meer"}
    assert images["damaged metadata.jpg"]["file_metadata"] == {}
    assert images["IMG_0001.jpg"]["stack"] == images["IMG_E0001.jpg"]["stack"]
    assert len({images[f"DSC_{seed}.jpg"]["stack"] for seed in (11, 12, 13)}) == 1
    found = json.loads(call(*place, "search", library / "IMG_0001.jpg", "--json", "-k", "9").stdout)
    assert (found["searched"], found["hits"][0]["stack"]) == (4, ["IMG_E0001.jpg"])
    assert [hit["id"] for hit in found["hits"]].count("IMG_E0001.jpg") == 0
    every = json.loads(call(*place, "search", library / "IMG_0001.jpg", "--json", "--no-stacks").stdout)
    assert (every["searched"], {hit["id"] for hit in every["hits"][:2]}) == (7, {"IMG_0001.jpg", "IMG_E0001.jpg"})


def test_only_what_changed_is_read_again(library, tmp_path):
    place = ("-c", str(tmp_path / "c"))
    call(*place, "add", library, "--method", "sift")
    assert "read again" not in call(*place, "add", library).stdout
    (library / "IMG_0001.xmp").write_text(XMP.format(2))
    done = call(*place, "add", library)
    assert "0 added, 0 replaced, 7 unchanged" in done.stdout
    assert "file metadata of 1 unchanged image read again" in done.stdout
    shown = json.loads(call(*place, "list", "--json", "--filter", '{"xmp.rating": 2}').stdout)
    assert [image["id"] for image in shown] == ["IMG_0001.jpg"]


def test_places_are_private(library, tmp_path):
    place = ("-c", str(tmp_path / "c"))
    call(*place, "add", library, "--method", "sift")
    hidden = call(*place, "list", "--csv").stdout
    assert "48.858" not in hidden
    refused = call(*place, "list", "--filter", '{"exif.latitude": {"gt": 48}}')
    assert (refused.returncode != 0, "places" in refused.stderr) == (True, True)
    rows = list(csv.DictReader(io.StringIO(call(*place, "list", "--csv", "--places").stdout)))
    assert {row["id"]: row["exif.latitude"] for row in rows}["IMG_0001.jpg"].startswith("48.858")


def test_a_collection_of_the_format_before_gets_file_metadata(library, tmp_path):
    """It is opened and searched as before; add reads the metadata of its images without extracting again."""
    folder = shutil.copytree(FIXTURES / "format-4", tmp_path / "c")
    place = ("-c", str(folder))
    before = json.loads(call(*place, "list", "--json").stdout)
    assert [image["file_metadata"] for image in before] == [{}, {}]
    done = call("--set", "sift_max_keypoints=40", *place, "add", library, "--method", "sift")
    assert "7 added" in done.stdout, done.stderr
    after = json.loads(call(*place, "list", "--json", "--filter", '{"exif.taken": {"exists": true}}').stdout)
    assert len(after) == 5

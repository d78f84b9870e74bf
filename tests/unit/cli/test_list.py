"""What ``list`` prints of the metadata of files, and what it keeps to itself."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

import imagefinder
from imagefinder.cli.app import app
from imagefinder.core.errors import FilterError
from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.records import Entry, ImageRecord

FOUND = FileMetadata(
    {
        "exif": {"taken": "2024-07-01T12:30:05+02:00", "latitude": 48.5, "longitude": 2.25},
        "iptc": {"title": "=SUM(1)", "keywords": ["a", "b"], "city": "Paris"},
    },
    "1",
    "stack",
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEFINDER_COLLECTION", str(tmp_path / "c"))
    with imagefinder.open(tmp_path / "c") as collection:
        for image_id, found in (("a", FOUND), ("b", FileMetadata({}, "1"))):
            record = ImageRecord(image_id, "", "", 1, 1, 1, "PNG", metadata={"n": 1}, file_metadata=found)
            collection.store.put([Entry(record, {})])

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, ["list", *arguments])
        if isinstance(result.exception, FilterError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout

    return run


def test_json_has_file_metadata_without_places(run):
    first, second = json.loads(run("--json"))
    assert first["metadata"] == {"n": 1}
    assert first["file_metadata"] == {
        "exif": {"taken": "2024-07-01T12:30:05+02:00"},
        "iptc": {"title": "=SUM(1)", "keywords": ["a", "b"]},
    }
    assert (first["stack"], second["file_metadata"], second["stack"]) == ("stack", {}, "")
    assert json.loads(run("--json", "--places"))[0]["file_metadata"] == FOUND.properties


def test_csv_has_a_column_for_each_property(run):
    hidden = run("--csv")
    assert not any(word in hidden for word in ("48.5", "2.25", "Paris", "latitude", "city"))
    (first, second) = csv.DictReader(io.StringIO(hidden))
    assert (first["exif.taken"], first["iptc.keywords"], first["metadata"]) == (
        "2024-07-01T12:30:05+02:00",
        "a; b",
        '{"n": 1}',
    )
    assert first["iptc.title"] == "'=SUM(1)"  # not a formula of a spreadsheet
    assert second["exif.taken"] == ""
    (first, _) = csv.DictReader(io.StringIO(run("--csv", "--places")))
    assert (first["exif.latitude"], first["iptc.city"]) == ("48.5", "Paris")


def test_filters_and_places(run, monkeypatch):
    taken = json.dumps({"exif.taken": {"gte": "2024-07"}})
    assert [one["id"] for one in json.loads(run("--json", "--filter", taken))] == ["a"]
    place = json.dumps({"iptc.city": "Paris"})
    with pytest.raises(FilterError, match="filters on places are not allowed"):
        run("--json", "--filter", place)
    assert [one["id"] for one in json.loads(run("--json", "--places", "--filter", place))] == ["a"]
    monkeypatch.setenv("IMAGEFINDER_PLACES", "true")
    assert [one["id"] for one in json.loads(run("--json", "--filter", place))] == ["a"]
    assert json.loads(run("--json"))[0]["file_metadata"]["iptc"]["city"] == "Paris"


@pytest.mark.parametrize(
    "arguments", [["--csv", "--json"], ["--csv", "--removed"], ["--filter", "[]"], ["--filter", "{"]]
)
def test_wrong_options(run, arguments):
    run(*arguments, code=2)

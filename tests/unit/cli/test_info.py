import re

from imagefinder.cli import list_


def test_info(call, collection):
    answer = call("info", "-c", collection)
    assert answer.out.startswith(f"4 images in {collection}\n")
    assert re.search(r"^sift +4  local, 128 x uint8 +\S+ [kM]B +\S+ kB  [0-9a-f]{12}$", answer.out, re.M)


def test_an_empty_collection_is_not_called_uncalibrated(call, tmp_path, images):
    call("add", tmp_path / "missing.jpg", "-c", tmp_path / "c")
    folder = tmp_path / "files"
    folder.mkdir()
    call("add", folder, "-c", tmp_path / "c", "-m", "sift")
    assert "it is calibrated when it has images" in call("info", "-c", tmp_path / "c").out
    assert call("search", images / "cat.jpg", "-c", tmp_path / "c").err == ""


def test_info_as_json(call, collection):
    answer = call("info", "-c", collection, "--json").json
    assert answer["images"] == 4
    assert answer["failures"] == 0
    assert answer["bytes_on_disk"] > answer["methods"]["sift"]["bytes"] > 0
    assert answer["methods"]["sift"]["features"] == {"kind": "local", "dim": 128, "dtype": "uint8"}


def test_list(call, collection, names, monkeypatch):
    monkeypatch.setattr(list_, "_PAGE", 3)
    lines = call("list", "-c", collection).out.splitlines()
    assert lines[0].split() == ["id", "dimensions", "format", "size", "location"]
    assert [line.split()[0] for line in lines[1:]] == sorted(names)
    records = call("list", "-c", collection, "--json").json
    assert [record["id"] for record in records] == sorted(names)
    assert records[0]["width"] == 451
    assert records[0]["format"] == "JPEG"

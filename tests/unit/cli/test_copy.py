"""Tests of the command ``copy``."""

from imagefinder.stores.embedded import EmbeddedStore


def test_copy_reports_what_it_did_and_verified(call, collection, tmp_path, images):
    answer = call("copy", collection, tmp_path / "copy")
    assert answer.code == 0
    assert answer.out.startswith(f"copied 4 images to {tmp_path / 'copy'} in ")
    assert "verified, counts and checksums are equal: 4 images, 0 failures, 0 removals\n" in answer.out
    found = call("search", images / "cat.jpg", "-c", tmp_path / "copy", "--json").json
    assert found["hits"] == call("search", images / "cat.jpg", "-c", collection, "--json").json["hits"]


def test_copy_to_a_collection_that_is_not_empty(call, collection, tmp_path, images):
    place = tmp_path / "copy"
    assert call("add", images / "cat.jpg", "-c", place, "-m", "sift").code == 0
    answer = call("copy", collection, place)
    assert answer.code == 3
    assert f"error: {place} is not empty: it has 1 image\n" in answer.err
    assert "hint: copy to a new collection; --resume continues an interrupted copy\n" in answer.err
    answer = call("copy", collection, place, "--resume", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")
    assert len(call("list", "-c", place, "--json").json) == 1


def test_copy_as_json_and_again(call, collection, tmp_path):
    first = call("copy", f"file://{collection}", f"file://{tmp_path / 'copy'}", "--json")
    assert (first.code, first.json["copied"], first.json["verified"]) == (0, 4, True)
    again = call("copy", collection, tmp_path / "copy", "--resume", "--json")
    assert (again.code, again.json["copied"], again.json["unchanged"]) == (0, 0, 4)
    assert "unchanged 4\n" in call("copy", collection, tmp_path / "copy", "--resume").out


def test_copy_that_differs_fails(call, collection, tmp_path, monkeypatch):
    monkeypatch.setattr(EmbeddedStore, "digests", lambda self, ids: dict.fromkeys(ids, f"{id(self):032x}"))
    answer = call("copy", collection, tmp_path / "copy")
    assert answer.code == 1
    assert "the copy of image 'cat.jpg' differs from the original\n" in answer.err
    assert "not verified: the copy differs from the original\n" in answer.err
    answer = call("copy", collection, tmp_path / "copy", "--json", "--resume")
    assert (answer.code, answer.json["verified"], len(answer.json["problems"])) == (1, False, 4)


def test_copy_of_a_collection_that_does_not_exist(call, tmp_path):
    answer = call("copy", tmp_path / "missing", tmp_path / "copy", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (5, "collection_not_found")
    assert not (tmp_path / "copy").exists()

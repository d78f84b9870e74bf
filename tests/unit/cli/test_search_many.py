"""Searches with several files, folders, archives and lists."""

import shutil
import zipfile

import pytest


@pytest.fixture
def queries(tmp_path, images, monkeypatch):
    """A folder with two copies, an image without a match, a web page, and a dangling link."""
    folder = tmp_path / "queries"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(images / "cat.jpg", folder / "a.jpg")
    shutil.copy(images / "coins.jpg", folder / "sub" / "b.jpg")
    shutil.copy(images / "temple.jpg", folder / "c.jpg")
    (folder / "page.jpg").write_text("<!doctype html><title>Sign in</title>")
    (folder / "gone.jpg").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return folder


def outcomes(document):
    return {
        one["query"]: one["error"]["code"] if "error" in one else (one["decision"], one["hits"][0]["id"])
        for one in document["queries"]
    }


def test_a_folder(call, collection, queries):
    answer = call("search", "queries", "-c", collection, "--json")
    assert answer.code == 1
    found = outcomes(answer.json)
    assert found.pop("queries/c.jpg")[0] == "none"
    assert found == {
        "queries/a.jpg": ("match", "cat.jpg"),
        "queries/sub/b.jpg": ("match", "coins.jpg"),
        "queries/page.jpg": "not_an_image",
        "queries/gone.jpg": "invalid_source",
    }
    counts = {name: answer.json[name] for name in ("matched", "unmatched", "failed", "interrupted")}
    assert counts == {"matched": 2, "unmatched": 1, "failed": 2, "interrupted": False}
    first = next(one for one in answer.json["queries"] if one["query"] == "queries/a.jpg")
    assert first["uri"] == (queries / "a.jpg").as_uri()
    assert first["hits"][0]["uri"].endswith("/pictures/cat.jpg")


def test_the_text(call, collection, queries):
    answer = call("search", queries, "-c", collection)
    assert answer.code == 1
    assert "queries/a.jpg\n  match: cat.jpg, identical (E-value <1e-99)\n" in answer.out
    assert "queries/c.jpg\n  no match (best E-value " in answer.out
    assert "queries/page.jpg\n  error: " in answer.out
    assert "unsupported file format: web page" in answer.out
    assert "5 queries in " in answer.out
    assert ": 2 with a match, 1 without, 2 failed\n" in answer.out


def test_several_files_and_a_pattern(call, collection, queries):
    given = call("search", "queries/a.jpg", "queries/sub/b.jpg", "-c", collection, "--json")
    assert given.code == 0
    assert list(outcomes(given.json)) == ["queries/a.jpg", "queries/sub/b.jpg"]
    pattern = call("search", "queries/*[!e].jpg", "-c", collection, "--json")
    assert list(outcomes(pattern.json)) == ["queries/a.jpg", "queries/c.jpg"]
    one = call("search", "queries/a*.jpg", "-c", collection, "--json")
    assert (one.code, list(outcomes(one.json))) == (0, ["queries/a.jpg"])
    missing = call("search", "queries/a.jpg", "queries/missing.jpg", "-c", collection, "--json")
    assert (missing.code, missing.json["matched"], missing.json["failed"]) == (1, 1, 1)


def test_an_archive_and_a_list(call, collection, queries, tmp_path):
    with zipfile.ZipFile(tmp_path / "queries.zip", "w") as archive:
        archive.write(queries / "a.jpg", "x/a.jpg")
        archive.writestr("x/bad.jpg", "text")
    answer = call("search", tmp_path / "queries.zip", "-c", collection, "--json")
    uri = f"archive:{(tmp_path / 'queries.zip').as_uri()}!/x/"
    assert outcomes(answer.json) == {f"{uri}a.jpg": ("match", "cat.jpg"), f"{uri}bad.jpg": "not_an_image"}
    (tmp_path / "list.tsv").write_text("url\tid\nqueries/a.jpg\t1\n")
    answer = call("search", tmp_path / "list.tsv", "-c", collection, "--json")
    assert outcomes(answer.json) == {"queries/a.jpg": ("match", "cat.jpg")}


def test_the_contact_sheet(call, collection, queries, tmp_path):
    page = tmp_path / "page.html"
    answer = call("search", queries, "-c", collection, "--show", "--page", page)
    assert f"page: {page}\n" in answer.out
    text = page.read_text()
    assert [name in text for name in ("queries/a.jpg", "queries/sub/b.jpg", "queries/c.jpg")] == [True] * 3
    assert call("search", queries, "-c", collection, "--show", "--page", page, "--json").json["page"] == str(page)


def test_ranking_and_boxes(call, collection, queries):
    answer = call("search", queries, "-c", collection, "-m", "sift", "--ranking", "matches")
    assert "queries/a.jpg\n  cat.jpg (" in answer.out
    answer = call("search", queries, "-c", collection, "--box", "0,0,400,310", "--json")
    found = outcomes(answer.json)
    assert found["queries/a.jpg"] == ("match", "cat.jpg")


def test_nothing_that_can_be_used(call, collection, queries, tmp_path):
    (tmp_path / "empty").mkdir()
    answer = call("search", tmp_path / "empty", "-c", collection)
    assert (answer.code, "no images in" in answer.err) == (3, True)
    assert call("search", queries / "page.jpg", queries / "gone.jpg", "-c", collection).code == 3
    assert call("search", queries / "missing.jpg", "-c", collection).code == 3
    assert call("search", "nothing*.jpg", "-c", collection).code == 3


def test_invalid_usage(call, collection, queries):
    assert call("search", "-", "queries/a.jpg", "-c", collection).code == 2
    assert call("search", "queries", "--id", "cat.jpg", "-c", collection).code == 2
    assert call("search", "-c", collection).code == 2
    answer = call("search", queries, "-c", collection, "-m", "sfit")
    assert (answer.code, "did you mean sift?" in answer.err) == (3, True)
    assert "error" not in answer.out  # one error, not one for each query

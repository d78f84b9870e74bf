"""``import`` and ``export``."""

import json

import numpy as np
import pytest

from imagefinder.indexing import npy_layout


@pytest.fixture(scope="module")
def exported(collection, tmp_path_factory):
    from imagefinder.cli.app import run

    folder = tmp_path_factory.mktemp("export") / "exported"
    assert run(["export", str(folder), "--format", "npy", "-c", str(collection)]) == 0
    return folder


def test_export_writes_the_layout_and_says_how_much(call, collection, names, exported, tmp_path):
    assert sorted(path.name for path in (exported / "features" / "sift").iterdir()) == sorted(
        f"{n}.npy" for n in names
    )
    answer = call("export", tmp_path / "new", "-c", collection)
    assert answer.code == 0
    assert answer.out.startswith(f"4 images written to {tmp_path / 'new'} in ")
    assert "files of features: 4 of sift\n" in answer.out
    answer = call("export", tmp_path / "newer", "-c", collection, "--json")
    assert answer.json["files"] == {"sift": 4, "resnet50": 0, "beit": 0}


def test_export_into_a_folder_that_holds_something(call, collection, exported):
    answer = call("export", exported, "-c", collection, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")


def test_export_tells_what_it_could_not_write(call, collection, tmp_path, monkeypatch):
    failure = npy_layout.Failure("x" * 300, "", "invalid_source", "the id is too long")
    report = npy_layout.ExportReport(3, {"sift": 3}, (failure,), 0.1)
    monkeypatch.setattr(npy_layout, "write_npy_layout", lambda *_, **__: report)
    answer = call("export", tmp_path / "x", "-c", collection)
    assert answer.code == 1
    assert answer.err == f"not written: {'x' * 300}: the id is too long\n"


def test_imported_features_are_ours_only_by_ones_word(call, exported, pictures, tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    assert call("import", exported, "-c", theirs, "--json").json["added"] == 4
    answer = call("search", pictures / "cat.jpg", "-c", theirs, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (5, "fingerprint_mismatch")
    assert len(call("search", "--id", "cat.jpg", "-c", theirs, "--json").json["hits"]) == 3
    answer = call("import", exported, "-c", ours, "--ours")
    assert answer.code == 0
    assert answer.out.startswith("4 added")
    assert call("search", pictures / "cat.jpg", "-c", ours, "--json").json["hits"][0]["id"] == "cat.jpg"
    assert call("list", "-c", ours).out.splitlines()[1].split()[0] == "cat.jpg"


def test_import_tells_what_it_could_not_use(call, exported, tmp_path):
    folder = tmp_path / "folder"
    (folder / "features" / "sift").mkdir(parents=True)
    np.save(folder / "features" / "sift" / "good.npy", np.zeros((5, 128), np.float32))
    np.save(folder / "features" / "sift" / "bad.npy", np.zeros((5, 64), np.float32))
    answer = call("import", folder, "-c", tmp_path / "c")
    assert answer.code == 1
    assert "1 added" in answer.out
    assert "bad.npy: expected shape (n, 128), found (5, 64)" in answer.out
    assert "all of them: the same command with --json" in answer.out
    assert json.dumps("bad") in call("import", folder, "-c", tmp_path / "d", "--json").out


def test_ours_needs_the_weights(call, bare, tmp_path):
    folder = tmp_path / "folder" / "features" / "resnet_50"
    folder.mkdir(parents=True)
    np.save(folder / "a.npy", np.zeros(2048, np.float32))
    options = (*bare, "-c", tmp_path / "c")
    answer = call(*options, "import", tmp_path / "folder", "--ours", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "model_missing")
    assert call(*options, "import", tmp_path / "folder", "--json").json["methods"] == ["resnet50"]


def test_import_of_something_else(call, tmp_path):
    answer = call("import", tmp_path, "-c", tmp_path / "c", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")

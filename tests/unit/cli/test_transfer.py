"""Tests of the commands ``import`` and ``export``."""

import numpy as np
import pytest

from imagefinder.indexing import npy_layout


@pytest.fixture(scope="module")
def exported(collection, tmp_path_factory):
    from imagefinder.cli.app import run

    folder = tmp_path_factory.mktemp("export") / "exported"
    assert run(["export", str(folder), "--format", "npy", "-c", str(collection)]) == 0
    return folder


def test_export_writes_the_layout_and_reports_counts(call, collection, names, exported, tmp_path):
    assert sorted(path.name for path in (exported / "features" / "sift").iterdir()) == sorted(
        f"{n}.npy" for n in names
    )
    answer = call("export", tmp_path / "new", "-c", collection)
    assert answer.code == 0
    assert answer.out.startswith(f"exported 4 images to {tmp_path / 'new'} in ")
    assert "feature files: sift 4\n" in answer.out
    answer = call("export", tmp_path / "newer", "-c", collection, "--json")
    assert answer.json["files"] == {"sift": 4, "resnet50": 0, "beit": 0}


def test_export_into_a_folder_that_is_not_empty(call, collection, exported):
    answer = call("export", exported, "-c", collection, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")


def test_export_reports_failures(call, collection, tmp_path, monkeypatch):
    failure = npy_layout.Failure("x" * 300, "", "invalid_source", "the id is too long")
    report = npy_layout.ExportReport(3, {"sift": 3}, (failure,), 0.1)
    monkeypatch.setattr(npy_layout, "write_npy_layout", lambda *_, **__: report)
    answer = call("export", tmp_path / "x", "-c", collection)
    assert answer.code == 1
    assert answer.err == f"not exported: {'x' * 300}: the id is too long\n"


def test_imported_features_are_compatible_only_if_asserted(call, exported, images, tmp_path):
    foreign, compatible = tmp_path / "foreign", tmp_path / "compatible"
    assert call("import", exported, "-c", foreign, "--json").json["added"] == 4
    answer = call("search", images / "cat.jpg", "-c", foreign, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (5, "fingerprint_mismatch")
    assert len(call("search", "--id", "cat.jpg", "-c", foreign, "--json").json["hits"]) == 3
    answer = call("import", exported, "-c", compatible, "--compatible")
    assert answer.code == 0
    assert answer.out.startswith("4 added")
    assert call("search", images / "cat.jpg", "-c", compatible, "--json").json["hits"][0]["id"] == "cat.jpg"
    assert call("list", "-c", compatible).out.splitlines()[1].split()[0] == "cat.jpg"


def test_the_old_name_of_compatible_still_works_and_is_deprecated(call, exported, images, tmp_path):
    answer = call("import", exported, "-c", tmp_path / "c", "--ours")
    assert (answer.code, answer.err) == (0, "warning: --ours is deprecated; use --compatible\n")
    assert call("search", images / "cat.jpg", "-c", tmp_path / "c", "--json").json["hits"][0]["id"] == "cat.jpg"
    assert "--ours" not in call("import", "--help").out


def test_import_reports_failures(call, exported, tmp_path):
    folder = tmp_path / "folder"
    (folder / "features" / "sift").mkdir(parents=True)
    np.save(folder / "features" / "sift" / "good.npy", np.zeros((5, 128), np.float32))
    np.save(folder / "features" / "sift" / "bad.npy", np.zeros((5, 64), np.float32))
    answer = call("import", folder, "-c", tmp_path / "c")
    assert answer.code == 1
    assert "1 added" in answer.out
    assert "bad.npy" in answer.out
    document = call("import", folder, "-c", tmp_path / "d", "--json").json
    assert [failure["id"] for failure in document["failures"]] == ["bad"]


def test_compatible_needs_the_weights(call, bare, tmp_path):
    folder = tmp_path / "folder" / "features" / "resnet_50"
    folder.mkdir(parents=True)
    np.save(folder / "a.npy", np.zeros(2048, np.float32))
    options = (*bare, "-c", tmp_path / "c")
    answer = call(*options, "import", tmp_path / "folder", "--compatible", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "model_missing")
    assert call(*options, "import", tmp_path / "folder", "--json").json["methods"] == ["resnet50"]


def test_import_of_another_folder(call, tmp_path):
    answer = call("import", tmp_path, "-c", tmp_path / "c", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")

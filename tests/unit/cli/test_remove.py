import shutil


def test_remove_reports_unknown_ids(call, collection, tmp_path):
    copy = shutil.copytree(collection, tmp_path / "copy")
    answer = call("remove", "cat.jpg", "x", "y", "x", "-c", copy)
    assert answer.code == 1
    assert answer.out == "removed 1 image\n"
    assert answer.err == "not in the collection: x\nnot in the collection: y\n"
    answer = call("remove", "coins.jpg", "dogs.jpg", "-c", copy, "--json")
    assert (answer.code, answer.json) == (0, {"removed": 2, "unknown": []})
    assert [row["id"] for row in call("list", "-c", copy, "--json").json] == ["clock.jpg"]


def test_removed_images_stay_removed_until_it_is_undone(call, images, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("cat.jpg", "coins.jpg", "clock.jpg"):
        shutil.copy(images / name, pictures)
    folder = tmp_path / "c"
    assert call("add", pictures, "-m", "sift", "-c", folder).code == 0
    assert call("remove", "cat.jpg", "coins.jpg", "-c", folder).code == 0
    assert call("remove", "--forget", "clock.jpg", "-c", folder).code == 0
    added = call("add", pictures, "-c", folder)
    assert added.out.startswith("1 added, 0 replaced, 0 unchanged")
    assert "skipped 2 removed images;" in added.out
    assert "--include-removed" in added.out
    rows = call("list", "--removed", "-c", folder, "--json").json
    assert [(row["id"], row["uri"]) for row in rows] == [
        (name, (pictures / name).as_uri()) for name in ("cat.jpg", "coins.jpg")
    ]
    assert "cat.jpg" in call("list", "--removed", "-c", folder).out
    undone = call("remove", "--undo", "coins.jgp", "-c", folder)
    assert (undone.code, undone.out) == (1, "took the removal of 0 images back\n")
    assert undone.err == "was not removed: coins.jgp (did you mean coins.jpg?)\n"
    undone = call("remove", "--undo", "cat.jpg", "x", "-c", folder)
    assert (undone.code, undone.out) == (
        1,
        "took the removal of 1 image back; the next add of their source adds them\n",
    )
    assert undone.err == "was not removed: x\n"
    assert call("add", pictures, "-c", folder, "--json").json["added"] == 1
    report = call("add", pictures, "-c", folder, "--include-removed", "--json").json
    assert (report["added"], report["excluded"], report["unchanged"]) == (1, 0, 2)
    assert call("list", "--removed", "-c", folder, "--json").json == []
    assert call("remove", "--undo", "--forget", "x", "-c", folder).code == 2


def test_missing_files_are_marked(call, images, tmp_path):
    file = shutil.copy(images / "cat.jpg", tmp_path / "mine.jpg")
    folder = tmp_path / "c"
    assert call("add", file, images / "coins.jpg", "-m", "sift", "-c", folder).code == 0
    file.rename(tmp_path / "elsewhere.jpg")
    rows = call("list", "-c", folder, "--json").json
    assert [(row["id"], row["missing"]) for row in rows] == [("coins.jpg", False), ("mine.jpg", True)]
    assert f"{file} (missing)" in call("list", "-c", folder).out
    answer = call("search", images / "cat.jpg", "-c", folder, "-k", "1", "--json").json
    assert [(hit["id"], hit["missing"]) for hit in answer["hits"]] == [("mine.jpg", True)]
    moved = call("add", tmp_path / "elsewhere.jpg", "-c", folder)
    assert "1 image moved or renamed: features and metadata kept" in moved.out
    assert [row["id"] for row in call("list", "-c", folder, "--json").json] == ["coins.jpg", "elsewhere.jpg"]

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

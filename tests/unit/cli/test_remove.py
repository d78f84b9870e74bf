import shutil


def test_remove_names_the_ids_that_are_not_there(call, collection, tmp_path):
    copy = shutil.copytree(collection, tmp_path / "copy")
    answer = call("remove", "cat.jpg", "x", "y", "x", "-c", copy)
    assert answer.code == 1
    assert answer.out == "1 image removed\n"
    assert answer.err == "not in this collection: x\nnot in this collection: y\n"
    answer = call("remove", "coins.jpg", "dogs.jpg", "-c", copy, "--json")
    assert (answer.code, answer.json) == (0, {"removed": 2, "unknown": []})
    assert [row["id"] for row in call("list", "-c", copy, "--json").json] == ["clock.jpg"]

import shutil


def test_an_index_is_built_verified_and_rebuilt(call, collection, images, tmp_path):
    copy = shutil.copytree(collection, tmp_path / "copy")
    answer = call("build-index", "-c", copy, "--json")
    assert answer.code == 0
    (state,) = answer.json["indexes"]
    assert (state["method"], state["images"], state["indexed"], state["waiting"]) == ("sift", 4, 4, 0)
    assert answer.json["problems"] == []
    answer = call("build-index", "-c", copy, "--verify")
    assert answer.code == 0
    assert "no problems found" in answer.out
    (segment,) = (copy / "index" / "shortlist-sift").glob("segment-*")
    segment.write_bytes(segment.read_bytes()[:-1])
    answer = call("build-index", "-c", copy, "--verify")
    assert answer.code == 1
    assert "build-index --rebuild" in answer.err
    assert len(call("build-index", "-c", copy, "--verify", "--json").json["problems"]) == 1
    assert call("build-index", "-c", copy, "--rebuild").code == 0
    assert call("build-index", "-c", copy, "--verify").code == 0
    answer = call("search", images / "cat.jpg", "-c", copy, "--mode", "fast", "--json")
    assert (answer.json["mode"], answer.json["hits"][0]["id"]) == ("fast", "cat.jpg")
    assert call("search", images / "cat.jpg", "-c", copy, "--json").json["mode"] == "exact"
    assert "mode fast; sift" in call("search", images / "cat.jpg", "-c", copy, "--mode", "fast").out


def test_rebuild_and_verify_exclude_each_other(call, collection):
    answer = call("build-index", "-c", collection, "--rebuild", "--verify")
    assert answer.code == 2
    assert "--verify" in answer.err


def test_add_updates_the_index_of_a_large_collection(call, images, tmp_path):
    options = ("-c", tmp_path / "c", "--set", "exact_bytes=1000")
    assert call(*options, "add", images / "cat.jpg", images / "dogs.jpg", "-m", "sift").code == 0
    assert call(*options, "search", images / "cat.jpg", "--json").json["mode"] == "fast"
    assert (tmp_path / "c" / "index" / "shortlist-sift" / "manifest.json").exists()

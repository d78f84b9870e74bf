import shutil


def test_index_is_made_verified_and_mended(call, collection, pictures, tmp_path):
    copy = shutil.copytree(collection, tmp_path / "copy")
    answer = call("index", "-c", copy, "--json")
    assert answer.code == 0
    (state,) = answer.json["indexes"]
    assert (state["method"], state["images"], state["indexed"], state["waiting"]) == ("sift", 4, 4, 0)
    assert answer.json["problems"] == []
    answer = call("index", "-c", copy, "--verify")
    assert answer.code == 0
    assert "nothing wrong was found" in answer.out
    (segment,) = (copy / "index" / "shortlist-sift").glob("segment-*")
    segment.write_bytes(segment.read_bytes()[:-1])
    answer = call("index", "-c", copy, "--verify")
    assert answer.code == 1
    assert "cut off" in answer.err
    assert call("index", "-c", copy, "--rebuild").code == 0
    assert call("index", "-c", copy, "--verify").code == 0
    answer = call("search", pictures / "cat.jpg", "-c", copy, "--mode", "fast", "--json")
    assert (answer.json["mode"], answer.json["hits"][0]["id"]) == ("fast", "cat.jpg")
    assert call("search", pictures / "cat.jpg", "-c", copy, "--json").json["mode"] == "exact"
    assert "fast, sift" in call("search", pictures / "cat.jpg", "-c", copy, "--mode", "fast").out


def test_rebuild_and_verify_exclude_one_another(call, collection):
    answer = call("index", "-c", collection, "--rebuild", "--verify")
    assert answer.code == 2
    assert "not both" in answer.err


def test_add_brings_the_index_of_a_large_collection_up_to_date(call, pictures, tmp_path):
    options = ("-c", tmp_path / "c", "--set", "exact_bytes=1000")
    assert call(*options, "add", pictures / "cat.jpg", pictures / "dogs.jpg", "-m", "sift").code == 0
    assert call(*options, "search", pictures / "cat.jpg", "--json").json["mode"] == "fast"
    assert (tmp_path / "c" / "index" / "shortlist-sift" / "manifest.json").exists()

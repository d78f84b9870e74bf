import shutil

import pytest

from imagefinder.cli import add


@pytest.fixture
def folder(tmp_path, images):
    """A folder of two images."""
    made = tmp_path / "pictures"
    made.mkdir()
    shutil.copy(images / "cat.jpg", made)
    shutil.copy(images / "coins.jpg", made)
    return made


def counts(answer):
    return {name: answer.json[name] for name in ("added", "replaced", "unchanged", "removed", "failed")}


def test_add_again_change_and_prune(call, folder, tmp_path, images):
    arguments = ("-c", tmp_path / "c", "add", folder, "-m", "sift", "--json")
    answer = call(*arguments)
    assert answer.code == 0
    assert answer.json["collection"] == str(tmp_path / "c")
    assert answer.json["methods"] == ["sift"]
    assert counts(answer) == {"added": 2, "replaced": 0, "unchanged": 0, "removed": 0, "failed": 0}
    assert counts(call(*arguments)) == {"added": 0, "replaced": 0, "unchanged": 2, "removed": 0, "failed": 0}
    shutil.copy(images / "dogs.jpg", folder / "cat.jpg")
    (folder / "coins.jpg").unlink()
    assert counts(call(*arguments)) == {"added": 0, "replaced": 1, "unchanged": 0, "removed": 0, "failed": 0}
    assert counts(call(*arguments, "--prune")) == {
        "added": 0,
        "replaced": 0,
        "unchanged": 1,
        "removed": 1,
        "failed": 0,
    }


def test_the_text_report(call, folder, tmp_path):
    answer = call("-c", tmp_path / "c", "add", folder, "-m", "sift")
    assert answer.out.startswith("2 added, 0 replaced, 0 unchanged, 0 removed, 0 failed in ")
    assert f"collection: {tmp_path / 'c'} (methods: sift)" in answer.out


def test_failures_are_listed_and_the_exit_code_is_1(call, folder, tmp_path):
    for number in range(add._FAILURES_SHOWN + 2):
        (folder / f"bad{number:02}.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is cut short")
    answer = call("-c", tmp_path / "c", "add", folder, "-m", "sift")
    assert answer.code == 1
    assert answer.out.count("damaged_image") == add._FAILURES_SHOWN
    assert "2 more not shown; list all with: imagefinder info --failures" in answer.out
    listed = call("-c", tmp_path / "c", "info", "--failures")
    assert listed.out.count("damaged_image") == 12
    as_json = call("-c", tmp_path / "c", "info", "--failures", "--json").json
    assert as_json["failures"] == len(as_json["failed"]) == 12
    assert "imagefinder info --failures" in call("-c", tmp_path / "c", "info").out


def test_a_missing_source(call, tmp_path):
    answer = call("-c", tmp_path / "c", "add", tmp_path / "nothing", "-m", "sift", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")


def test_a_method_without_weights(call, folder, bare, tmp_path):
    answer = call(*bare, "-c", tmp_path / "c", "add", folder, "-m", "beit", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "model_missing")


def test_skipped_files_and_refused_pruning_are_reported(call, folder, tmp_path):
    (folder / "notes.txt").write_text("not an image")
    answer = call("-c", tmp_path / "c", "add", folder, "-m", "sift")
    assert "skipped 1 non-image file\n" in answer.out
    for name in ("cat.jpg", "coins.jpg"):
        (folder / name).unlink()
    emptied = call("-c", tmp_path / "c", "add", folder, "--prune")
    (note,) = call("-c", tmp_path / "c", "add", folder, "--prune", "--json").json["notes"]
    assert "0 removed" in emptied.out
    assert emptied.err == f"{note}\n"


def test_the_exit_code_distinguishes_known_failures(call, folder, tmp_path):
    pictures = tmp_path / "nightly"
    shutil.copytree(folder, pictures)
    (pictures / "gone.jpg").symlink_to(pictures / "nowhere.jpg")
    first = call("add", str(pictures), "-m", "sift", "--json")
    assert (first.code, first.json["failed"], first.json["failed_before"]) == (1, 1, 0)
    again = call("add", str(pictures), "--json")
    assert (again.code, again.json["failed"], again.json["failed_before"]) == (6, 1, 1)
    assert "1 failed (1 as before)" in call("add", str(pictures)).out
    (pictures / "a-new.png").write_bytes(b"damaged")
    worse = call("add", str(pictures), "--json")
    assert (worse.code, worse.json["failed"], worse.json["failed_before"]) == (1, 2, 1)
    assert [failure["id"] for failure in worse.json["failures"]] == ["a-new.png", "gone.jpg"]
    (pictures / "gone.jpg").unlink()
    (pictures / "gone.jpg").write_bytes(b"damaged")  # another reason than before
    assert call("add", str(pictures)).code == 1
    assert call("add", str(pictures)).code == 6
    (pictures / "gone.jpg").unlink()
    (pictures / "a-new.png").unlink()
    assert call("add", str(pictures)).code == 0


def test_the_exit_code_if_no_image_can_be_used(call, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"damaged")
    for _ in range(2):
        assert call("add", str(tmp_path / "a.jpg"), "-m", "sift").code == 3

import contextlib
import io
import shutil
from types import SimpleNamespace

import pytest

from imagefinder.cli import demo
from imagefinder.cli.app import run


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The demo, run once: its exit code, what it printed, and the folder that it filled."""
    place, printed = tmp_path_factory.mktemp("demo") / "output", io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("HF_HOME", str(place.with_name("hub")))
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place.with_name("hub")))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        code = run(["--set", f"models={place.with_name('models')}", "demo", "-o", str(place)])
    return SimpleNamespace(code=code, out=printed.getvalue(), place=place)


@pytest.fixture
def place(first):
    return first.place


def test_every_example_is_small_and_has_its_licence():
    examples = demo._examples()
    files = sorted(path.relative_to(examples).as_posix() for path in examples.glob("*/*"))
    rows = [line.split("|") for line in (examples / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()]
    described = {row[1].strip(" `"): row[2:-1] for row in rows if len(row) == 7 and row[1].startswith(" `")}
    assert sorted(described) == files
    assert all(cell.strip() for cells in described.values() for cell in cells)
    assert all((examples / name).stat().st_size < 100_000 for name in files)


def test_on_the_examples_every_answer_is_right(first, place):
    answer = first
    assert answer.code == 0
    assert "24 added" in answer.out
    assert answer.out.count("  right, ") == 15
    assert answer.out.count("  nothing shows this  ") == 3
    assert max(len(line) for line in answer.out.splitlines() if "  right, " in line) <= 80
    page = place / "contact-sheet.html"
    assert f"side by side: {page}" in answer.out
    assert "no thumbnail" not in page.read_text(encoding="utf-8")
    assert "What to type next" in answer.out
    assert "/sift-similar-images" in answer.out


def test_again_nothing_is_indexed_anew(call, bare, place):
    answer = call(*bare, "demo", "-o", place, "--json").json
    assert answer["indexed"]["unchanged"] == 24
    assert answer["indexed"]["added"] == 0
    assert answer["right"]
    assert [question["expected"] for question in answer["questions"]] == [
        "temple.jpg",
        "dogs.jpg",
        "nuthatch.jpg",
        "motorcycle.jpg",
        None,
    ]
    for question in answer["questions"]:
        assert [hit["method"] for hit in question["answers"]] == ["auto", "sift", "efficientnet-lite0"]
        for hit in question["answers"]:
            found = None if hit["decision"] == "none" else hit["hits"][0]["id"]
            assert (found == question["expected"]) == (hit["verdict"] == "right")


def test_its_queries_can_be_asked_again_by_search(call, place):
    query = place / "queries" / "crop-of-temple.jpg"
    assert call("search", query, "-c", place / "collection", "--json").json["hits"][0]["id"] == "temple.jpg"


def test_a_wrong_answer_ends_with_1(call, bare, place, monkeypatch):
    monkeypatch.setattr(demo, "_CROP", ("a crop of", lambda image: image.crop((0, 0, 8, 8))))
    answer = call(*bare, "demo", "-o", place)
    assert answer.code == 1
    assert "wrong" in answer.out
    assert "error: an answer is wrong" in answer.err


def test_features_made_otherwise_are_not_mixed(call, bare, place):
    answer = call(*bare, "--set", "sift_max_side=200", "demo", "-o", place)
    assert answer.code == 5
    assert f"delete {place / 'collection'}" in answer.err


def test_on_a_folder_of_ones_own(call, bare, tmp_path, pictures):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("cat.jpg", "coins.jpg"):
        shutil.copy(pictures / name, folder)
    answer = call(*bare, "demo", folder, "-o", tmp_path / "out", "--json")
    assert answer.code == 0
    assert [question["expected"] for question in answer.json["questions"]] == ["cat.jpg", "coins.jpg"]
    assert {hit["verdict"] for question in answer.json["questions"] for hit in question["answers"]} == {""}


def test_on_a_folder_without_a_picture(call, bare, tmp_path):
    (tmp_path / "mine").mkdir()
    answer = call(*bare, "demo", tmp_path / "mine", "-o", tmp_path / "out", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")


def test_without_the_examples_it_says_so(call, bare, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "a" / "b" / "c" / "demo.py"))
    answer = call(*bare, "demo", "-o", tmp_path / "out")
    assert answer.code == 3
    assert "imagefinder demo FOLDER" in answer.err
    assert not (tmp_path / "out").exists()

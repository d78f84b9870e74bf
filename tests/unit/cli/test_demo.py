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


@pytest.fixture
def made(call, bare, place):
    """Output folder of a finished demo."""
    if not (place / "contact-sheet.html").exists():
        assert call(*bare, "demo", "-o", place).code == 0
    return place


def test_every_example_is_small_and_has_a_licence():
    examples = demo._examples()
    files = sorted(path.relative_to(examples).as_posix() for path in examples.glob("*/*"))
    rows = [line.split("|") for line in (examples / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()]
    described = {row[1].strip(" `"): row[2:-1] for row in rows if len(row) == 7 and row[1].startswith(" `")}
    assert sorted(described) == files
    assert all(cell.strip() for cells in described.values() for cell in cells)
    assert all((examples / name).stat().st_size < 100_000 for name in files)


def test_every_result_on_the_examples_is_correct(first, place):
    answer = first
    assert answer.code == 0
    assert "24 added" in answer.out
    assert answer.out.count("  correct, ") == 15
    assert answer.out.count("  no match ") == 3
    table = answer.out[answer.out.index("\nquery ") : answer.out.index("What to try next")]
    assert max(len(line) for line in table.splitlines() if str(place) not in line) <= 80
    page = place / "contact-sheet.html"
    assert str(page) in answer.out
    assert "no thumbnail" not in page.read_text(encoding="utf-8")
    assert "/sift-similar-images" in answer.out


def test_a_second_run_adds_nothing(call, bare, made):
    answer = call(*bare, "demo", "-o", made, "--json").json
    assert answer["indexed"]["unchanged"] == 24
    assert answer["indexed"]["added"] == 0
    assert answer["correct"]
    assert [query["expected"] for query in answer["queries"]] == [
        "temple.jpg",
        "dogs.jpg",
        "nuthatch.jpg",
        "motorcycle.jpg",
        None,
    ]
    for query in answer["queries"]:
        assert [hit["method"] for hit in query["answers"]] == ["auto", "sift", "efficientnet-lite0"]
        for hit in query["answers"]:
            found = None if hit["decision"] == "none" else hit["hits"][0]["id"]
            assert (found == query["expected"]) == (hit["verdict"] == "correct")


def test_its_queries_can_be_repeated_with_search(call, made):
    query = made / "queries" / "crop-of-temple.jpg"
    assert call("search", query, "-c", made / "collection", "--json").json["hits"][0]["id"] == "temple.jpg"


def test_after_a_wrong_result_the_exit_code_is_1(call, bare, place, monkeypatch):
    monkeypatch.setattr(demo, "_CROP", ("a crop of", lambda image: image.crop((0, 0, 8, 8))))
    answer = call(*bare, "demo", "-o", place)
    assert answer.code == 1
    assert "  wrong, " in answer.out
    assert answer.err.startswith("error: ")


def test_features_of_other_settings_are_not_mixed(call, bare, made):
    answer = call(*bare, "--set", "sift_max_side=200", "demo", "-o", made)
    assert answer.code == 5
    assert f"delete {made / 'collection'}" in answer.err


def test_on_your_own_folder(call, bare, tmp_path, images):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("cat.jpg", "coins.jpg"):
        shutil.copy(images / name, folder)
    answer = call(*bare, "demo", folder, "-o", tmp_path / "out", "--json")
    assert answer.code == 0
    assert [query["expected"] for query in answer.json["queries"]] == ["cat.jpg", "coins.jpg"]
    assert {hit["verdict"] for query in answer.json["queries"] for hit in query["answers"]} == {""}


def test_on_a_folder_without_images(call, bare, tmp_path):
    (tmp_path / "mine").mkdir()
    answer = call(*bare, "demo", tmp_path / "mine", "-o", tmp_path / "out", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")


def test_without_the_examples_it_suggests_a_folder(call, bare, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "a" / "b" / "c" / "demo.py"))
    answer = call(*bare, "demo", "-o", tmp_path / "out")
    assert answer.code == 3
    assert "imagefinder demo FOLDER" in answer.err
    assert not (tmp_path / "out").exists()

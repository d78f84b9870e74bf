import re

import pytest
from PIL import Image

from imagefinder.testing.extractors import textured_image


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Two folders of two overlapping images each, and three more images."""
    folder = tmp_path_factory.mktemp("library")
    for seed, group in enumerate(("barn", "mill")):
        (folder / group).mkdir()
        wide = textured_image(seed, height=200, width=260)
        Image.fromarray(wide[:, :220]).save(folder / group / "left.png")
        Image.fromarray(wide[:, 40:]).save(folder / group / "right.png")
    for seed in range(2, 5):
        Image.fromarray(textured_image(seed, height=200, width=260)).save(folder / f"{seed}.png")
    return folder


def rows(text):
    lines = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    start = next(at for at, line in enumerate(lines) if line[0] == "method")
    names = lines[start]
    return [dict(zip(names, line, strict=True)) for line in lines[start + 1 : lines.index([""], start)]]


def test_without_labels(call, library):
    answer = call("evaluate", library, "--method", "sift", "--limit", "14")
    assert (answer.code, answer.err) == (0, "")
    first = answer.out.splitlines()[0]
    assert first == (
        f"{library.name} (edited copies as queries, every fifth image held out): "
        "6 images, 14 queries (2 without a correct answer), ranked by evidence"
    )
    (row,) = rows(answer.out)
    assert row["method"] == "sift"
    assert float(row["R@1"]) > 0.5
    assert row["false alarms"].endswith(" of 2")
    assert "\n* Use --method sift" in answer.out
    assert not list(library.glob("*queries*"))


def test_groups(call, library):
    answer = call("evaluate", library, "--groups", "--method", "sift", "--json")
    assert answer.code == 0
    document = answer.json
    assert [document["dataset"][name] for name in ("images", "queries", "unanswerable")] == [7, 4, 0]
    (figures,) = document["methods"]
    assert (figures["mean_average_precision"], figures["recall_at_1"]) == (1, 1)
    assert document["recommended"]["method"] == "sift"
    assert document["report"] is None
    assert document["indexed"]["added"] == 7


def test_a_manifest(call, library, tmp_path):
    queries = '[{"query": "barn/left.png", "positives": ["barn/right.png"], "ignore": ["barn/left.png"]}]'
    for name in ("barn/left.png", "barn/right.png", "2.png", "3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((library / name).read_bytes())
    images = '["barn/left.png", "barn/right.png", "2.png", "3.png"]'
    (tmp_path / "manifest.json").write_text(f'{{"name": "barns", "images": {images}, "queries": {queries}}}')
    answer = call("evaluate", tmp_path, "-m", "sift", "--ranking", "matches")
    assert answer.out.startswith("barns (")
    (row,) = rows(answer.out)
    assert answer.out.splitlines()[0].endswith("ranked by matches")
    assert (row["mAP"], row["false alarms"]) == ("1.000", "-")


def test_all_methods_and_auto_by_default(call, library, bare):
    answer = call(*bare, "evaluate", library, "--groups", "--limit", "2", "--json")
    assert [one["method"] for one in answer.json["methods"]] == ["efficientnet-lite0", "sift", "auto"]
    answer = call(*bare, "evaluate", library, "--groups", "--limit", "2", "--ranking", "matches", "--json")
    assert [one["method"] for one in answer.json["methods"]] == ["efficientnet-lite0", "sift"]


@pytest.mark.parametrize("before", [True, False])
def test_a_named_collection_is_kept_and_reused(call, library, tmp_path, before):
    named = ("-c", tmp_path / "kept")
    arguments = ["evaluate", library, "--groups", "--limit", "2", "--json"]
    arguments = [*named, *arguments] if before else [*arguments, *named]
    first = call(*arguments, "--method", "sift").json
    again = call(*arguments).json  # with the methods of the collection
    assert (first["indexed"]["added"], again["indexed"]["unchanged"]) == (7, 7)
    assert [one["method"] for one in again["methods"]] == ["sift"]


def test_a_collection_with_other_images_is_refused(call, library, collection):
    answer = call("-c", collection, "evaluate", library, "--groups", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_input")
    assert "gallery" in answer.json["error"]["message"]


def test_unusable_images_are_left_out_and_reported(call, library, tmp_path):
    for path in library.rglob("*.png"):
        place = tmp_path / path.relative_to(library)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(path.read_bytes())
    for number in range(7):
        (tmp_path / "barn" / f"broken{number}.png").write_bytes(b"not an image")
    answer = call("evaluate", tmp_path, "--groups", "--method", "sift", "--json")
    assert answer.code == 1
    assert answer.json["dataset"]["images"] == 7
    assert answer.json["dataset"]["queries"] == 4
    assert answer.err.count("left out: ") == 6


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--method", "auto", "--ranking", "matches"), 2, "auto"),
        (("--ranking", "luck"), 2, "luck"),
        (("--limit", "0"), 2, "--limit"),
        (("--method", "sfit"), 3, "sfit"),
    ],
)
def test_invalid_usage(call, library, arguments, code, message):
    answer = call("evaluate", library, *arguments, "--json")
    assert answer.code == code
    assert message in answer.json["error"]["message"]


def test_folders_that_cannot_be_measured(call, tmp_path, library):
    answer = call("evaluate", tmp_path / "none", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")
    assert call("evaluate", tmp_path, "--json").code == 3
    (tmp_path / "manifest.json").write_text('{"images": [], "queries": []}')
    answer = call("evaluate", tmp_path, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_source")


def test_the_page(call, library, tmp_path):
    page, kept = tmp_path / "page.html", ("-c", tmp_path / "kept")
    answer = call(*kept, "evaluate", library, "--groups", "--method", "sift", "--report", page)
    assert f"page: {page}" in answer.out
    text = page.read_text(encoding="utf-8")
    assert "mAP (4 queries)" in text
    assert "<script" not in text
    again = call(*kept, "evaluate", library, "--groups", "-m", "sift", "--report", page, "--json")
    assert again.json["report"] == str(page)

import re
import shutil
import sys
import time
from io import BytesIO
from types import SimpleNamespace

import pytest
from PIL import Image

from imagefinder.cli import search
from imagefinder.cli.app import run
from imagefinder.collection import calibrating
from imagefinder.collection.calibrating import LEASE
from imagefinder.core.errors import StoreError
from imagefinder.core.settings import Settings
from imagefinder.stores.embedded import EmbeddedStore


def test_headline_hits_and_statistics(call, collection, images):
    answer = call("search", images / "cat.jpg", "-c", collection)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0] == "match: cat.jpg, identical (E-value <1e-99)"
    assert lines[2].split() == [
        "rank",
        "id",
        "decision",
        "relation",
        "E-value",
        "inliers",
        "agreement",
        "coverage",
        "location",
    ]
    first = re.fullmatch(
        r" *1  cat\.jpg +match +identical +<1e-99 +\d+ +\d+% +100% / 100%  (.*/pictures/cat\.jpg)", lines[3]
    )
    assert first
    assert first[1] == str(images / "cat.jpg")
    assert [line.split()[0] for line in lines[3:6]] == ["1", "2", "3"]
    assert re.search(
        r"^searched 4 images, 4 verified in .*\(decode .*\)\nmode exact; sift \(fingerprint [0-9a-f]{12}\)$",
        answer.out,
        re.M,
    )


def test_no_match(call, collection, images):
    answer = call("search", images / "temple.jpg", "-c", collection)
    assert answer.code == 1
    assert answer.out.startswith("no match (best E-value ")
    document = call("search", images / "temple.jpg", "-c", collection, "--json").json
    assert document["decision"] == "none"
    assert len(document["null_model"]) == 16


@pytest.fixture
def uncalibrated(collection, tmp_path):
    return shutil.copytree(collection, tmp_path / "uncalibrated", ignore=shutil.ignore_patterns("index"))


def test_a_search_calibrates_after_its_answer(call, uncalibrated, images):
    answer = call("search", images / "cat.jpg", "-c", uncalibrated)
    assert answer.err.splitlines() == ["the collection is not calibrated yet, so this answer is cautious"]
    assert call("search", images / "cat.jpg", "-c", uncalibrated).err == ""


def test_a_search_does_not_wait_for_another_process_that_calibrates(call, uncalibrated, images):
    store = EmbeddedStore(uncalibrated, create=False, cache_bytes=0)
    store.lease(LEASE, 60)
    store.close()
    start = time.monotonic()
    for queries in ([images / "cat.jpg"], [images / "cat.jpg", images / "coins.jpg"]):
        answer = call("search", *queries, "-c", uncalibrated)
        assert answer.code == 0
        assert re.fullmatch(
            "the collection is not calibrated yet, so (this answer is|these answers are) cautious\n", answer.err
        )
    assert time.monotonic() - start < 30


def test_a_failed_calibration_does_not_fail_the_search(call, uncalibrated, images, monkeypatch, caplog):
    def fail(*_, **__):
        raise StoreError("no disk space left")

    monkeypatch.setattr(calibrating, "fit", fail)
    for queries in ([images / "cat.jpg"], [images / "cat.jpg", images / "coins.jpg"]):
        caplog.clear()
        answer = call("search", *queries, "-c", uncalibrated)
        assert answer.code == 0
        assert "match: cat.jpg, identical" in answer.out
        assert "the collection could not be calibrated: no disk space left" in answer.err + caplog.text


def test_ranking_by_matches(call, collection, images):
    plain = ("--ranking", "matches", "--method", "sift")
    answer = call("search", images / "cat.jpg", "-c", collection, *plain)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0].split() == ["rank", "id", "score", "E-value", "location"]
    assert re.match(r" *1  cat\.jpg +\d+ matches +\S+  /", lines[1])
    answer = call("search", images / "cat.jpg", "-c", collection, "--ranking", "matches", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "invalid_input")


def test_a_region_of_the_query(call, collection, images, tmp_path):
    with Image.open(images / "cat.jpg") as cat, Image.open(images / "coins.jpg") as coins:
        page = Image.new("RGB", (cat.width + coins.width, max(cat.height, coins.height)))
        page.paste(cat, (0, 0))
        page.paste(coins, (cat.width, 0))
        page.save(tmp_path / "page.png")
        boxes = {
            "cat.jpg": f"0,0,{cat.width},{cat.height}",
            "coins.jpg": f"{cat.width},0,{coins.width},{coins.height}",
        }
    for expected, box in boxes.items():
        answer = call("search", tmp_path / "page.png", "-c", collection, "--box", box, "--json")
        assert answer.json["hits"][0]["id"] == expected
        assert answer.json["boxes"] == [[float(number) for number in box.split(",")]]
    for box, code in (("1,2,3", 2), ("a,b,c,d", 2), ("0,0,0,5", 2), ("99999,0,5,5", 3)):
        assert call("search", tmp_path / "page.png", "-c", collection, "--box", box).code == code


def test_json(call, collection, images):
    answer = call("search", images / "cat.jpg", "-c", collection, "-k", "2", "--json")
    assert answer.err == ""
    assert [hit["rank"] for hit in answer.json["hits"]] == [1, 2]
    assert answer.json["hits"][0]["id"] == "cat.jpg"
    assert answer.json["hits"][0]["uri"].endswith("/pictures/cat.jpg")
    assert answer.json["method"] == "sift"  # the only one this collection has
    assert set(answer.json["fingerprints"]) == {"sift"}
    assert answer.json["searched"] == 4
    assert set(answer.json["timings"]) >= {"decode", "extract", "match", "total"}


def test_by_id_the_query_image_is_excluded(call, collection):
    answer = call("search", "--id", "cat.jpg", "-c", collection, "--json")
    assert "cat.jpg" not in [hit["id"] for hit in answer.json["hits"]]


def test_standard_input(call, collection, images, monkeypatch):
    data = BytesIO((images / "coins.jpg").read_bytes())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=data, isatty=lambda: False))
    answer = call("search", "-", "-c", collection, "--json")
    assert answer.json["hits"][0]["id"] == "coins.jpg"


def test_in_an_empty_collection_the_exit_code_is_1(call, images):
    arguments = ("--set", "store=memory", "search", images / "cat.jpg")
    answer = call(*arguments)
    assert answer.code == 1
    assert answer.out.startswith("no hits")
    answer = call(*arguments, "--json")
    assert (answer.code, answer.json["hits"]) == (1, [])


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (("no such file.jpg",), 3, "invalid_source"),
        (("--id", "no such id"), 3, "unknown_image"),
        ((__file__,), 3, "not_an_image"),
        (("/dev/null",), 3, "empty_image"),
        (("cat.jpg", "--method", "sfit"), 3, "unknown_method"),
    ],
)
def test_unusable_input(call, collection, arguments, code, name):
    answer = call("search", *arguments, "-c", collection, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (code, name)
    answer = call("search", *arguments, "-c", collection)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("error: ")


def test_unusable_collections(call, collection, images, tmp_path):
    query = images / "cat.jpg"
    answer = call("search", query, "-c", tmp_path / "nothing", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (5, "collection_not_found")
    answer = call("search", query, "-c", collection, "--method", "efficientnet-lite0", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (5, "method_not_indexed")
    assert "add --method efficientnet-lite0" in answer.json["error"]["hint"]
    answer = call("--set", "sift_max_side=100", "search", query, "-c", collection, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (5, "fingerprint_mismatch")


def test_missing_weights(call, images, bare):
    answer = call(
        *bare,
        "compare",
        images / "cat.jpg",
        images / "cat.jpg",
        "-m",
        "beit",
        "--json",
    )
    assert (answer.code, answer.json["error"]["code"]) == (4, "model_missing")
    assert "models pull beit" in answer.json["error"]["hint"]


@pytest.mark.parametrize("by_id", [True, False])
def test_show_writes_a_page_with_query_and_hits(call, collection, images, tmp_path, by_id):
    page = tmp_path / "page.html"
    query = ("--id", "cat.jpg") if by_id else (images / "cat.jpg",)
    answer = call("search", *query, "-c", collection, "--show", "--page", page)
    assert f"page: {page}" in answer.out
    text = page.read_text(encoding="utf-8")
    assert text.count("<img ") == 4
    assert "no thumbnail" not in text
    assert call("search", *query, "-c", collection, "--show", "--page", page, "--json").json["page"] == str(page)


def test_show_downloads_a_url_once(call, collection, images, tmp_path, monkeypatch):
    calls = []

    def fetch(fetcher, url):
        calls.append((url, fetcher._max_bytes))
        return (images / "clock.jpg").read_bytes()

    monkeypatch.setattr("imagefinder.images.fetching.fetcher.HttpFetcher.fetch", fetch)
    url = "https://example.org/a.jpg"
    answer = call("search", url, "-c", collection, "--show", "--page", tmp_path / "page.html", "--json")
    assert answer.json["hits"][0]["id"] == "clock.jpg"
    assert calls == [(url, Settings().max_image_bytes)]
    assert url in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written(call, collection, images, tmp_path):
    page = tmp_path / "missing" / "page.html"
    answer = call("search", images / "cat.jpg", "-c", collection, "--show", "--page", page)
    assert answer.code == 3
    assert str(page) in answer.err


@pytest.mark.parametrize(
    ("desktop", "opened"), [({"DISPLAY": ":0"}, True), ({"WAYLAND_DISPLAY": "w"}, True), ({}, False)]
)
def test_the_page_is_opened_on_a_desktop(call, collection, tmp_path, monkeypatch, desktop, opened):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in desktop.items():
        monkeypatch.setenv(name, value)
    launched = []
    monkeypatch.setattr(search.typer, "launch", launched.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    page = tmp_path / "a page.html"
    call("search", "--id", "cat.jpg", "-c", collection, "--show", "--page", page)
    assert launched == ([page.as_uri()] if opened else [])


@pytest.fixture(scope="module")
def with_words(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("words") / "collection"
    pictures = [str(images / name) for name in ("cat.jpg", "coffee.jpg")]
    assert run(["-c", str(folder), "add", *pictures, "--method", "efficientnet-lite0"]) == 0
    return folder


def test_words(call, with_words):
    answer = call("search", "--text", "big coffee cup", "-c", with_words)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0] == "1 image of 2 may show: coffee cup"
    assert "classes searched for: cup, espresso" in lines
    assert "scores of words are not calibrated: no E-value, no decision" in lines
    assert re.search(r"^ *1  coffee\.jpg  0\.\d{3}  /", answer.out, re.M)
    assert "efficientnet-lite0 words (fingerprint" in answer.out
    assert "not known, and ignored: big" in answer.err
    document = call("search", "--text", "big coffee cup", "-c", with_words, "--json").json
    assert document["words"]["ignored"] == ["big"]
    assert document["decision"] is None


def test_words_that_nothing_shows_and_unknown_ones(call, with_words):
    nothing = call("search", "--text", "volcano", "-c", with_words)
    assert nothing.code == 1
    assert re.match(r"no image shows: volcano \(best 0\.\d{3}, threshold 0\.1\d*\)", nothing.out)
    unknown = call("search", "--text", "bananna", "-c", with_words)
    assert unknown.code == 3
    assert "did you mean" in unknown.err
    assert "CLIP" in unknown.err


def test_words_with_an_image(call, with_words, images):
    both = call("search", images / "cat.jpg", "--text", "espresso", "-c", with_words, "--json")
    assert both.code == 0
    assert {hit["id"] for hit in both.json["hits"]} == {"cat.jpg", "coffee.jpg"}


@pytest.mark.parametrize(
    "arguments", [["--text", " "], ["--text", "cat", "--show"], ["a.jpg", "b.jpg", "--text", "cat"]]
)
def test_refused_combinations_with_words(call, with_words, arguments):
    assert call("search", *arguments, "-c", with_words).code == 2

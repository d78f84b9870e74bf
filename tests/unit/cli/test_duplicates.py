import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from imagefinder.cli import duplicates
from imagefinder.cli.app import run


@pytest.fixture(scope="module")
def library(tmp_path_factory, images, names):
    """Four images, and of one a copy, a smaller copy and a crop."""
    folder = tmp_path_factory.mktemp("library")
    for name in names:
        (folder / name).write_bytes((images / name).read_bytes())
    (folder / "cat (1).jpg").write_bytes((images / "cat.jpg").read_bytes())
    cat = Image.open(images / "cat.jpg")
    cat.resize((cat.width * 3 // 4, cat.height * 3 // 4), Image.Resampling.LANCZOS).save(folder / "small.jpg")
    cat.crop((60, 40, 360, 260)).save(folder / "cut.png")
    collection = folder / "collection"
    assert run(["-c", str(collection), "add", str(folder), "--method", "sift"]) == 0
    return collection


def test_the_table(call, library):
    answer = call("duplicates", "-c", library)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].split() == ["group", "kind", "keep", "id", "dimensions", "size", "relation", "agreement"]
    rows = [re.split(r"  +", line.strip()) for line in lines[1:7]]
    assert [row[:4] for row in rows[:4]] == [
        ["1", "identical", "yes", "cat.jpg"],
        ["1", "identical", "no", "cat (1).jpg"],
        ["2", "edited copies", "yes", "cat.jpg"],
        ["2", "edited copies", "no", "small.jpg"],
    ]
    assert rows[3][6] == "edited copy"
    assert rows[3][7].endswith("%")
    assert [row[:3] for row in rows[4:]] == [["3", "overlapping", "cat.jpg"], ["3", "overlapping", "cut.png"]]
    assert rows[5][5] == "part of cat.jpg"
    assert re.search(r"^3 groups in 7 images, \d+ pairs verified in ", answer.out, re.M)


def test_json(call, library):
    answer = call("duplicates", "-c", library, "--json").json
    assert [group["kind"] for group in answer["groups"]] == ["identical", "edited copies", "overlapping"]
    assert [group["spare"] for group in answer["groups"]] == [["cat (1).jpg"], ["small.jpg"], []]
    assert (answer["images"], answer["found"]) == (7, 3)
    image = answer["groups"][0]["images"][0]
    assert set(image) == {"id", "uri", "width", "height", "bytes"}
    assert image["uri"].endswith("/cat.jpg")
    (pair,) = answer["groups"][1]["pairs"]
    assert (pair["a"], pair["b"], pair["relation"]) == ("small.jpg", "cat.jpg", "edited copy")
    assert pair["evidence"]["inliers"] > 20


def test_kinds_and_a_limit(call, library):
    arguments = ("duplicates", "-c", library, "--kind", "identical", "--kind", "overlapping")
    assert [group["kind"] for group in call(*arguments, "--json").json["groups"]] == ["identical", "overlapping"]
    answer = call(*arguments, "--limit", "1")
    assert "(first 1 shown)" in answer.out
    assert "overlapping" not in answer.out
    assert call(*arguments, "--limit", "1", "--json").json["found"] == 2


def test_no_duplicates(call, collection):
    answer = call("duplicates", "-c", collection)
    assert answer.code == 1
    assert answer.out.startswith("no duplicates\n")
    answer = call("duplicates", "-c", collection, "--json")
    assert (answer.code, answer.json["groups"]) == (1, [])


@pytest.mark.parametrize("arguments", [("--kind", "similar"), ("--limit", "0")])
def test_invalid_usage(call, library, arguments):
    answer = call("duplicates", "-c", library, *arguments, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "usage")


def test_the_page(call, library, tmp_path):
    page = tmp_path / "page.html"
    answer = call("duplicates", "-c", library, "--show", "--page", page)
    assert f"page: {page}" in answer.out
    text = page.read_text(encoding="utf-8")
    assert (text.count("<section "), text.count("<img "), text.count("keep</span>")) == (3, 6, 2)
    assert "part of cat.jpg" in text
    assert "no thumbnail" not in text
    assert call("duplicates", "-c", library, "--show", "--page", page, "--json").json["page"] == str(page)


def test_the_page_of_no_duplicates(call, collection, tmp_path):
    page = tmp_path / "page.html"
    assert call("duplicates", "-c", collection, "--show", "--page", page).code == 1
    assert "no duplicates" in page.read_text(encoding="utf-8")


def test_a_name_cannot_change_the_page(call, library, tmp_path):
    page, evil = tmp_path / "page.html", "<script>alert(1)</script>&\x1b.jpg"
    import imagefinder

    with imagefinder.open(tmp_path / "c") as opened:
        for image_id in (evil, "plain"):
            opened.put(image_id, _noise())
    call("duplicates", "-c", tmp_path / "c", "--show", "--page", page)
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;\\x1b.jpg" in text


def _noise():
    from io import BytesIO

    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_page_is_opened_on_a_desktop(call, library, tmp_path, monkeypatch):
    launched = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(duplicates.typer, "launch", launched.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    page = tmp_path / "page.html"
    call("duplicates", "-c", library, "--show", "--page", page)
    assert launched == [page.as_uri()]


def test_progress_in_a_terminal(monkeypatch):
    from imagefinder.cli import output

    written = []
    monkeypatch.setattr(
        sys, "stderr", SimpleNamespace(isatty=lambda: True, write=written.append, flush=lambda: None)
    )
    with output.stage_bar({"read": "reading"}) as show:
        show("read", 1, 2)
        show("verify", 5, 5)
    assert "reading" in "".join(written)

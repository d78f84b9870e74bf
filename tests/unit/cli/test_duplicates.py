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


def test_the_text(call, library):
    answer = call("duplicates", "-c", library)
    assert (answer.code, answer.err) == (0, "")
    lines = [re.sub(r"\([^)]*B\)", "(...)", line) for line in answer.out.splitlines()]
    assert lines[:3] == ["group 1: identical", "  keep   cat.jpg (...)", "  spare  cat (1).jpg (...): identical"]
    assert lines[4:6] == ["group 2: edited copies", "  keep   cat.jpg (...)"]
    assert re.fullmatch(r"  spare  small.jpg \(...\): edited copy; agreement \d+%", lines[6])
    assert lines[8:10] == ["group 3: overlapping", "  stays  cat.jpg (...)"]
    assert lines[10].startswith("  stays  cut.png (...): part of cat.jpg; agreement ")
    assert re.search(r"^3 groups in 7 images, \d+ pairs verified in ", answer.out, re.M)


def test_a_file_that_is_gone_is_reported(call, library, tmp_path, images):
    folder, collection = tmp_path / "pictures", tmp_path / "c"
    folder.mkdir()
    for name in ("b", "long name"):
        (folder / f"{name}.jpg").write_bytes((images / "cat.jpg").read_bytes())
    assert call("add", "-c", collection, folder, "-m", "sift").code == 0
    (folder / "b.jpg").unlink()
    answer = call("duplicates", "-c", collection, "--kind", "identical")
    assert "  stays  long name.jpg" in answer.out
    assert re.search(r"  stays  b.jpg .*: identical; its file no longer exists\n", answer.out)


def test_moving_the_spare_files(call, tmp_path, images):
    folder, collection, spare = tmp_path / "pictures", tmp_path / "c", tmp_path / "spare"
    folder.mkdir()
    for name in ("b", "-rf a 'quoted'\n\"name\""):
        (folder / f"{name}.jpg").write_bytes((images / "cat.jpg").read_bytes())
    assert call("add", "-c", collection, folder, "-m", "sift").code == 0
    assert call("duplicates", "-c", collection, "--move-to", spare).code == 2
    inside = call("duplicates", "-c", collection, "--kind", "identical", "--move-to", folder / "spare", "--json")
    assert inside.json["error"]["code"] == "invalid_source"
    assert len(list(folder.iterdir())) == 2
    answer = call("duplicates", "-c", collection, "--kind", "identical", "--move-to", spare)
    assert "1 file moved to" in answer.out
    assert [path.name for path in folder.iterdir()] == ["b.jpg"]
    (moved,) = spare.rglob("*.jpg")
    assert moved.read_bytes() == (images / "cat.jpg").read_bytes()
    answer = call("duplicates", "-c", collection, "--kind", "identical", "--move-to", spare, "--json")
    assert (answer.json["moved"], [path.name for path in folder.iterdir()]) == ({}, ["b.jpg"])


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
    assert text.count("spare</span>") == 2
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

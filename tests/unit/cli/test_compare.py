import re
import sys
from io import BytesIO
from types import SimpleNamespace

import pytest
from PIL import Image


def test_a_number_of_matches(call, images):
    answer = call("compare", images / "cat.jpg", images / "coins.jpg")
    assert answer.code == 0
    assert re.match(
        r"\d+ matches \(\d+ and \d+ descriptors\)\nno common geometry\nmethod sift \(fingerprint [0-9a-f]{12}\), ",
        answer.out,
    )


def test_the_relation(call, images, tmp_path):
    part = tmp_path / "part.png"
    Image.open(images / "cat.jpg").crop((50, 20, 350, 280)).save(part)
    answer = call("compare", part, images / "cat.jpg")
    assert re.search(r"\npart of: inliers \d+, agreement \d+%, coverage 100% / \d+%\n", answer.out)
    document = call("compare", images / "cat.jpg", part, "--json").json
    assert document["relation"] == "contains"
    assert document["evidence"]["inliers"] > 50


def test_a_cosine(call, images):
    answer = call("compare", images / "cat.jpg", images / "cat.jpg", "--method", "efficientnet-lite0")
    assert answer.out.startswith("cosine 1.000\n")


@pytest.mark.parametrize("order", [("-", "cat.jpg"), ("cat.jpg", "-")])
def test_one_of_them_from_standard_input_as_json(call, images, monkeypatch, order):
    data = BytesIO((images / "cat.jpg").read_bytes())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=data, isatty=lambda: False))
    answer = call("compare", *(name if name == "-" else images / name for name in order), "--json")
    assert answer.json["score"] == answer.json["features_a"] == answer.json["features_b"] > 0


def test_needs_and_leaves_no_collection(call, images, tmp_path):
    folder = tmp_path / "collection"
    assert call("-c", folder, "compare", images / "cat.jpg", images / "dogs.jpg").code == 0
    assert not folder.exists()

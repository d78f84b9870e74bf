import io
import re

import pytest
from PIL import Image


def drawn(file):
    with Image.open(file) as drawing:
        return drawing


@pytest.fixture
def flipped(images, tmp_path):
    """The right three quarters of an example image, mirrored."""
    file = tmp_path / "flipped.png"
    with Image.open(images / "dogs.jpg") as image:
        w, h = image.size
        image.crop((w // 4, 0, w, h)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file)
    return file


def test_evidence_of_a_common_geometry(call, collection, images):
    answer = call("explain", images / "cat.jpg", "cat.jpg", "-c", collection)
    assert answer.code == 0
    assert re.match(
        r"match, identical \(E-value \S+\)\n"
        r"inliers: \d+ of \d+ matches \(similarity transform\)\n"
        r"query coverage: 100%\nmatch coverage: 100% \(cat\.jpg\)\n$",
        answer.out,
    )


def test_without_evidence_the_exit_code_is_1(call, collection, images, tmp_path):
    target = tmp_path / "why.png"
    answer = call("explain", images / "cat.jpg", "coins.jpg", "-c", collection, "-o", target)
    assert answer.code == 1
    assert answer.out.startswith("no match (E-value ")
    assert answer.out.endswith(f"drawing: {target}\n")
    assert drawn(target).format == "PNG"
    answer = call("explain", images / "cat.jpg", "coins.jpg", "-c", collection, "--json")
    assert (answer.code, answer.json["evidence"], answer.json["inliers"]) == (1, None, [])


def test_json_and_drawing(call, collection, images, tmp_path):
    target = tmp_path / "why.png"
    answer = call("explain", images / "dogs.jpg", "dogs.jpg", "-c", collection, "--json", "--output", target)
    assert answer.json["evidence"]["inliers"] == len(answer.json["inliers"]) > 50
    assert answer.json["drawing"] == str(target)
    assert drawn(target).height > 1000, "the overlay is drawn below the images side by side"


def test_a_cosine_is_explained_by_a_heat_map(call, images, tmp_path):
    folder, target = tmp_path / "collection", tmp_path / "why.png"
    assert call("-c", folder, "add", images / "cat.jpg", "--method", "efficientnet-lite0").code == 0
    arguments = ("explain", images / "cat.jpg", "cat.jpg", "-c", folder, "-m", "efficientnet-lite0")
    answer = call(*arguments, "-o", target)
    assert answer.code == 0
    assert re.search(r"^efficientnet-lite0: cosine 1\.000, 0\.\d{3} of it ", answer.out, re.M)
    assert drawn(target).format == "PNG"
    heat = call(*arguments, "--json").json
    assert sum(map(sum, heat["query_heat"])) == pytest.approx(heat["score"], abs=1e-4)
    assert heat["candidate_from"] == "file"


def test_mirrored(call, collection, flipped):
    plain = call("explain", flipped, "dogs.jpg", "-c", collection, "--no-mirror", "--json")
    answer = call("explain", flipped, "dogs.jpg", "-c", collection, "--mirror", "--json")
    assert answer.code == 0
    assert answer.json["evidence"]["mirrored"]
    assert len(answer.json["inliers"]) > 5 * len(plain.json["inliers"])
    for (x, y), (u, v) in answer.json["inliers"]:
        assert u == pytest.approx(answer.json["candidate_size"][0] - 1 - x, abs=8)
        assert v == pytest.approx(y, abs=8)
    assert ", mirrored)\n" in call("explain", flipped, "dogs.jpg", "-c", collection, "--mirror").out


def test_an_unknown_image(call, collection, images):
    answer = call("explain", images / "cat.jpg", "no such id", "-c", collection, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "unknown_image")


def test_the_thumbnail_is_drawn_if_the_file_is_gone(call, images, tmp_path):
    folder, file, target = tmp_path / "collection", tmp_path / "cat.jpg", tmp_path / "why.png"
    file.write_bytes((images / "cat.jpg").read_bytes())
    assert call("-c", folder, "add", file, "--method", "sift").code == 0
    arguments = ("explain", images / "cat.jpg", "cat.jpg", "-c", folder, "-o", target)
    assert call(*arguments).code == 0
    sharp = target.read_bytes()
    file.unlink()
    assert call(*arguments).code == 0
    blurred = target.read_bytes()
    assert drawn(io.BytesIO(blurred)).size == drawn(io.BytesIO(sharp)).size
    assert blurred != sharp

import io
import re

import pytest
from PIL import Image


def drawn(file):
    with Image.open(file) as picture:
        return picture


@pytest.fixture
def flipped(pictures, tmp_path):
    """A mirrored part of the picture of dogs: its right three quarters."""
    file = tmp_path / "flipped.png"
    with Image.open(pictures / "dogs.jpg") as picture:
        w, h = picture.size
        picture.crop((w // 4, 0, w, h)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file)
    return file


def test_what_two_pictures_have_in_common(call, collection, pictures):
    answer = call("explain", pictures / "cat.jpg", "cat.jpg", "-c", collection)
    assert answer.code == 0
    assert re.match(r"\d+ of \d+ matches agree on one similarity\n100% of the query is in cat.jpg\n", answer.out)


def test_nothing_in_common_is_said_by_the_exit_code_too(call, collection, pictures, tmp_path):
    target = tmp_path / "why.png"
    answer = call("explain", pictures / "cat.jpg", "coins.jpg", "-c", collection, "-o", target)
    assert answer.code == 1
    said = r"no common geometry: \d+ matches, all of them chance\nno match: similar, E-value .*\nshown in: "
    assert re.match(said, answer.out)
    assert drawn(target).format == "PNG"
    answer = call("explain", pictures / "cat.jpg", "coins.jpg", "-c", collection, "--json")
    assert (answer.code, answer.json["evidence"], answer.json["inliers"]) == (1, None, [])


def test_json_and_picture(call, collection, pictures, tmp_path):
    target = tmp_path / "why.png"
    answer = call("explain", pictures / "dogs.jpg", "dogs.jpg", "-c", collection, "--json", "--output", target)
    assert answer.json["evidence"]["inliers"] == len(answer.json["inliers"]) > 50
    assert answer.json["picture"] == str(target)
    assert drawn(target).height > 1000, "below the pictures side by side lies one on the other"


def test_a_cosine_is_explained_by_what_contributed(call, pictures, tmp_path):
    folder, target = tmp_path / "collection", tmp_path / "why.png"
    assert call("-c", folder, "add", pictures / "cat.jpg", "--method", "efficientnet-lite0").code == 0
    arguments = ("explain", pictures / "cat.jpg", "cat.jpg", "-c", folder, "-m", "efficientnet-lite0")
    answer = call(*arguments, "-o", target)
    assert answer.code == 0
    assert re.search(
        r"efficientnet-lite0: cosine 1\.000, 0\.\d{3} of it from the strongest quarter of the query\n", answer.out
    )
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
    assert ", mirrored\n" in call("explain", flipped, "dogs.jpg", "-c", collection, "--mirror").out


def test_an_unknown_image(call, collection, pictures):
    answer = call("explain", pictures / "cat.jpg", "no such id", "-c", collection, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "unknown_image")


def test_the_thumbnail_is_drawn_where_the_file_is_gone(call, pictures, tmp_path):
    folder, file, target = tmp_path / "collection", tmp_path / "cat.jpg", tmp_path / "why.png"
    file.write_bytes((pictures / "cat.jpg").read_bytes())
    assert call("-c", folder, "add", file, "--method", "sift").code == 0
    arguments = ("explain", pictures / "cat.jpg", "cat.jpg", "-c", folder, "-o", target)
    assert call(*arguments).code == 0
    sharp = target.read_bytes()
    file.unlink()
    assert call(*arguments).code == 0
    blurred = target.read_bytes()
    assert drawn(io.BytesIO(blurred)).size == drawn(io.BytesIO(sharp)).size
    assert blurred != sharp

"""Panoramas and long screenshots are found by their parts."""

import io

import numpy as np
import pytest
from PIL import Image

import imagefinder
from imagefinder.core.settings import Settings
from imagefinder.testing.extractors import textured_image


def jpeg(image, quality=85):
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def strip(count, seed):
    return np.concatenate([textured_image(seed + number, 200, 240) for number in range(count)], axis=1)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elongated")
    with imagefinder.open(settings=Settings(collection=folder / "c", isolate=False)) as collection:
        # The first image decides the methods of a collection.
        Image.fromarray(textured_image(499, 240, 320)).save(folder / "first.png")
        collection.add(folder / "first.png", methods=["sift"])
        for number in range(15):
            collection.put(f"other-{number}", jpeg(textured_image(500 + number, 240, 320)))
        for count in (12, 40):
            collection.put(f"strip-{count}", jpeg(strip(count, 1000 * count)))
            collection.put(f"high-{count}", jpeg(strip(count, 1000 * count + 500).transpose(1, 0, 2)))
        yield collection


@pytest.mark.parametrize("count", [12, 40])
@pytest.mark.parametrize("where", ["first", "middle"])
@pytest.mark.parametrize("kind", ["strip", "high"])
def test_a_part_finds_the_whole(collection, count, where, kind):
    number = {"first": 0, "middle": count // 2}[where]
    image = textured_image(1000 * count + (500 if kind == "high" else 0) + number, 200, 240)
    if kind == "high":
        image = image.transpose(1, 0, 2)
    hits = collection.search(jpeg(image, 75), method="sift", k=3).hits
    assert (hits[0].id, hits[0].decision, hits[0].relation) == (f"{kind}-{count}", "match", "part of")
    assert [hit.id for hit in hits if hit.decision == "match"] == [f"{kind}-{count}"]


def test_a_strip_finds_its_parts_and_copies(collection):
    whole = strip(40, 40_000)
    smaller = np.asarray(Image.fromarray(whole).resize((whole.shape[1] // 2, whole.shape[0] // 2)))
    hits = collection.search(jpeg(smaller), method="sift", k=3).hits
    assert (hits[0].id, hits[0].decision, hits[0].relation) == ("strip-40", "match", "edited copy")
    row = np.concatenate([textured_image(seed, 240, 320) for seed in range(490, 505)], axis=1)
    found = [hit for hit in collection.search(jpeg(row), method="sift", k=10).hits if hit.decision == "match"]
    assert {hit.id for hit in found} == {"first.png", *(f"other-{number}" for number in range(5))}
    assert {hit.relation for hit in found} == {"contains"}


def test_other_images_find_nothing(collection):
    for image in (textured_image(77_000, 200, 240), strip(25, 88_000)):
        assert all(hit.decision != "match" for hit in collection.search(jpeg(image), method="sift", k=5).hits)

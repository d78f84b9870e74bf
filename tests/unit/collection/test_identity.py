"""The word ``identical`` in searches, explanations and comparisons."""

import io

import numpy as np
import pytest
from PIL import Image

import imagefinder
from imagefinder.collection import identity
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.settings import Settings
from imagefinder.testing.extractors import textured_image

FIRST = Image.fromarray(textured_image(1))
UNKNOWN = "looks the same at this resolution"


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def animation(seed):
    other = Image.fromarray(textured_image(seed))
    return encoded(FIRST, "WEBP", save_all=True, append_images=[other], lossless=True)


@pytest.fixture
def collection(tmp_path):
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        for seed in range(2, 6):
            collection.put(f"other{seed}", encoded(Image.fromarray(textured_image(seed))))
        yield collection


def added(collection, tmp_path, data, name="stored.png"):
    (tmp_path / name).write_bytes(data)
    collection.add(tmp_path / name, methods=["sift"])
    return name


def relation(collection, name, query):
    """Relation and note of a search, which the explanation of the same hit repeats."""
    hit = next(hit for hit in collection.search(query, k=9).hits if hit.id == name)
    explanation = collection.explain(query, name)
    assert (explanation.relation, explanation.note) == (hit.relation, hit.note)
    return hit.relation, hit.note


def test_the_same_pixels_in_another_file(collection, tmp_path):
    name = added(collection, tmp_path, encoded(FIRST))
    for query in (encoded(FIRST), encoded(FIRST, "BMP"), encoded(FIRST.convert("RGBA")), textured_image(1)):
        assert relation(collection, name, query) == ("identical", "")
    collection.put("z", encoded(FIRST, "BMP"), uri=(tmp_path / name).as_uri())
    # They are versions of one picture, because they come from the same file.
    hit = collection.search(Query(id=name), SearchOptions(stacks=False)).hits[0]
    assert (hit.id, hit.relation, hit.note) == ("z", "edited copy", UNKNOWN)


def test_only_the_hash_counts_when_the_file_is_gone_or_changed(collection, tmp_path):
    name = added(collection, tmp_path, encoded(FIRST))
    (tmp_path / name).unlink()
    assert relation(collection, name, encoded(FIRST)) == ("identical", "")
    assert relation(collection, name, encoded(FIRST, "BMP")) == ("edited copy", UNKNOWN)
    (tmp_path / name).write_bytes(encoded(FIRST, "BMP"))
    assert relation(collection, name, encoded(FIRST, "BMP")) == ("edited copy", UNKNOWN)


def test_other_frames(collection, tmp_path):
    name = added(collection, tmp_path, animation(7), "a.webp")
    note = "the first frames look the same; the others differ"
    assert relation(collection, name, animation(7)) == ("identical", "")
    assert relation(collection, name, animation(8)) == ("edited copy", note)
    assert relation(collection, name, encoded(FIRST)) == ("edited copy", note)
    compared = collection.compare(animation(7), animation(8))
    assert (compared.relation, compared.note) == ("edited copy", note)
    assert collection.compare(animation(7), animation(7)).relation == "identical"


def test_values_below_8_bits():
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        values = np.random.default_rng(1).integers(0, 9, (60, 80)).astype(np.uint16)
        a, b = (encoded(Image.fromarray(one)) for one in (values, values + np.uint16(1)))
        compared = collection.compare(a, b)
        assert compared.relation != "identical"
        assert collection.compare(a, encoded(Image.fromarray(values), compress_level=1)).relation == "identical"


def test_pixels_are_compared_with_pixels(collection):
    assert collection.compare(textured_image(1), encoded(FIRST)).relation == "identical"
    other = textured_image(1).copy()
    other[0, 0, 0] ^= 1
    assert collection.compare(other, encoded(FIRST)).relation == "edited copy"


def test_few_files_are_examined(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "_FILES", 2)
    names = [added(collection, tmp_path, encoded(FIRST, compress_level=n), f"{n}.png") for n in range(1, 5)]
    hits = {hit.id: hit for hit in collection.search(encoded(FIRST, "BMP"), k=9).hits}
    assert sorted(hits[name].relation for name in names) == ["edited copy"] * 2 + ["identical"] * 2
    assert {hits[name].note for name in names} == {"", UNKNOWN}

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagefinder
from imagefinder.core.errors import InputError
from imagefinder.core.settings import Settings
from imagefinder.search import encoding
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import load_method

PICTURE = textured_image(1, 240, 320)


def method(name="sift"):
    return load_method(name, Settings())


def test_the_whole_image():
    query = encoding.query_image(PICTURE, sha256="x")
    assert (query.size, query.whole, query.corner, query.boxes, query.sha256) == (
        (320, 240),
        (320, 240),
        (0, 0),
        (),
        "x",
    )
    assert query.pixels is PICTURE


def test_a_box_is_cropped_to_the_pixels_it_touches():
    query = encoding.query_image(PICTURE, [(10.5, 20, 100.2, 50)], sha256="x")
    assert (query.size, query.corner, query.whole) == ((101, 50), (10, 20), (320, 240))
    assert np.array_equal(query.pixels, PICTURE[20:70, 10:111])
    assert query.boxes == ((0, 0, 101, 50),)
    assert query.sha256 == ""  # it belongs to the whole image


def test_a_box_is_clipped_to_the_image():
    assert encoding.query_image(PICTURE, [(-50, -50, 1000, 100)]).size == (320, 50)


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 5),
        (0, 0, 5, -1),
        (320, 0, 5, 5),
        (-9, 0, 9, 9),
        (float("nan"), 0, 5, 5),
        (0, 0, 5),
        (0, 0, float("inf"), 1),
    ],
)
def test_invalid_boxes_are_rejected(box):
    with pytest.raises(InputError, match="box"):
        encoding.query_image(PICTURE, [box])


@given(st.lists(st.tuples(*[st.floats(-400, 400)] * 2, *[st.floats(0.1, 500)] * 2), min_size=1, max_size=4))
def test_boxes_lie_within_the_crop(boxes):
    try:
        query = encoding.query_image(PICTURE, boxes)
    except InputError:
        return
    width, height = query.size
    assert query.pixels.shape == (height, width, 3)
    for x, y, w, h in query.boxes:
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height


def test_keypoints_of_several_boxes_lie_in_them():
    boxes = [(0, 0, 120, 120), (180, 100, 140, 140)]
    query = encoding.query_image(PICTURE, boxes)
    features = encoding.extract(method(), query)
    assert len(features) == 1
    x, y = features.keypoints[:, 0], features.keypoints[:, 1]
    inside = [(x >= a - 1) & (x <= a + w) & (y >= b - 1) & (y <= b + h) for a, b, w, h in boxes]
    assert np.logical_or(*inside).all()
    assert all(part.any() for part in inside)


def test_one_vector_for_several_boxes():
    network = method("efficientnet-lite0")
    first, second = (0, 0, 120, 120), (180, 100, 140, 140)
    both = encoding.extract(network, encoding.query_image(PICTURE, [first, second])).vectors
    alone = [encoding.extract(network, encoding.query_image(PICTURE, [box])).vectors[0] for box in (first, second)]
    expected = sum(vector / np.linalg.norm(vector) for vector in alone)
    assert np.allclose(both, [expected], rtol=1e-4, atol=1e-5)


def test_only_pixels_inside_the_boxes_count():
    """Two images side by side: each half finds its own image."""
    page = np.concatenate([textured_image(1, 240, 320), textured_image(2, 240, 320)], axis=1)
    for name in ("sift", "efficientnet-lite0"):
        with imagefinder.open(settings=Settings(store="memory")) as collection:
            store, chosen = collection.store, collection.method(name)
            store.register(chosen.extractor.fingerprint(), chosen.extractor.spec)
            from imagefinder.core.records import Entry, ImageRecord

            for seed in range(1, 5):
                image = textured_image(seed, 240, 320)
                record = ImageRecord(str(seed), "", "", 1, 320, 240, "PNG")
                store.put([Entry(record, {name: chosen.extractor.extract([image])})])
            for box, expected in (((0, 0, 320, 240), "1"), ((320, 0, 320, 240), "2")):
                result = collection.search(page, method=name, boxes=[box])
                assert result.ids[0] == expected
                assert result.boxes == (tuple(map(float, box)),)

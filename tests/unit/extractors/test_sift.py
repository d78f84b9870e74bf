from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from imagefinder.core.features import GlobalFeatures
from imagefinder.extractors.sift import SiftExtractor, mirrored
from imagefinder.testing.extractors import textured_image


def extractor(**changes):
    return SiftExtractor(**{"max_side": 1600, "max_keypoints": 10_000, "threads": 2} | changes)


def opencv(image):
    keypoints, descriptors = cv2.SIFT.create().detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    return [k.pt for k in keypoints], descriptors


def test_equals_opencv_with_its_defaults_bit_for_bit():
    image = textured_image(1, 300, 400)
    points, descriptors = opencv(image)
    features = extractor().extract([image])
    assert len(points) > 100
    np.testing.assert_array_equal(features.descriptors, descriptors)
    np.testing.assert_array_equal(features.keypoints[:, :2], np.float32(points))


def test_grey_is_taken_from_rgb_order():
    red = np.zeros((80, 80, 3), np.uint8)
    red[20:60, 20:60, 0] = 255
    np.testing.assert_array_equal(extractor().extract([red]).descriptors, opencv(red)[1])


def test_a_blank_image_has_no_keypoints():
    features = extractor().extract([np.full((100, 100, 3), 255, np.uint8), textured_image(2)])
    assert features.offsets[1] == 0
    assert features.offsets[2] > 0


def test_the_strongest_keypoints_are_kept():
    image = textured_image(3, 300, 400)
    everything, few = extractor(max_keypoints=0).extract([image]), extractor(max_keypoints=20).extract([image])
    assert len(everything.descriptors) > 100
    assert 20 <= len(few.descriptors) < 30  # equally strong ones are kept together
    assert {row.tobytes() for row in few.descriptors} <= {row.tobytes() for row in everything.descriptors}


def test_keypoints_of_a_downscaled_image_are_in_original_pixels():
    image = textured_image(4, 400, 600)
    whole, reduced = extractor().extract([image]), extractor(max_side=300).extract([image])
    assert len(reduced.descriptors) < len(whole.descriptors)
    # Large blobs are found in both, at the same position in original pixels.
    large = reduced.keypoints[reduced.keypoints[:, 2] > 20]
    distances = np.hypot(*(large[:, None, :2] - whole.keypoints[None, :, :2]).transpose(2, 0, 1)).min(axis=1)
    assert len(large) > 5
    assert np.median(distances) < 1.0


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_nothing(threads):
    images = [textured_image(seed) for seed in range(5)]
    one, many = extractor(threads=1).extract(images), extractor(threads=threads).extract(images)
    np.testing.assert_array_equal(one.descriptors, many.descriptors)
    np.testing.assert_array_equal(one.offsets, many.offsets)


def test_parameters_are_in_the_fingerprint():
    assert extractor().fingerprint() != extractor(max_side=800).fingerprint()
    assert extractor().fingerprint() != extractor(max_keypoints=800).fingerprint()
    assert extractor().fingerprint() == extractor(threads=1).fingerprint()


def test_mirrored_features_are_those_of_the_mirror_image():
    with Image.open(Path(__file__).parents[3] / "examples" / "pictures" / "cat.jpg") as picture:
        image = np.asarray(picture.convert("RGB"))
    ours = mirrored(extractor().extract([image]), image.shape[1])
    theirs = extractor().extract([np.ascontiguousarray(image[:, ::-1])])
    off = np.hypot(*(ours.keypoints[:, None, :2] - theirs.keypoints[:, :2]).transpose(2, 0, 1))
    turn = np.abs((ours.keypoints[:, None, 3] - theirs.keypoints[:, 3] + 180) % 360 - 180)
    nearest = (off + turn).argmin(axis=1)
    same = (off + turn)[np.arange(len(nearest)), nearest] < 2
    assert same.mean() > 0.7
    a, b = ours.descriptors[same].astype(float), theirs.descriptors[nearest[same]].astype(float)
    assert np.median(np.abs(a - b).max(axis=1)) <= 5
    again = mirrored(ours, image.shape[1])
    assert np.array_equal(again.descriptors, extractor().extract([image]).descriptors)


def test_only_local_features_are_mirrored():
    with pytest.raises(TypeError, match="local"):
        mirrored(GlobalFeatures(np.ones((1, 3), np.float32)), 10)


def test_every_part_of_an_elongated_image_keeps_its_strongest_keypoints():
    strip = np.concatenate([textured_image(seed, 120, 160) for seed in range(20)], axis=1)  # 3200 x 120
    strip[:, 800:] = strip[:, 800:] // 4 * 3 + 30  # weaker keypoints on the right
    for image, axis in ((strip, 0), (np.ascontiguousarray(strip.transpose(1, 0, 2)), 1)):
        features = extractor(max_side=400, max_keypoints=50).extract([image])
        counts, _ = np.histogram(features.keypoints[:, axis], bins=[*range(0, 3200, 480), 3200])
        assert counts.min() >= 40
        assert counts.max() <= 52  # rounding at the edges
        assert features.keypoints[:, 1 - axis].max() <= 120


def test_the_keypoints_of_an_elongated_image_are_bounded():
    features = extractor(max_side=400, max_keypoints=5).extract([textured_image(4, 250, 20_000)])
    assert 16 <= len(features.descriptors) <= 17 * 5
